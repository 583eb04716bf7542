"""Adding services to accounts (contract 2.5 and 4)."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.db.models import F
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from core import egress, errors, jobs
from core.models import Job, Mail
from tests import house
from tests.usermgmt import world
from usermgmt.jobs import provision as provision_jobs
from usermgmt.models import Service, ServiceRequest, UserService
from usermgmt.services import clients, provision

pytestmark = pytest.mark.django_db


@pytest.fixture
def program() -> world.Program:
    return world.program(world.person("owner"))


def add(
    program: world.Program, service: str = "coge", username: str = "mgatto", method: str = "post", **more: Any
) -> Any:
    return program.call(method, f"/api/v1/service/{service}/add/{username}", **more)


def test_names_as_typed(program: world.Program) -> None:
    """UM37: Service add echoes names as typed, ignores slug case, accepts an empty `text/xml` POST."""
    world.service("coge")
    world.person("mgatto", hide_from_directory=True)
    response = add(program, "CoGe", "MGatto", data=b"", content_type="text/xml")
    assert response.status_code == 200
    assert response.content == b'{"service":["Request to add CoGe to MGatto\'s account was successful."]}'
    request = ServiceRequest.objects.get()
    assert (request.state, request.source, request.client) == ("approved", "api", program.client)
    duplicate = add(program, "coge", "mgatto", method="put")
    assert duplicate.status_code == 400
    assert duplicate.content == (
        b'{"error":{"LogicException":"User mgatto already has requested coge. '
        b'Multiple requests not permitted for the same service."}}'
    )


@pytest.mark.parametrize("method", ["post", "put"])
def test_both_spellings_do_the_same(program: world.Program, method: str) -> None:
    """UM10: with and without a slash at the end, POST and PUT add the service."""
    world.service("coge")
    world.person("mgatto")
    slashed = add(program, "coge", "mgatto/", method=method)
    assert slashed.content == b'{"service":["Request to add coge to mgatto\'s account was successful."]}'
    for username in ("mgatto", "mgatto/"):
        assert add(program, "coge", username, method=method).status_code == 400
    assert ServiceRequest.objects.count() == 1


def test_headers_of_every_answer(program: world.Program) -> None:
    """UM12: the headers of 2.4 are on the answers of `/service` as well, but they accept no ranges."""
    world.service("coge")
    world.person("mgatto")
    answers = [add(program), add(program), add(program, "none"), add(program, method="get")]
    answers += [add(program, HTTP_AUTHORIZATION=""), program.get("/api/v1/service/nosuch")]
    assert [answer.status_code for answer in answers] == [200, 400, 404, 405, 401, 404]
    for answer in answers:
        world.check_headers(answer)
        assert "Accept-Ranges" not in answer


def test_what_is_unknown(program: world.Program) -> None:
    """UM6: service unknown, disabled or outside the client's list; user unknown, unvalidated or inactive."""
    world.service("off", is_enabled=False)
    coge, other = world.service("coge"), world.service("other")
    world.person("mgatto")
    world.person("asleep", is_active=False)
    world.person("unproven", is_validated=False)
    for service in ("off", "none"):
        response = add(program, service, "nobody")
        assert (response.status_code, response.content) == (404, b'{"error":{"HTTP":"Service Not Found"}}')
    for username in ("nobody", "asleep", "unproven", "mgatt"):
        response = add(program, "coge", username)
        assert (response.status_code, response.content) == (404, b'{"error":{"HTTP":"User Not Found"}}')
    clients.narrow(program.client, actor=world.reviewer(), scopes=["services:add"], services=[other])
    assert add(program, coge.slug).json() == {"error": {"HTTP": "Service Not Found"}}
    assert program.get("/api/v1/services").content == b'{"services":["other"]}'
    assert add(program, "other").status_code == 200


@pytest.mark.parametrize(
    ("path", "told"),
    [("co%00ge/add/mgatto", "Service"), ("coge/add/mga%00tto", "User"), ("coge/add/mga%FFtto", "User")],
)
def test_names_that_no_database_holds(program: world.Program, path: str, told: str) -> None:
    """UM6: NUL and bytes that are not UTF-8 name no service and no user."""
    world.service("coge")
    world.person("mgatto")
    response = program.call("post", f"/api/v1/service/{path}")
    assert (response.status_code, response.json()) == (404, {"error": {"HTTP": f"{told} Not Found"}})


def test_without_credentials_nothing_is_told(program: world.Program) -> None:
    """UM38: without credentials no service or user is revealed."""
    world.service("coge")
    world.person("mgatto")
    for service, username in (("coge", "mgatto"), ("none", "mgatto"), ("coge", "none")):
        assert Client().post(f"/api/v1/service/{service}/add/{username}").status_code == 401
    assert Client().get("/api/v1/service/coge/add/mgatto").status_code == 405
    assert Client().head("/api/v1/service/coge/add/mgatto")["Allow"] == "POST, PUT"


def test_held_and_denied(program: world.Program) -> None:
    """UM39: An add after a staff denial is pending; a granted user gets "already has access"."""
    service, user, staff = world.service("coge"), world.person("mgatto"), world.reviewer()
    assert add(program).status_code == 200
    provision.deny(ServiceRequest.objects.get(), actor=staff, reason="No seat left.")
    assert add(program).status_code == 200
    again = ServiceRequest.objects.get(state="pending")
    assert add(program).json()["error"]["LogicException"].startswith("User mgatto already has requested")
    provision.deny(again, actor=staff, reason="Still none.")
    assert "already has requested" in add(program).content.decode()
    for passed, answer in ((timedelta(days=29, hours=23), 400), (timedelta(hours=2), 200)):
        times = {name: F(name) - passed for name in ("created_at", "decided_at")}
        ServiceRequest.objects.update(**times)
        assert add(program).status_code == answer
    provision.grant(ServiceRequest.objects.get(state="pending"), actor=staff)
    assert UserService.objects.filter(user=user, service=service).count() == 1
    response = add(program, "COGE", "MGATTO")
    assert (response.status_code, response.content) == (
        400,
        b'{"error":{"LogicException":"User MGATTO already has access to COGE"}}',
    )


def test_statements(program: world.Program, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    """UM24: service add ≤ 8 statements, duplicates fewer."""
    world.service("coge", grant_mode="webhook", webhook_url="https://provision.example.org/")
    world.person("mgatto")
    with django_assert_max_num_queries(8):
        assert add(program).status_code == 200
    with django_assert_max_num_queries(2):
        assert add(program).status_code == 400


@pytest.mark.django_db(transaction=True)
def test_fifty_at_once(web: house.Web) -> None:
    """UM38: Fifty parallel identical adds: one row, one 200, 49 duplicate answers."""
    program = world.program(world.person("owner"))
    world.service("coge")
    world.person("mgatto")
    address = f"{web.base_url}/api/v1/service/coge/add/mgatto"

    def one(_: int) -> requests.Response:
        return requests.post(address, auth=(program.key, program.secret), timeout=30)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(one, range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 49
    assert ServiceRequest.objects.count() == 1
    assert all("already has requested" in answer.text for answer in answers if answer.status_code == 400)


def answering(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> list[dict[str, Any]]:
    """Have the operator's URL answer so; what it was sent."""
    sent: list[dict[str, Any]] = []
    rest = iter(answers)

    def post(url: str, body: bytes, **options: Any) -> Any:
        sent.append({"url": url, "body": body, **options})
        answer = next(rest)
        if isinstance(answer, Exception):
            raise answer
        status, content = answer
        return egress.Response(status, {}, url, content)  # type: ignore[arg-type]

    monkeypatch.setattr(egress, "post", post)
    return sent


def hooked(program: world.Program) -> ServiceRequest:
    world.service("coge", grant_mode="webhook", webhook_url="https://provision.example.org/")
    world.person("mgatto")
    assert add(program).status_code == 200
    return ServiceRequest.objects.get()


@pytest.mark.django_db(transaction=True)
def test_the_operators_url_grants(program: world.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """UM43: a webhook that grants: signed, granted once, the owner told."""
    request = hooked(program)
    sent = answering(monkeypatch, (200, b'{"granted":true}'))
    jobs.run_queued()
    payload = json.loads(sent[0]["body"])
    assert payload == {"request_id": request.pk, "service": "coge", "username": "mgatto", "source": "api"}
    stamp = int(sent[0]["headers"]["X-Usermgmt-Timestamp"])
    expected = provision_jobs.signature(sent[0]["body"], at=stamp)
    assert sent[0]["headers"]["X-Usermgmt-Signature"] == f"sha256={expected}"
    assert (sent[0]["redirects"], sent[0]["seconds"], sent[0]["limit"]) == (0, 10, 65_536)
    request.refresh_from_db()
    assert request.state == "granted"
    assert UserService.objects.count() == 1
    assert Mail.objects.filter(kind="usermgmt.service-granted").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "answer", [(202, b""), (500, b""), (200, b"nonsense"), (200, b"[]"), errors.Unavailable("No route.")]
)
def test_the_operators_url_waits(program: world.Program, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """UM43: 202 waits; anything else is tried again for 24 hours and then fails, and staff are told."""
    request = hooked(program)
    answering(monkeypatch, answer, answer, answer)
    job = Job.objects.get(kind=provision_jobs.KIND)
    jobs.run(job.pk)
    job.refresh_from_db()
    request.refresh_from_db()
    assert (job.state, request.state) == ("queued", "approved")
    request.events.update(at=timezone.now() - timedelta(hours=23, minutes=55))
    Job.objects.filter(pk=job.pk).update(available_at=timezone.now())
    jobs.run(job.pk)
    job.refresh_from_db()
    request.refresh_from_db()
    assert (job.state, request.state) == ("queued", "approved")
    request.events.update(at=timezone.now() - timedelta(hours=24, minutes=5))
    Job.objects.filter(pk=job.pk).update(available_at=timezone.now())
    jobs.run(job.pk)
    request.refresh_from_db()
    is_waiting = isinstance(answer, tuple) and answer[0] == 202
    assert request.state == ("approved" if is_waiting else "failed")
    assert Mail.objects.filter(kind="usermgmt.service-failed").exists() is not is_waiting


def test_portal_requests() -> None:
    """UM48: the owner asks; approved at once or by staff, as the policy says; never twice."""
    user = world.person("mgatto")
    auto, staff = world.service("coge", approval_policy="auto"), world.service("atmo")
    provision.request_access(user=user, service=auto)
    provision.request_access(user=user, service=staff)
    assert dict(ServiceRequest.objects.values_list("service__slug", "state")) == {"coge": "approved", "atmo": "pending"}
    with pytest.raises(errors.Conflict):
        provision.request_access(user=user, service=auto)
    provision.approve(ServiceRequest.objects.get(service=staff), actor=world.reviewer())
    with pytest.raises(errors.Conflict):
        provision.approve(ServiceRequest.objects.get(service=staff), actor=world.reviewer())
    provision_jobs.announce_pending()
    assert not Mail.objects.filter(kind="usermgmt.service-requested").exists()


def test_a_webhook_needs_an_address() -> None:
    from django.db import IntegrityError

    with pytest.raises(IntegrityError):
        Service.objects.create(slug="x", name="X", grant_mode="webhook")
