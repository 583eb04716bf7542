"""One-time links: signed, not stored, bound to one build; what has been delivered is stored on first use (§2.5)."""

import hmac
import re
import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from core import errors
from exports.formats import names
from exports.models import ExportBuild, LinkUse
from exports.models.builds import BuildState

MAX_STARTS = 5
_HEX = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_MAC = 16
_BODY = 16 + 1 + 16 + 5
_GONE = "This link has been used or has expired. Request a new one from the export URL."


@dataclass(frozen=True)
class Link:
    """What a token says."""

    build: uuid.UUID
    form: str
    nonce: str
    expires: int  # Unix time by which it must be started


def sign(build: uuid.UUID, form: str, *, now: float | None = None) -> str:
    """A new token: lower-case hex of build id, format, nonce, expiry and their HMAC. Nothing is written."""
    expires = int(time.time() if now is None else now) + settings.EXPORTS_LINK_SECONDS
    body = build.bytes + bytes([names.FORMATS.index(form)]) + secrets.token_bytes(16) + expires.to_bytes(5, "big")
    return (body + _mac(body)).hex()


def path(build: ExportBuild, form: str) -> str:
    """Path of a fresh link to a ready build's file."""
    if build.last_updated is None:
        raise errors.NotFound
    name = names.filename(repo=build.repo_name, version=build.title, stamp=build.last_updated, form=form)
    return names.link_path(sign(build.uuid, form), name)


def read(token: str) -> Link:
    """Check a token; NotFound when it is not ours."""
    raw = bytes.fromhex(token) if _HEX.fullmatch(token) else b""
    body, mac = raw[:_BODY], raw[_BODY:]
    if len(raw) != _BODY + _MAC or not hmac.compare_digest(mac, _mac(body)):
        raise errors.NotFound
    return Link(
        uuid.UUID(bytes=body[:16]), names.FORMATS[body[16]], body[17:33].hex(), int.from_bytes(body[33:], "big")
    )


def _mac(body: bytes) -> bytes:
    return hmac.digest(settings.EXPORTS_LINK_KEY.encode(), b"exports.link" + body, "sha256")[:_MAC]


def build_of(link: Link) -> ExportBuild:
    """The build behind a link, while its bytes are there for it."""
    build = ExportBuild.objects.filter(pk=link.build).first()
    if build is None or build.state not in (BuildState.READY, BuildState.REPLACED):
        raise errors.Gone(_GONE)
    return build


def check(link: Link, *, resumes: bool = False, whole: bool = False) -> LinkUse | None:
    """The link's use so far, None when unused; Gone when it cannot be used any more.

    ``resumes``: the request continues a download it can prove (Range from above 0 with If-Range): allowed within the
    grace even when the link is spent, because the last bytes may have been lost on the way. ``whole``: it is about
    the whole body, of which there are only so many.
    """
    use = LinkUse.objects.filter(nonce=link.nonce).first()
    now = timezone.now()
    if use is None:
        if now.timestamp() > link.expires:
            raise errors.Gone(_GONE)
        return None
    in_grace = now <= use.first_byte_at + timedelta(seconds=settings.EXPORTS_LINK_GRACE_SECONDS)
    if not in_grace or (use.is_spent and not resumes) or (whole and use.starts >= MAX_STARTS):
        raise errors.Gone(_GONE)
    return use


def start(link: Link, *, whole: bool, resumes: bool = False, hands_over: bool = False) -> None:
    """Note that a response begins; ``whole`` ones are limited in number. ``hands_over``: the store delivers, so the
    link is spent with this; requests with a range may repeat it within the grace."""
    with transaction.atomic():
        LinkUse.objects.bulk_create(
            [LinkUse(nonce=link.nonce, build_id=link.build, form=link.form, first_byte_at=timezone.now())],
            ignore_conflicts=True,
        )
        use = LinkUse.objects.select_for_update().get(nonce=link.nonce)
        check(link, resumes=resumes, whole=whole)
        use.starts += int(whole)
        use.is_spent = use.is_spent or hands_over
        use.save(update_fields=["starts", "is_spent"])


def delivered(link: Link, *, first: int, end: int, size: int) -> None:
    """A response with bytes ``first`` up to ``end`` ran to completion. The link is spent when such ranges cover the
    file; a continuation from within what an interrupted response handed over counts from the file's start, since the
    client that asks for it has what is before."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {LinkUse._meta.db_table} SET delivered = delivered"
            " + int8multirange(int8range(CASE WHEN reached >= %s THEN 0 ELSE %s END, %s)) WHERE nonce = %s",
            [first, first, end, link.nonce],
        )
        cursor.execute(
            f"UPDATE {LinkUse._meta.db_table} SET is_spent = true WHERE nonce = %s AND delivered @> int8range(0, %s)",
            [link.nonce, size],
        )


def interrupted(link: Link, *, first: int, reached: int) -> None:
    """A response broke off after handing over the bytes up to ``reached``."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {LinkUse._meta.db_table} SET reached = greatest(reached, %s) WHERE nonce = %s AND reached >= %s",
            [reached, link.nonce, first],
        )
