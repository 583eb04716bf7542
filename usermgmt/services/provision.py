"""Adding services to accounts: by a client that vouches for it, by the account's owner, by staff (contract 2.5)."""

from __future__ import annotations

from django.db import connection, transaction
from django.utils import timezone

from core import errors
from core.models import User
from usermgmt.formats import networks
from usermgmt.jobs import mails, provision
from usermgmt.models import Service, ServiceRequest, UserService
from usermgmt.selectors import callers, service_access

State = ServiceRequest.State

# One statement, so that of parallel calls one makes the row and the others learn that they came late.
_INSERT = """
WITH made AS (
    INSERT INTO usermgmt_servicerequest (user_id, service_id, source, client_id, state, address, reason, created_at)
    VALUES (%(user)s, %(service)s, %(source)s, %(client)s, %(state)s, %(address)s, '', %(now)s)
    ON CONFLICT (user_id, service_id) WHERE NOT (state = 'denied') DO NOTHING RETURNING id
)
INSERT INTO usermgmt_servicerequestevent (request_id, actor_id, at, from_state, to_state, reason)
SELECT id, %(actor)s, %(now)s, '', %(state)s, '' FROM made RETURNING request_id
"""


def add(*, service: str, username: str, caller: callers.Caller, address: networks.Address | None = None) -> None:
    """Record a request the client vouches for; provisioning follows.

    Raises `errors.NotFound` (`service`, `user`) and `errors.Invalid` (`has_access`, `duplicate`) with the names as
    they were typed.
    """
    found = service_access.standing(
        slug=service, username=username, client_id=caller.client_id, is_limited=caller.is_limited_to_services
    )
    if found.service_id is None:
        raise errors.NotFound(code="service")
    if found.user_id is None:
        raise errors.NotFound(code="user")
    if found.has_access:
        raise errors.Invalid(code="has_access", user=username, service=service)
    # A call a login is normal, so that duplicates end here; the insert below settles those at the same moment.
    # A call never overturns a decision of staff: after a denial they look again, at most once in 30 days.
    if found.has_request or found.was_reopened:
        raise errors.Invalid(code="duplicate", user=username, service=service)
    state = State.PENDING if found.was_denied else State.APPROVED
    with transaction.atomic():
        request_id = _insert(
            user=found.user_id,
            service=found.service_id,
            source="api",
            client=caller.client_id,
            state=state,
            address=str(address) if address else None,
            actor=None,
        )
        if request_id is None:
            raise errors.Invalid(code="duplicate", user=username, service=service)
        if state == State.APPROVED and found.grants_by_webhook:
            provision.submit(request_id)


def request_access(*, user: User, service: Service, address: networks.Address | None = None) -> None:
    """The account's owner asks; approved at once or by staff, as the service's policy says."""
    if not service.is_enabled:
        raise errors.NotFound(code="service")
    if UserService.objects.filter(user=user, service=service).exists():
        raise errors.Conflict(f"You have access to {service.name} already.", code="has_access")
    is_auto = service.approval_policy == Service.Approval.AUTO
    with transaction.atomic():
        request_id = _insert(
            user=user.pk,
            service=service.pk,
            source="portal",
            client=None,
            state=State.APPROVED if is_auto else State.PENDING,
            address=str(address) if address else None,
            actor=user.pk,
        )
        if request_id is None:
            raise errors.Conflict(f"You have requested {service.name} already.", code="duplicate")
        if is_auto and service.grant_mode == Service.Grant.WEBHOOK:
            provision.submit(request_id)


def approve(request: ServiceRequest, *, actor: User) -> None:
    """Staff let a pending or failed request go on to provisioning."""
    with transaction.atomic():
        provision.move(request, to=State.APPROVED, actor=actor)
        if request.service.grant_mode == Service.Grant.WEBHOOK:
            provision.submit(request.pk)


def grant(request: ServiceRequest, *, actor: User) -> None:
    """Staff give the access themselves."""
    provision.grant(request, actor=actor)


def deny(request: ServiceRequest, *, actor: User, reason: str) -> None:
    """Staff turn a request down; the account's owner is told why."""
    if not reason.strip():
        raise errors.Invalid("A reason is required; the account's owner reads it.", field="reason")
    with transaction.atomic():
        provision.move(request, to=State.DENIED, actor=actor, reason=reason)
        mails.service_denied(request)


def _insert(**values: int | str | None) -> int | None:
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"now": timezone.now(), **values})
        row = cursor.fetchone()
    return row[0] if row else None
