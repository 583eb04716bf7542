"""What user management needs of its surroundings, looked at one by one (contract 10.13)."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.core.mail import get_connection
from django.db import connection

from usermgmt.models import ClientCredential

INDEXES = (
    "core_user_username_trgm",
    "core_user_name_trgm",
    "core_email_trgm",
    "core_user_username_start",
    "core_user_first_start",
    "core_user_last_start",
    "core_email_start",
)


@dataclass(frozen=True)
class Finding:
    what: str
    is_fine: bool
    detail: str


def findings() -> Iterator[Finding]:
    """Every finding, good and bad."""
    yield _extension()
    yield _collation()
    yield _indexes()
    yield _peppers()
    yield _retired()
    yield _proxies()
    yield _mail()


def _value(sql: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        row = cursor.fetchone()
    return row[0] if row else None


def _extension() -> Finding:
    version = _value("SELECT extversion FROM pg_extension WHERE extname = 'pg_trgm'")
    return Finding("extension", version is not None, f"pg_trgm {version or 'is missing'}")


def _collation() -> Finding:
    made = bool(_value("SELECT show_trgm('أحمد')"))
    detail = "trigrams in every script" if made else "LC_CTYPE is C: only ASCII has trigrams"
    return Finding("collation", made, detail)


def _indexes() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indisvalid AND c.relname = ANY(%s)",
            [list(INDEXES)],
        )
        have = {name for (name,) in cursor.fetchall()}
    missing = sorted(set(INDEXES) - have)
    return Finding("indexes", not missing, f"missing: {', '.join(missing)}" if missing else "all seven are valid")


def _peppers() -> Finding:
    short = [name for name, value in settings.USERMGMT_SECRET_PEPPERS if len(value) < 32]
    names = ", ".join(name for name, _ in settings.USERMGMT_SECRET_PEPPERS)
    return Finding("peppers", not short, f"too short: {', '.join(short)}" if short else f"newest first: {names}")


def _retired() -> Finding:
    listed = [name for name, _ in settings.USERMGMT_SECRET_PEPPERS]
    live = ClientCredential.objects.filter(revoked_at=None, secret_hmac__isnull=False)
    lost = live.exclude(pepper_id__in=listed).count()
    return Finding("secrets", not lost, f"{lost} of retired peppers" if lost else "every live one has its pepper")


def _proxies() -> Finding:
    wide = [str(network) for network in settings.TRUSTED_PROXIES if network.prefixlen == 0]
    listed = ", ".join(map(str, settings.TRUSTED_PROXIES)) or "none: callers are those who connect"
    return Finding("proxies", not wide, f"everybody is trusted: {wide[0]}" if wide else listed)


def _mail() -> Finding:
    try:
        with get_connection():
            detail = f"{settings.EMAIL_BACKEND.rpartition('.')[2]} answers"
    except (smtplib.SMTPException, OSError) as error:
        return Finding("mail", False, str(error))
    return Finding("mail", True, detail)
