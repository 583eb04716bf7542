"""Outgoing mail: rows written in the transaction that causes them, sent by a job, tried again for a day.

A mail server that fails never fails the work. A mail may in rare cases (the worker dies right after the server took
it) arrive twice, with the same Message-ID; it is never lost.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parseaddr

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage, get_connection
from django.core.validators import validate_email

from core import errors, jobs, outbox
from core.models import Mail

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Kind:
    """How mails of one kind are treated; kinds nobody registered are sent as stored, eight times over a day.

    ``render(mail)`` returns the body when it is sent, for a secret that must not be stored: what it writes commits
    only if the mail goes out. ``given_up(mail)`` is called in the transaction that ends the last try.
    """

    name: str
    patience: outbox.Patience = field(default_factory=outbox.Patience)
    render: Callable[[Mail], str] | None = None
    given_up: Callable[[Mail], None] | None = None


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> Kind:
    """Make a kind known; each app does so in its ``tasks`` module."""
    _kinds[kind.name] = kind
    return kind


def queue(
    kind: str,
    to: str,
    subject: str,
    body: str,
    *,
    dedupe: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Mail:
    """Put a plain-text mail to one address into the outbox, in the caller's transaction.

    With ``dedupe`` there is one mail of that key for ever: a second call returns the first. Raises
    ``errors.Invalid`` for an address that is none and for CR, LF or NUL in the subject or a header.
    """
    _refuse_line_breaks({"to": to, "subject": subject, **(headers or {})})
    try:
        validate_email(to)
    except ValidationError as error:
        raise errors.Invalid("This is not an e-mail address.", field="to") from error
    return BOX.put(Mail(kind=kind, to=to, subject=subject, body=body, headers=dict(headers or {}), dedupe=dedupe))


def _refuse_line_breaks(values: Mapping[str, str]) -> None:
    for name, value in values.items():
        if any(char in f"{name}{value}" for char in "\r\n\0"):
            raise errors.Invalid("A mail header cannot hold line breaks.", field=name.partition("\n")[0])


def _send(mail: Mail) -> None:
    kind = _kinds.get(mail.kind, Kind(mail.kind))
    body = kind.render(mail) if kind.render else mail.body
    sender = parseaddr(settings.DEFAULT_FROM_EMAIL)[1]
    headers = {
        "Auto-Submitted": "auto-generated",  # RFC 3834: keeps vacation notices away
        "Message-ID": f"<{mail.pk}.{mail.created_at:%Y%m%d%H%M%S%f}@{sender.rpartition('@')[2] or 'localhost'}>",
        **mail.headers,
    }
    message = EmailMessage(mail.subject, body, settings.DEFAULT_FROM_EMAIL, [mail.to], headers=headers)
    try:
        get_connection().send_messages([message])
    except (smtplib.SMTPException, OSError) as error:
        raise outbox.Undelivered(f"{type(error).__name__}: {error}") from error


def _patience(mail: Mail) -> outbox.Patience:
    return _kinds.get(mail.kind, Kind(mail.kind)).patience


def _given_up(mail: Mail) -> None:
    log.error("mail_given_up", mail=mail.pk, mail_kind=mail.kind)
    given_up = _kinds.get(mail.kind, Kind(mail.kind)).given_up
    if given_up is not None:
        given_up(mail)


BOX: outbox.Outbox[Mail] = outbox.Outbox(Mail, "core.mail", _send, _patience, _given_up)
JOB = jobs.Kind("core.mail", BOX.work, time_limit=120)


def sweep() -> int:
    """Find mails whose job was lost; for the clock."""
    return BOX.sweep()


def retry(mail: Mail) -> bool:
    """Send a mail now, with all its tries anew; False when it has been sent."""
    return BOX.again(mail)
