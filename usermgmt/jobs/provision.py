"""From an approved service request to access: by staff, or by the operator's URL (contract 4)."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import egress, errors, jobs
from core.models import Job, User
from usermgmt.jobs import mails
from usermgmt.models import Service, ServiceRequest, ServiceRequestEvent, UserService

KIND = "usermgmt.provision"
State = ServiceRequest.State
MOVES = {
    State.PENDING: frozenset({State.APPROVED, State.DENIED, State.GRANTED}),
    State.APPROVED: frozenset({State.GRANTED, State.FAILED, State.DENIED}),
    State.FAILED: frozenset({State.APPROVED, State.GRANTED, State.DENIED}),
    State.GRANTED: frozenset(),
    State.DENIED: frozenset(),
}
GIVE_UP_AFTER = timedelta(hours=24)
ASK_AGAIN = 3_600
LONGEST_WAIT = 3_600
MAX_ANSWER = 65_536


def submit(request_id: int) -> None:
    """Have an approved request provisioned once the running transaction commits."""
    # Without a fingerprint, which would cost a statement more: a second job of a request finds nothing to do.
    jobs.submit(KIND, {"request": request_id})


def work(run: jobs.Run) -> dict[str, Any] | None:
    """Ask the operator's URL once; granted, wait, or try again for 24 hours and then fail."""
    request = ServiceRequest.objects.select_related("service", "user").get(pk=run.params["request"])
    if request.state != State.APPROVED or request.service.grant_mode != Service.Grant.WEBHOOK:
        return {"outcome": "nothing to do"}
    answer = _ask(request)
    if answer == "granted":
        with run.finish(result={"outcome": "granted"}):
            grant(request, actor=None)
        return None
    if answer == "accepted":
        raise jobs.Retry(ASK_AGAIN, "accepted", "The operator works on it.", counts=False)
    if timezone.now() - _since(request) < GIVE_UP_AFTER:
        raise jobs.Retry(_wait(run.job), "not_granted", answer, counts=False)
    with run.finish(result={"outcome": "failed"}):
        move(request, to=State.FAILED, actor=None, reason=answer)
        mails.service_failed(request)
    return None


def grant(request: ServiceRequest, *, actor: User | None) -> None:
    """Give the access that was asked for, in one transaction; the account's owner is told."""
    with transaction.atomic():
        move(request, to=State.GRANTED, actor=actor)
        UserService.objects.get_or_create(
            user_id=request.user_id, service_id=request.service_id, defaults={"request": request}
        )
        mails.service_granted(request)


def move(request: ServiceRequest, *, to: str, actor: User | None, reason: str = "") -> None:
    """One conditional UPDATE; `errors.Conflict` when the request is elsewhere by now."""
    before = request.state
    changed = to in MOVES[State(before)] and ServiceRequest.objects.filter(pk=request.pk, state=before).update(
        state=to, reason=reason[:2000], decided_at=timezone.now()
    )
    if not changed:
        request.refresh_from_db(fields=["state"])
        raise errors.Conflict(f"{request} is {request.state} already.", code="decided", wanted=to)
    request.state, request.reason = to, reason
    ServiceRequestEvent.objects.create(
        request=request, actor=actor, from_state=before, to_state=to, reason=reason[:2000]
    )


def announce_pending() -> int:
    """Tell staff of requests that wait for them, each once; for the clock."""
    waiting = ServiceRequest.objects.select_related("user", "service").filter(
        state=State.PENDING, created_at__gte=timezone.now() - timedelta(days=7)
    )
    for request in waiting:
        mails.service_requested(request)
    return len(waiting)


def body(request: ServiceRequest) -> bytes:
    """What the operator's URL is sent."""
    facts = {
        "request_id": request.pk,
        "service": request.service.slug,
        "username": request.user.username,
        "source": request.source,
    }
    return json.dumps(facts, separators=(",", ":")).encode()


def signature(payload: bytes, *, at: int) -> str:
    """HMAC-SHA256 over time stamp, dot and body, in hexadecimal."""
    secret = settings.USERMGMT_WEBHOOK_SECRET.encode()
    return hmac.digest(secret, str(at).encode() + b"." + payload, hashlib.sha256).hex()


def _ask(request: ServiceRequest) -> str:
    """`granted`, `accepted`, or what went wrong."""
    url = request.service.webhook_url
    if not url.startswith("https://") and not settings.ALLOW_PRIVATE_NETWORKS:
        return "The service's URL is not an https one."
    payload, at = body(request), int(time.time())
    headers = {
        "Content-Type": "application/json",
        "X-Usermgmt-Timestamp": str(at),
        "X-Usermgmt-Signature": f"sha256={signature(payload, at=at)}",
    }
    try:
        answer = egress.post(
            url,
            payload,
            headers=headers,
            redirects=0,
            seconds=10,
            limit=MAX_ANSWER,
        )
    except errors.Fact as fact:
        return fact.message or fact.code
    return _outcome(answer.status, answer.body)


def _outcome(status: int, content: bytes) -> str:
    if status == 202:
        return "accepted"
    try:
        is_granted = 200 <= status < 300 and json.loads(content).get("granted") is True
    except (ValueError, AttributeError):
        is_granted = False
    return "granted" if is_granted else f"The answer was {status} without a grant."


def _since(request: ServiceRequest) -> Any:
    approved = request.events.filter(to_state=State.APPROVED).order_by("-at").values_list("at", flat=True).first()
    return approved or request.created_at


def _wait(job: Job) -> float:
    return float(min(LONGEST_WAIT, 30 << min(job.attempt, 10)))
