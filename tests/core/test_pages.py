"""The core's own pages and probes, and who owns which path."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
import requests
from django.test import Client, override_settings
from django.utils import timezone

from core.apps import api_configs
from core.models import Job, User
from exports.services import tokens as exports_tokens
from tests import house

pytestmark = pytest.mark.django_db


def test_the_landing_page_names_all_five(client: Client) -> None:
    text = client.get("/").content.decode()
    titles = [config.title for config in api_configs()]
    assert len(titles) == 5
    for title in titles:
        assert title in text


@pytest.mark.parametrize("path", ["/livez", "/livez/", "/readyz", "/readyz/", "/docs", "/docs/", "/admin"])
def test_core_paths_answer_with_and_without_slash(client: Client, path: str) -> None:
    client.force_login(User.objects.create_superuser("staff"))
    assert client.get(path).status_code == 200


def test_pages_that_name_no_icon_get_one(client: Client) -> None:
    answer = client.get("/favicon.ico")
    assert (answer.status_code, answer["Content-Type"]) == (200, "image/svg+xml")
    assert answer.content.startswith(b"<svg")


def test_readiness_names_each_part(client: Client) -> None:
    assert client.get("/readyz").json() == {
        "ready": True,
        "parts": dict.fromkeys(("database", "broker", "store"), "ok"),
    }


@pytest.mark.parametrize("path", ["/livez", "/readyz/", "/metrics"])
@override_settings(ALLOWED_HOSTS=["quincunx.example.org"])
def test_probes_may_come_by_address(client: Client, path: str) -> None:
    """A container's health check asks 127.0.0.1, whatever names the service has; everything else needs its name."""
    assert client.get(path, headers={"Host": "127.0.0.1:8000"}).status_code == 200
    assert client.get("/docs/", headers={"Host": "127.0.0.1:8000"}).status_code == 400
    assert client.get("/docs/", headers={"Host": "quincunx.example.org"}).status_code == 200


@pytest.mark.parametrize("path", ["/admin/core/job/?kind=%00", "/admin/core/mail/?state__exact=%00"])
def test_a_nul_is_refused_everywhere(client: Client, path: str) -> None:
    client.force_login(User.objects.create_superuser("staff"))
    assert client.get(path).status_code == 400
    page = client.get(path, headers={"Accept": "text/html"})
    assert (page.status_code, "This cannot be understood" in page.content.decode()) == (400, True)


@pytest.mark.parametrize(
    "path",
    [
        "/admin/core/job/?created_at__year={}",
        "/admin/core/mail/?created_at__year__gte={}",
        "/admin/core/job/?created_at__iso_year={}",
        "/admin/nnels/issuetotal/?day__year={}",
        "/admin/nnels/urlissue/?at__year={}",
    ],
)
@pytest.mark.parametrize("year", ["99999999999", "9999999999999999999999", "10000", "9999", "0", "-1", "x"])
def test_a_year_that_no_date_has_is_refused(client: Client, path: str, year: str) -> None:
    client.force_login(User.objects.create_superuser("staff"))
    answer = client.get(path.format(year))
    assert answer.status_code in ((200, 302, 400) if year == "9999" else (302, 400))
    assert answer.status_code != 302 or answer["Location"].endswith("?e=1")


def test_metrics_show_jobs_whichever_process_did_them(client: Client) -> None:
    now = timezone.now()
    for state, finished_at in (("succeeded", now), ("succeeded", now - timedelta(hours=2)), ("queued", None)):
        Job.objects.create(kind="test", state=state, fingerprint=state, finished_at=finished_at)
    text = client.get("/metrics").content.decode()
    assert 'quincunx_jobs_ended{kind="test",state="succeeded"} 1.0' in text
    assert 'quincunx_jobs_active{kind="test",state="queued"} 1.0' in text


@pytest.mark.django_db(transaction=True)
def test_metrics_add_up_all_processes(start_web: Callable[..., house.Web]) -> None:
    web = start_web(workers=2)
    for _ in range(20):
        assert requests.get(f"{web.base_url}/docs/", timeout=20).status_code == 200
    wanted = 'quincunx_requests_total{app="core",method="GET",status="200"}'
    for _ in range(6):
        text = requests.get(f"{web.base_url}/metrics", timeout=20).text
        (count,) = [line.split()[-1] for line in text.splitlines() if line.startswith(wanted)]
        assert float(count) >= 20


def test_metrics_show_requests_and_ask_for_the_token(client: Client) -> None:
    client.get("/livez")
    text = client.get("/metrics").content.decode()
    assert 'quincunx_requests_total{app="core",method="GET",status="200"}' in text
    with override_settings(METRICS_TOKEN="t0p"):
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer t0p"}).status_code == 200


def test_an_unknown_path_is_a_page_for_browsers_and_a_problem_otherwise(client: Client) -> None:
    page = client.get("/no/such/path", headers={"Accept": "text/html"})
    assert (page.status_code, page["Content-Type"]) == (404, "text/html; charset=utf-8")
    problem = client.get("/no/such/path", headers={"Accept": "application/json"})
    assert (problem.status_code, problem["Content-Type"]) == (404, "application/problem+json")


def test_every_answer_has_a_request_id_and_pages_a_policy(client: Client) -> None:
    answer = client.get("/", headers={"X-Request-ID": "abcdefgh-1"})
    assert answer["X-Request-ID"] == "abcdefgh-1"
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    forged = client.get("/", headers={"X-Request-ID": "bad id\twith blanks"})
    assert len(forged["X-Request-ID"]) == 32


@pytest.mark.parametrize("path", ["/nosuch", "/downloads/nosuch", "/exports/nosuch", "/exports/nosuch/"])
def test_whoever_posts_to_a_wrong_address_is_told_so(path: str) -> None:
    """A program that posts has no form's token; the address is what is wrong."""
    answer = Client(enforce_csrf_checks=True).post(path, b"{}", content_type="application/json")
    assert (answer.status_code, answer["Content-Type"].partition(";")[0][-4:]) == (404, "json")


@pytest.mark.parametrize(
    "path", ["/nosuch", "/downloads/no/such", "/exports/nosuch", "/registry/nosuch", "/portal/nosuch"]
)
def test_a_browser_is_shown_a_page_at_a_wrong_address(client: Client, path: str) -> None:
    answer = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "<h1>" in answer.content.decode()


@pytest.mark.parametrize("number", ["9" * 18, "9" * 30, "9" * 5000])
def test_tokens_that_cannot_be_are_not_found(client: Client, number: str) -> None:
    client.force_login(User.objects.create_superuser("staff"))
    assert client.post(f"/accounts/tokens/{number}/revoke").status_code == 404
    assert client.get(f"/admin/downloads/rejectedrow/?run={number}").status_code == 200


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=é"]
)
@pytest.mark.parametrize("body", [b"", b"{}", b"--x\r\n"])
def test_a_broken_multipart_body_is_the_callers_fault(client: Client, kind: str, body: bytes) -> None:
    """An import with such a body was a 500."""
    token = exports_tokens.issue(User.objects.create_user("ann"))[1]
    path, headers = "/importers/bulk-import/", {"Authorization": f"Token {token}"}
    answer = client.generic("POST", path, body, content_type=kind, headers=headers)
    assert (answer.status_code, list(answer.json())) == (400, ["detail"])
