"""The pages, without JavaScript (contract 7)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from core import egress, jobs
from core.jobs import attempts
from core.models import EmailAddress, Job, Mail, User
from registry.demo import source as demo_source
from registry.formats import samples
from registry.jobs import request
from registry.models import Account, Harvest, HarvestRun, Organization, Record, Subscription
from registry.services import harvests
from tests.registry.conftest import PASSWORD, run

pytestmark = pytest.mark.django_db(transaction=True)

HOSTILE = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>'
Add = Callable[..., Harvest]
Person = Callable[..., User]


@pytest.fixture
def signed_in(client: Client, owner: User) -> Client:
    client.force_login(owner)
    return client


def test_all_pages_answer(signed_in: Client, add_harvest: Add) -> None:
    """X51: every page answers 200 with and without slash, with no script in it."""
    harvest = add_harvest()
    made = run(harvest)
    record = Record.objects.first()
    assert record is not None
    paths = ["", "sources", "sources/add", "sources/preview", "register", "verify", "login", "reset", "account"]
    paths += [f"sources/{harvest.uid}{rest}" for rest in ("", "/edit", "/harvest", "/delete", "/records", "/runs")]
    paths += [f"records/{record.pk}", f"runs/{made.pk}", "password"]
    for path in paths:
        for slash in ("", "/"):
            answer = (Client() if path == "login" else signed_in).get(f"/registry/{path}".rstrip("/") + slash)
            assert answer.status_code == 200, path
            assert "<script" not in answer.content.decode()
            assert "default-src 'self'" in answer["Content-Security-Policy"]


def test_hostile_text(signed_in: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X51: hostile text from people and from sources is escaped everywhere."""
    source.files.clear()
    evil = samples.iso19139(1).replace(
        samples.LANGUAGES["fre"][0].format(n=1).encode(), HOSTILE.replace("&", "&amp;").replace("<", "&lt;").encode()
    )
    evil = evil.replace(b"https://data.example.org/erddap/tabledap/station1.html", b"javascript:alert(1)")
    source.put("evil.xml", evil)
    harvest = add_harvest(name=HOSTILE)
    made = run(harvest)
    record = Record.objects.get()
    assert record.title == HOSTILE
    for path in ("sources", f"sources/{harvest.uid}", f"sources/{harvest.uid}/records", f"records/{record.pk}"):
        text = signed_in.get(f"/registry/{path}").content.decode()
        assert "<script>" not in text
        assert "<img src=x" not in text
        assert 'href="javascript' not in text
    assert "javascript:alert(1)" in signed_in.get(f"/registry/records/{record.pk}").content.decode()
    assert signed_in.get(f"/registry/runs/{made.pk}").status_code == 200


def test_strangers(client: Client, add_harvest: Add, add_person: Person) -> None:
    """X51: strangers and unapproved members cannot change anything or see unpublished data."""
    harvest = add_harvest(publish=False)
    made = run(harvest)
    record = Record.objects.first()
    assert record is not None
    add_person("stranger", member=False)
    add_person("waiting", approved=False)
    changing = [f"sources/{harvest.uid}/{rest}" for rest in ("edit", "harvest", "delete", "accept")]
    for name in ("stranger", "waiting"):
        client.force_login(User.objects.get(username=name))
        for path in changing:
            assert client.post(f"/registry/{path}", {"sure": "1"}).status_code == 403
        assert client.post(f"/registry/runs/{made.pk}/cancel").status_code == 404
        for path in (f"sources/{harvest.uid}", f"records/{record.pk}", f"runs/{made.pk}"):
            assert client.get(f"/registry/{path}").status_code == 404
        assert client.get(f"/registry/records/{record.pk}/original.xml").status_code == 404
        assert client.get("/registry/sources/add").status_code == 403
    client.logout()
    for path in changing:
        assert client.post(f"/registry/{path}").status_code == 302
    assert HarvestRun.objects.count() == 1


def test_csrf(owner: User, harvest: Harvest) -> None:
    """X51: a page's form without its token changes nothing; nothing changes on GET."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(owner)
    assert client.post(f"/registry/sources/{harvest.uid}/delete").status_code == 403
    for path in ("harvest", "delete"):
        assert client.get(f"/registry/sources/{harvest.uid}/{path}").status_code == 200
    assert client.get(f"/registry/sources/{harvest.uid}/accept").status_code == 405
    harvest.refresh_from_db()
    assert (harvest.deleting, HarvestRun.objects.count()) == (False, 0)


def _form(harvest: Harvest | None = None, /, **values: object) -> dict[str, object]:
    organization = Organization.objects.get(name="PacIOOS")
    base = {
        "name": "New source",
        "url": "http://new.example.org/iso/",
        "organization": organization.pk,
        "harvest_type": "WAF",
        "harvest_interval": 1,
        "max_depth": 2,
        "document_scope": "host",
        "shrink_limit": 50,
        "full_check_days": 7,
    }
    return {**base, **values}


def test_add_and_edit(signed_in: Client, organization: Organization, served: demo_source.Server) -> None:
    """X51: adding and editing work by plain forms; a bad value is said at its field; publishing queues a run."""
    other = Organization.objects.create(name="Other", slug="Other")
    assert 'value="maria@example.org"' in signed_in.get("/registry/sources/add").content.decode()
    answer = signed_in.post("/registry/sources/add", _form(url="ftp://x/", organization=other.pk))
    assert answer.status_code == 200
    assert answer.content.decode().count('class="field wrong"') == 2
    answer = signed_in.post("/registry/sources/add", _form(url=served.url("nginx"), include="*.xml, *.iso"))
    harvest = Harvest.objects.get()
    assert answer["Location"] == f"/registry/sources/{harvest.uid}"
    assert (harvest.include, HarvestRun.objects.count()) == (["*.xml", "*.iso"], 0)
    values = _form(url=served.url("nginx"), name="Renamed", publish="on")
    assert signed_in.post(f"/registry/sources/{harvest.uid}/edit", values).status_code == 302
    harvest.refresh_from_db()
    assert (harvest.name, harvest.publish, HarvestRun.objects.get().state) == ("Renamed", True, "queued")
    duplicate = signed_in.post("/registry/sources/add", _form(url=served.url("nginx")))
    assert 'class="field wrong"' in duplicate.content.decode()


def test_faults_are_sentences_at_their_fields(signed_in: Client, harvest: Harvest) -> None:
    """X51: what is wrong is said in words of the form, everything that was typed is kept."""
    wrong = {
        "url": (harvest.url, "There is a source with this address already."),
        "ckan_harvest_url": ("javascript:alert(1)", "The address must be an http or https URL."),
        "exclude": ("a, " + "b" * 300, "Item 2: Ensure this value has at most 200 characters (it has 300)."),
        "harvest_interval": ("9999", "Ensure this value is less than or equal to 365."),
        "source_password": ("", "A user name and a password belong together."),
    }
    typed: dict[str, Any] = {name: value for name, (value, _) in wrong.items()}
    answer = signed_in.post("/registry/sources/add", _form(None, **typed, source_user="somebody"))
    form = answer.context["form"]
    assert {name: faults[0] for name, faults in form.errors.items()} == {
        name: told for name, (_, told) in wrong.items()
    }
    assert form["source_user"].value() == "somebody"
    for name, value in typed.items():
        assert form[name].value() == value
    assert "Forget user name and password" not in answer.content.decode(), "there is none to forget"


def test_what_a_source_says_of_its_next_run(signed_in: Client, add_harvest: Add) -> None:
    """X51: only what will be run by itself has a next run; an active one is a click away."""
    harvest = add_harvest(publish=False, harvest_interval=1, next_due=timezone.now())
    path = f"/registry/sources/{harvest.uid}"
    page = signed_in.get(path).content.decode()
    assert "<dt>Next</dt>" not in page
    assert "harvested only when asked" in page
    Harvest.objects.update(publish=True)
    assert "<dt>Next</dt>" in signed_in.get(path).content.decode()
    Harvest.objects.update(paused=True)
    assert "<dt>Next</dt>" not in signed_in.get(path).content.decode()
    signed_in.post(f"{path}/harvest")
    started = HarvestRun.objects.get()
    assert f'<a href="/registry/runs/{started.pk}">queued now</a>' in signed_in.get(path).content.decode()


def test_a_long_run_says_where_the_rest_is(signed_in: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X51: of more than fifty changes the page shows fifty and says so; a good run leads to its records."""
    for number in range(52):
        source.put(f"more_{number}.xml", samples.iso19139(100 + number))
    made = run(add_harvest(publish=True))
    page = signed_in.get(f"/registry/runs/{made.pk}").content.decode()
    assert page.count("<li>added: ") == 50
    assert f'The first 50; all are in <a href="/registry/runs/{made.pk}/changes.csv">' in page
    assert f'<a href="/registry/sources/{made.harvest.uid}/records">Records</a>' in page


def test_pause_and_resume(signed_in: Client, add_harvest: Add) -> None:
    """X46, X51: an owner resumes a source that an undo has paused, and pauses one, on the form of its settings."""
    harvest = add_harvest(paused=True)
    path = f"/registry/sources/{harvest.uid}/edit"
    shown = signed_in.get(path).content.decode()
    assert re.search(r'<input type="checkbox" name="paused"[^>]* checked', shown)
    for sent in ({}, {"paused": "on"}):
        assert signed_in.post(path, _form(url=harvest.url, publish="on", **sent)).status_code == 302
        harvest.refresh_from_db()
        assert harvest.paused is bool(sent)
    assert not HarvestRun.objects.exists()


def test_harvest_now(signed_in: Client, add_harvest: Add) -> None:
    """X51: Harvest now asks if unpublished, shows live progress by refreshing, and can be cancelled."""
    harvest = add_harvest(publish=False)
    path = f"/registry/sources/{harvest.uid}/harvest"
    assert b"not published" in signed_in.post(path).content
    assert not HarvestRun.objects.exists()
    answer = signed_in.post(path, {"sure": "1"})
    made = HarvestRun.objects.get()
    assert answer["Location"] == f"/registry/runs/{made.pk}"
    assert b'http-equiv="refresh"' in signed_in.get(answer["Location"]).content
    signed_in.post(f"/registry/runs/{made.pk}/cancel")
    made.refresh_from_db()
    assert made.state == "cancelled"
    assert b'http-equiv="refresh"' not in signed_in.get(answer["Location"]).content


def test_accept_shrink(signed_in: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X51: a run stopped by a guard offers its owner to accept and run again."""
    harvest = add_harvest()
    run(harvest)
    source.files = dict(list(source.files.items())[:1])
    made = run(harvest)
    assert made.failure_code == "shrink_guard"
    assert b"Accept and run again" in signed_in.get(f"/registry/runs/{made.pk}").content
    signed_in.post(f"/registry/sources/{harvest.uid}/accept")
    jobs.run_queued()
    assert Record.objects.count() == 1


def test_delete(signed_in: Client, client: Client, add_harvest: Add) -> None:
    """X52: deleting is asynchronous, shows `deleting`, and leaves no record or WAF entry."""
    harvest = add_harvest()
    run(harvest)
    other = add_harvest("apache")
    run(other)
    record = harvest.records.first()
    assert record is not None
    assert b"cannot be undone" in signed_in.get(f"/registry/sources/{harvest.uid}/delete").content
    before = client.get("/waf/PacIOOS/")
    signed_in.post(f"/registry/sources/{harvest.uid}/delete")
    assert client.get(f"/api/v1/Harvests/{harvest.uid}").json()["data"]["last_harvest_dt"] == "deleting"
    assert client.get(f"/waf/PacIOOS/{record.waf_name}").status_code == 404
    jobs.run_queued()
    assert client.get(f"/api/v1/Harvests/{harvest.uid}").status_code == 404
    assert set(Record.objects.values_list("harvest_id", flat=True)) == {other.pk}
    after = client.get("/waf/PacIOOS/")
    assert before["ETag"] != after["ETag"]
    assert after.getvalue().count(b"<a ") == 7


def test_delete_during_a_run(add_harvest: Add) -> None:
    """X52: what a source has is removed once its run, which is cancelled, has stopped; not under its hands."""
    harvest = add_harvest()
    run(harvest)
    made, _ = request.run_of(harvest, trigger="cli")
    attempt = jobs.claim(made.job_id)
    assert attempt is not None
    HarvestRun.objects.filter(pk=made.pk).update(state="running", stage="fetching")
    harvests.delete(harvest, user=None)
    jobs.run_queued()
    assert Record.objects.count() == 6
    attempt.beat()
    with pytest.raises(jobs.Cancelled):
        attempt.check()
    attempts._end(attempt, "cancelled", "cancelled", "")
    Job.objects.update(available_at=timezone.now())
    jobs.run_queued()
    assert [model.objects.count() for model in (Record, HarvestRun, Harvest)] == [0, 0, 0]


def test_preview(signed_in: Client, served: demo_source.Server, organization: Organization) -> None:
    """X51: the preview lists what an address yields and stores nothing."""
    text = signed_in.get("/registry/sources/preview", {"url": served.url("iis"), "harvest_type": "WAF"})
    assert b"6 documents" in text.content
    text = signed_in.get("/registry/sources/preview", {"url": served.url("csw"), "harvest_type": "CSW"})
    assert b"6 documents" in text.content
    bad = signed_in.get("/registry/sources/preview", {"url": "http://169.254.169.254/", "harvest_type": "WAF"})
    assert b"not allowed" in bad.content
    assert not Harvest.objects.exists()
    assert not Record.objects.exists()


def test_registration(client: Client, organization: Organization) -> None:
    """X51: registration, mail verification and approval; until approved an account owns nothing."""
    values = {
        "email": "New@Example.org",
        "name": "Nora New",
        "organizations": [organization.pk],
        "poc_name": "Nora",
        "poc_email": "poc@example.org",
        "password": "seven77",
    }
    assert b'class="field wrong"' in client.post("/registry/register", values).content
    values["password"] = "eight888"
    assert b"Check your mail" in client.post("/registry/register", values).content
    user = User.objects.get(email="New@Example.org")
    assert not user.registry_account.approved
    link = re.search(r"key=(\S+)", Mail.objects.get(kind="registry.verify").body)
    assert link is not None
    assert client.post("/registry/verify", {"key": link[1] + "x"}).status_code == 400
    client.get("/registry/verify", {"key": link[1]})
    assert not EmailAddress.objects.get(user=user).is_verified
    assert client.post("/registry/verify", {"key": link[1]}).status_code == 200
    assert EmailAddress.objects.get(user=user).is_verified
    client.force_login(user)
    assert client.get("/registry/sources/add").status_code == 403
    again = Client().post("/registry/register", values)
    assert b"Check your mail" in again.content
    assert User.objects.filter(email__iexact="new@example.org").count() == 1


def test_web_login_ignores_email_case(client: Client, owner: User) -> None:
    """X51: web login ignores e-mail case; `next` may only be local."""
    values = {"username": "MARIA@Example.org", "password": PASSWORD, "next": "https://evil.example.org/"}
    answer = client.post("/registry/login", values)
    assert answer.status_code == 302
    assert "evil" not in answer["Location"]


def test_tokens_page(signed_in: Client, owner: User) -> None:
    """X51: a person sees their tokens, never the values, and revokes them."""
    body = f"username=maria&password={PASSWORD}"
    token = Client().post("/api/v2/login", body, content_type="application/x-www-form-urlencoded").json()["data"]
    page = signed_in.get("/registry/account").content.decode()
    assert token["authToken"] not in page
    number = re.search(r"/registry/account/tokens/(\d+)/revoke", page)
    assert number is not None
    signed_in.post(number[0])
    headers = {"HTTP_X_AUTH_TOKEN": token["authToken"], "HTTP_X_USER_ID": token["userId"]}
    assert signed_in.get("/api/v2/logout", **headers).status_code == 401


def test_password_page_revokes(signed_in: Client, owner: User) -> None:
    """X18: the password page asks for the current one and revokes all tokens."""
    body = f"username=maria&password={PASSWORD}"
    token = Client().post("/api/v2/login", body, content_type="application/x-www-form-urlencoded").json()["data"]
    values = {"old_password": "wrong", "new_password1": "brand-new-88", "new_password2": "brand-new-88"}
    assert signed_in.post("/registry/password", values).status_code == 200
    assert signed_in.post("/registry/password", {**values, "old_password": PASSWORD}).status_code == 302
    headers = {"HTTP_X_AUTH_TOKEN": token["authToken"], "HTTP_X_USER_ID": token["userId"]}
    assert Client().get("/api/v2/logout", **headers).status_code == 401


def test_subscription(signed_in: Client, add_harvest: Add, source: demo_source.Source) -> None:
    """X51: a subscriber is mailed about the runs they chose."""
    harvest = add_harvest()
    signed_in.post(f"/registry/sources/{harvest.uid}/subscribe", {"event": "change"})
    assert Subscription.objects.get().event == "change"
    run(harvest)
    run(harvest)
    assert Mail.objects.filter(kind="registry.run").count() == 1
    signed_in.post(f"/registry/sources/{harvest.uid}/subscribe", {"event": ""})
    assert not Subscription.objects.exists()


def test_subscription_leaves_webhooks(signed_in: Client, harvest: Harvest, owner: User) -> None:
    """X51: changing one's mails about a source keeps the webhook an operator has set up for the same person."""
    hook = {"webhook_url": "https://hooks.example.org/x", "event": "always", "key": "k"}
    Subscription.objects.create(user=owner, harvest=harvest, **hook)
    for event in ("failure", ""):
        signed_in.post(f"/registry/sources/{harvest.uid}/subscribe", {"event": event})
        kept = Subscription.objects.exclude(webhook_url="").values("webhook_url", "event", "key")
        assert list(kept) == [hook]
        assert Subscription.objects.filter(webhook_url="").count() == bool(event)


def test_ckan_link_of_the_organisation(client: Client, add_harvest: Add, organization: Organization) -> None:
    """X51: a source without a CKAN address of its own links to its organisation's, as the API gives it."""
    organization.ckan_harvest_url = "https://ckan.example.org/harvest/all"
    organization.save()
    add_harvest(name="own", url="https://a.example.org/", ckan_harvest_url="https://ckan.example.org/harvest/own")
    add_harvest(name="shared", url="https://b.example.org/")
    shown = client.get("/registry/sources").content.decode()
    assert shown.count('href="https://ckan.example.org/harvest/own"') == 1
    assert shown.count('href="https://ckan.example.org/harvest/all"') == 1


def test_reports_of_an_unpublished_source(signed_in: Client, client: Client, add_harvest: Add) -> None:
    """X40, X42: the reports a run's page links to are for who may see the page, also of an unpublished source."""
    made = run(add_harvest(publish=False))
    page = signed_in.get(f"/registry/runs/{made.pk}").content.decode()
    links = re.findall(rf'href="(/registry/runs/{made.pk}/[^"]+)"', page)
    assert [link.rpartition("/")[2] for link in links] == ["report.csv", "report.json", "changes.csv"]
    stranger = Client()
    for link in links:
        answer = signed_in.get(link)
        body = answer.getvalue()
        assert (answer.status_code, "attachment" in answer["Content-Disposition"]) == (200, True)
        assert body.count(b"added") == (6 if link.endswith("changes.csv") else 0)
        assert stranger.get(link).status_code == 404


def test_ckan_job(
    signed_in: Client, client: Client, add_harvest: Add, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X47: a run's page leads its owner to the state of its CKAN job; only allowed hosts are asked."""
    made = run(add_harvest(ckan_harvest_url="http://ckan.example.org/harvest/pacioos-waf"))
    asked: list[str] = []
    told = b'{"success":true,"result":{"status":"Finished","finished":"2026-11-22","stats":{"added":3,"x":"<b>"}}}'

    def answer(method: str, url: str, **options: Any) -> Any:
        asked.append(url)
        assert options["redirects"] == 0
        return egress.Response(200, None, url, told)  # type: ignore[arg-type]

    monkeypatch.setattr(egress, "request", answer)
    path = f"/registry/runs/{made.pk}/ckan"
    assert b"has no CKAN job" in signed_in.get(path).content
    HarvestRun.objects.filter(pk=made.pk).update(ckan_outcome="ok: job ab-1")
    assert path.encode() in signed_in.get(f"/registry/runs/{made.pk}").content
    assert b"REGISTRY_CKAN_HOSTS" in signed_in.get(path).content
    assert asked == []
    settings.REGISTRY_CKAN_HOSTS = ["ckan.example.org"]
    page = signed_in.get(path).content.decode()
    assert asked == ["http://ckan.example.org/api/3/action/harvest_job_show?id=ab-1"]
    assert "<strong>Finished</strong>" in page
    assert "<dt>Added</dt><dd>3</dd>" in page
    assert "<b>" not in page
    told = b"<html>"
    assert b"not CKAN" in signed_in.get(path).content
    HarvestRun.objects.filter(pk=made.pk).update(ckan_outcome="ok: job ../../evil?x=1")
    assert b"has no CKAN job" in signed_in.get(path).content
    assert Client().get(path).status_code == 302


def test_page_queries(signed_in: Client, add_harvest: Add) -> None:
    """X53: pages take at most 12 queries, whatever the number of rows."""
    harvest = add_harvest()
    made = run(harvest)
    for number in range(30):
        add_harvest("apache", url=f"http://h{number}.example.org/")
    record = Record.objects.first()
    assert record is not None
    for path in ("", "sources", f"sources/{harvest.uid}", f"sources/{harvest.uid}/records", f"runs/{made.pk}"):
        with CaptureQueriesContext(connection) as queries:
            assert signed_in.get(f"/registry/{path}").status_code == 200
        assert len(queries) <= 12, path


def test_account_without_profile(client: Client) -> None:
    """X51: an account of another API has no place here until it is given one."""
    user = User.objects.create_user("other", "other@example.org", PASSWORD)
    client.force_login(user)
    assert b"no place in the registry" in client.get("/registry/account").content
    assert client.post("/registry/account", {"poc_name": "x"}).status_code == 200
    assert not Account.objects.exists()


def test_accept_while_being_deleted(signed_in: Client, add_harvest: Add) -> None:
    """X52: a source being deleted is not run again, and no guard is waived for it."""
    harvest = add_harvest()
    Harvest.objects.filter(pk=harvest.pk).update(deleting=True)
    assert signed_in.post(f"/registry/sources/{harvest.uid}/accept").status_code < 500
    harvest.refresh_from_db()
    assert not harvest.waive_guard_once
