"""What decides whether a service may be added to an account, in one statement (contract 2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from usermgmt.models import ApiClient, Service

REOPEN_EVERY = timedelta(days=30)


@dataclass(frozen=True)
class Standing:
    """`service_id` and `user_id` are None when there is none a caller may use."""

    service_id: int | None
    grants_by_webhook: bool
    user_id: int | None
    has_access: bool
    has_request: bool
    was_denied: bool
    was_reopened: bool


# A client that staff limited to some services meets the others as unknown ones.
_SQL = """
SELECT s.id, s.grant_mode = 'webhook', u.id,
    EXISTS (SELECT FROM usermgmt_userservice h WHERE h.user_id = u.id AND h.service_id = s.id),
    EXISTS (SELECT FROM usermgmt_servicerequest q
            WHERE q.user_id = u.id AND q.service_id = s.id AND NOT (q.state = 'denied')),
    EXISTS (SELECT FROM usermgmt_servicerequest d
            WHERE d.user_id = u.id AND d.service_id = s.id AND d.state = 'denied'),
    EXISTS (SELECT FROM usermgmt_servicerequest r JOIN usermgmt_servicerequest d
                ON d.user_id = r.user_id AND d.service_id = r.service_id AND d.state = 'denied'
                AND d.decided_at <= r.created_at
            WHERE r.user_id = u.id AND r.service_id = s.id AND r.source = 'api' AND r.created_at > %(since)s)
FROM (VALUES (1)) one
LEFT JOIN usermgmt_service s ON lower(s.slug) = lower(%(slug)s) AND s.is_enabled AND (
    NOT %(is_limited)s OR EXISTS (
        SELECT FROM usermgmt_apiclient_services c WHERE c.apiclient_id = %(client)s AND c.service_id = s.id))
LEFT JOIN core_user u ON u.username = lower(%(username)s) AND u.is_validated AND u.is_active
"""


def standing(*, slug: str, username: str, client_id: int | None, is_limited: bool) -> Standing:
    """How a pair of service (any letter case) and account (exact, any letter case) stands."""
    values = {
        # PostgreSQL takes no NUL in a text; the sign for what cannot be read is in no name either.
        "slug": slug.replace("\0", "\ufffd"),
        "username": username.replace("\0", "\ufffd"),
        "client": client_id,
        "is_limited": is_limited,
        "since": timezone.now() - REOPEN_EVERY,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SQL, values)
        row = cursor.fetchone()
    assert row is not None  # noqa: S101 - one row is in the statement itself
    return Standing(row[0], bool(row[1]), *row[2:])


def slugs(*, client_id: int, is_limited: bool) -> list[str]:
    """The enabled services a client may add, by slug."""
    services = Service.objects.filter(is_enabled=True)
    if is_limited:
        allowed = ApiClient.services.through.objects.filter(apiclient=client_id)
        services = services.filter(pk__in=allowed.values("service"))
    return list(services.order_by("slug").values_list("slug", flat=True))
