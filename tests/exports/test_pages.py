"""Pages and admin (contract §3, §7)."""

import html
import json
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from core import jobs
from core.models import ApiToken
from exports.models import ExportBuild, ImportJob, RepoVersion
from tests.exports.conftest import Api, World
from tests.exports.test_export import body
from tests.exports.test_imports import concept, lines, run


@pytest.fixture
def page(world: World) -> Client:
    """The editor's browser; it checks CSRF like a real one would be checked."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.editor)
    return client


def submit(client: Client, page: str, path: str, **fields: str) -> Any:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(page).content.decode())
    assert token is not None
    return client.post(path, {**fields, "csrfmiddlewaretoken": token[1]})


def test_pages(world: World, page: Client) -> None:
    """X60: pages need no JavaScript, check CSRF, hide private repositories."""
    world.fill()
    world.cut("v1", released=True)
    hidden = world.repo("Hidden", public_access="None")
    listed = Client().get("/exports/").content.decode()
    assert "Source one" in listed
    assert "Hidden" not in listed
    assert "Hidden" in page.get("/exports/?q=hid").content.decode()
    assert Client().get(f"/exports{hidden.uri}").status_code == 404
    assert Client().get("/exports/help/").status_code == 200
    path = f"/exports{world.path}"
    assert "<script" not in page.get(path).content.decode()
    assert page.post(f"{path}v1/", {"do": "build"}).status_code == 403
    assert submit(page, path, f"{path}v1/", do="build").status_code == 302
    status = f"{world.path}v1/export/status/"
    assert Client().get(status, headers={"Accept": "text/html"})["Refresh"] == "2"
    still = Client().get(f"{status}?still=true", headers={"Accept": "text/html"})
    assert "Refresh" not in still
    assert "?still=false" in still.content.decode()
    jobs.run_queued()
    shown = Client().get(path).content.decode()
    assert ExportBuild.objects.get().tgz_sha256 in shown
    assert "<button" not in shown.partition("</header>")[2]
    fetched = Client().get(f"{path}v1/zip/")
    assert fetched.status_code == 302
    assert Client().get(fetched["Location"]).status_code == 302
    assert submit(page, path, f"{path}v1/", do="rebuild").status_code == 302
    assert submit(page, path, f"{path}v1/", do="delete").status_code == 302
    assert not ExportBuild.objects.filter(state__in=("ready", "queued", "processing")).exists()


def test_escaped(world: World) -> None:
    """X60: pages escape all content."""
    world.api.put(world.path, {"name": "<b>bold</b>", "description": '"><script>alert(1)</script>'})
    for path in ("/exports/", f"/exports{world.path}"):
        shown = Client().get(path).content.decode()
        assert "<b>bold" not in shown
        assert "<script>alert" not in shown


def test_outsiders_cannot_act(world: World) -> None:
    """X60: the same rules as the API's: an outsider may build, not rebuild or delete."""
    world.fill()
    world.cut("v1")
    client = Client()
    client.force_login(world.outsider)
    path = f"/exports{world.path}v1/"
    assert Client().post(path, {"do": "build"}).status_code == 404
    assert client.post(path, {"do": "build"}).status_code == 302
    assert client.post(path, {"do": "delete"}).status_code == 404
    assert client.post(path, {"do": "rebuild"}).status_code == 404


def asks(client: Client, page: str, **words: str) -> str:
    """Ask for an export on the page of a version; the page that follows."""
    answer = submit(client, page, page, do="build", **words)
    assert (answer.status_code, answer["Location"]) == (302, page)
    shown = client.get(page)
    assert "is being built" in shown.content.decode()
    jobs.run_queued()
    return str(client.get(page).content.decode())


def hrefs(shown: str, page: str) -> list[str]:
    """Addresses of the files a page offers."""
    return [html.unescape(found) for found in re.findall(f'<li><a href="({page}[^"]+)"', shown)]


VARIANTS = [
    ({"export": ""}, "", ("tgz", "zip", "tar", "ndjson")),
    ({"export": "fhir.tgz"}, "fhir.tgz/", ("tgz",)),
    ({"export": "csv.zip"}, "csv.zip/", ("zip",)),
    ({"export": "delta", "since": " v0 "}, "delta/?since=v0", ("tgz", "zip", "tar", "ndjson")),
    ({"export": "delta", "since": "2016-08-22"}, "delta/?since=2016-08-22", ("tgz", "zip", "tar", "ndjson")),
    ({"export": "", "locale": "fr, en"}, "?locale=fr,en", ("tgz", "zip", "tar", "ndjson")),
    ({"export": "", "includeRetired": "false"}, "?includeRetired=false", ("tgz", "zip", "tar", "ndjson")),
]


@pytest.mark.parametrize(("words", "address", "forms"), VARIANTS)
def test_variants(
    world: World, page: Client, settings: Settings, words: dict[str, str], address: str, forms: tuple[str, ...]
) -> None:
    """X60: every documented export of a version can be asked for on its page, and fetched in every form; of a private
    repository by its members, to whom the API, which ignores cookies, would say 401."""
    settings.EXPORTS_LINK_DELIVERY = "stream"
    world.cut("v0")
    world.fill()
    world.cut("v1")
    world.api.put(world.path, {"public_access": "None"})
    path = f"/exports{world.path}v1/"
    shown = asks(page, path, **words)
    offered = hrefs(shown, path)
    assert [href.removeprefix(path).partition("/")[0] for href in offered] == list(forms)
    joint = "&" if "?" in address else "?"
    for form, href in zip(forms, offered, strict=True):
        link = page.get(href)
        assert (link.status_code, link["Cache-Control"]) == (302, "no-store")
        theirs = world.api.get(f"{world.path}v1/export/{address}{joint}stream=true&format={form}")
        assert theirs.status_code == 200, theirs.content
        assert body(Client().get(link["Location"])) == body(theirs)
        assert Client().get(href).status_code == 404
    assert Client().get(path).status_code == 404


def test_variants_rights(world: World, page: Client) -> None:
    """X60: on the page of a version an outsider may build and nobody but administrators rebuild or delete."""
    world.fill()
    world.cut("v1")
    path = f"/exports{world.path}v1/"
    client = Client()
    client.force_login(world.outsider)
    asked = {"export": "delta", "since": "2016-08-22"}
    assert Client().post(path, {"do": "build", **asked}).status_code == 404
    assert page.post(path, {"do": "build", **asked}).status_code == 403  # no CSRF token
    assert client.post(path, {"do": "build", **asked}).status_code == 302
    busy = client.get(path)
    assert "Refresh" not in busy
    assert client.get(f"{path}?watch=true")["Refresh"] == "2"
    jobs.run_queued()
    assert "Refresh" not in client.get(f"{path}?watch=true")
    assert "Changes since 2016-08-22T00:00:00" in client.get(path).content.decode()
    for what in ("rebuild", "delete"):
        assert f'value="{what}"' not in client.get(path).content.decode()
        assert client.post(path, {"do": what, **asked}).status_code == 404
        assert submit(page, path, path, do=what, **asked).status_code == 302
        jobs.run_queued()
    assert list(ExportBuild.objects.order_by("created_at").values_list("state", flat=True)) == ["deleted"] * 2
    assert hrefs(client.get(path).content.decode(), path) == []
    anonymous = Client().get(path).content.decode()
    assert "<form" not in anonymous
    assert "Log in" in anonymous


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"export": "delta", "since": "nonsense"}, "neither a version of this repository nor a timestamp"),
        ({"export": "delta", "since": ""}, "This field is required."),
        ({"export": "", "locale": "<b>"}, "locales between commas"),
    ],
)
def test_variants_wrong(world: World, page: Client, words: dict[str, str], told: str) -> None:
    """X60: what cannot be built is told beside the field, which keeps what was written; unknown exports are 404."""
    world.cut("v1")
    path = f"/exports{world.path}v1/"
    answer = submit(page, path, path, do="build", **words)
    shown = answer.content.decode()
    assert answer.status_code == 400
    assert told in shown
    assert shown.count('aria-invalid="true"') == 1
    assert f'value="{html.escape(words.get("since", words.get("locale", "")))}"' in shown
    assert submit(page, path, path, do="build", export="nothing").status_code == 404
    assert page.get(f"{path}tgz/?export=delta&since=nonsense").status_code == 404
    assert not ExportBuild.objects.exists()


def test_head(world: World, page: Client, settings: Settings) -> None:
    """X60: with EXPORTS_HEAD_FOR_ADMINS their pages have HEAD too: whole and in parts, as often as it changes."""
    world.fill()
    path = f"/exports{world.path}HEAD/"
    assert page.get(path).status_code == 404
    assert path not in page.get(f"/exports{world.path}").content.decode()
    settings.EXPORTS_HEAD_FOR_ADMINS = True
    assert Client().get(path).status_code == 404
    assert path in page.get(f"/exports{world.path}").content.decode()
    shown = asks(page, path, export="")
    assert [href.removeprefix(path) for href in hrefs(shown, path)] == ["tgz/", "zip/", "tar/"]
    assert submit(page, path, path, do="build", export="fhir.tgz").status_code == 404
    world.concept("later")
    assert "older than the last edit" in page.get(path).content.decode()
    asks(page, path, export="")
    assert len(hrefs(asks(page, path, export="", locale="en"), path)) == 6


def test_failed_variant(world: World, page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """X60: the page of a version tells of a build that failed until another ends well or is deleted."""
    world.fill()
    world.cut("v1")
    path = f"/exports{world.path}v1/"
    with monkeypatch.context() as patch:
        patch.setattr("exports.selectors.packages.stamp_of", lambda _: 1 / 0)
        assert submit(page, path, path, do="build", export="csv.zip").status_code == 302
        jobs.run_queued()
    assert "The last build failed: internal_error" in page.get(path).content.decode()
    assert "The last build failed" not in asks(page, path, export="csv.zip")


def act(client: Client, model: str, action: str, *keys: Any) -> str:
    answer = client.post(
        f"/admin/exports/{model}/", {"action": action, "_selected_action": [str(key) for key in keys]}, follow=True
    )
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.fixture
def admin(world: World) -> Client:
    world.staff.is_superuser = True
    world.staff.save()
    client = Client()
    client.force_login(world.staff)
    return client


def test_admin(world: World, admin: Client) -> None:
    """X59: admin actions work."""
    world.fill()
    version = world.cut("v1")
    for model in ("repo", "repoversion", "exportbuild", "exportstoken", "importjob", "organization"):
        assert admin.get(f"/admin/exports/{model}/").status_code == 200, model
    assert admin.get(f"/admin/exports/organization/{world.org.pk}/change/").status_code == 200
    assert admin.get("/admin/exports/repo/?owner_type=org&q=Src").status_code == 200
    act(admin, "repoversion", "release", version.pk)
    assert RepoVersion.objects.get(pk=version.pk).released
    act(admin, "repoversion", "export_now", version.pk)
    build = ExportBuild.objects.get()
    act(admin, "exportbuild", "cancel", build.pk)
    assert ExportBuild.objects.get().state == "cancelled"
    act(admin, "repoversion", "export_now", version.pk)
    jobs.run_queued()
    act(admin, "exportbuild", "rebuild", build.pk)
    jobs.run_queued()
    assert sorted(ExportBuild.objects.values_list("state", flat=True)) == ["cancelled", "ready", "replaced"]
    act(admin, "exportbuild", "delete_export", build.pk)
    assert world.api.get(f"{world.path}v1/export/").status_code == 204


def test_admin_token(world: World, admin: Client) -> None:
    """X59: token issue works; the secret is shown once."""
    answer = admin.post("/admin/exports/exportstoken/add/", {"user": world.outsider.pk, "label": "tool"}, follow=True)
    secret = re.search(r"[0-9a-f]{40}", answer.content.decode())
    assert secret is not None
    assert Api(secret[0]).get("/user/").json()["username"] == "outsider"
    assert secret[0] not in admin.get("/admin/exports/exportstoken/").content.decode()
    token = ApiToken.objects.get(label="tool")
    act(admin, "exportstoken", "revoke", token.pk)
    assert Api(secret[0]).get("/user/").status_code == 401


def test_admin_import(world: World, admin: Client) -> None:
    """X59: a failed import can be tried again."""
    report = run(world.api, b'[{"type": "Concept"')
    assert report["task"]["state"] == "FAILURE"
    made = ImportJob.objects.get()
    act(admin, "importjob", "retry", made.pk)
    assert ImportJob.objects.select_related("job").get().job.state == "queued"  # type: ignore[union-attr]
    jobs.run_queued()
    good = run(world.api, lines(concept("A1")))
    assert good["task"]["state"] == "SUCCESS"
    assert "Processed: 1 of 1" in admin.get("/admin/exports/importjob/").content.decode()


def upload(client: Client, data: bytes, *, name: str = "rows.json", **more: str) -> Any:
    sent = {"file": SimpleUploadedFile(name, data), "owner": "", "update_if_exists": "on", **more}
    return client.post("/admin/exports/importjob/add/", sent)


@pytest.mark.parametrize(
    ("data", "owner", "field", "told"),
    [
        (b"", "", "file", "The submitted file is empty."),
        (b"{}", "everybody", "owner", "Expected orgs/&lt;id&gt; or users/&lt;name&gt;."),
        (b"x" * 2000, "", "file", "At most 1000"),
    ],
)
def test_admin_upload_faults(
    world: World, admin: Client, settings: Settings, data: bytes, owner: str, field: str, told: str
) -> None:
    """X59: a fault of the upload form is at its field, what was typed is kept, nothing is stored."""
    settings.EXPORTS_IMPORT_MAX_BYTES = 1000
    answer = upload(admin, data, owner=owner)
    assert list(answer.context["adminform"].form.errors) == [field]
    page = answer.content.decode().replace("\xa0", " ")
    assert told in page
    assert f'name="owner" value="{owner}"' in page or not owner
    assert not ImportJob.objects.exists()


def test_admin_upload(world: World, admin: Client) -> None:
    """X59: a file uploaded in the admin is brought in; its page follows it, names what was not taken, and leads on."""
    source = {"type": "Source", "id": "Up", "owner": world.org.mnemonic, "owner_type": "Organization", "name": "Up"}
    answer = upload(admin, lines(source, {"type": "Nosuch", "id": "<b>"}))
    made = ImportJob.objects.get()
    page = f"/admin/exports/importjob/{made.pk}/change/"
    assert (answer.status_code, answer["Location"]) == (302, page)
    assert (made.user, made.options) == (world.staff, {"update_if_exists": True, "atomic": False})
    shown = admin.get(page)
    assert shown["Refresh"] == "3"
    assert "this page looks again by itself" in shown.content.decode()
    jobs.run_queued()
    shown = admin.get(page)
    assert "Refresh" not in shown
    text = shown.content.decode()
    assert "Processed: 1 of 2" in text
    assert "line 2: Nosuch" in text
    uri = f"/orgs/{world.org.mnemonic}/sources/Up/"
    assert f'<a href="/exports{uri}">{uri}</a>' in text
    assert admin.get(f"/exports{uri}").status_code == 200
    report = admin.get(f"/admin/exports/importjob/{made.pk}/report/").getvalue()
    assert json.loads(report)["created"][0]["url"] == uri
    for client, status in ((Client(), 302), (admin, 404)):
        assert client.get(f"/admin/exports/importjob/{uuid.uuid4()}/report/").status_code == status


def test_admin_upload_has_one_button(world: World, admin: Client) -> None:
    """X59: the form offers nothing that it does not do."""
    page = admin.get("/admin/exports/importjob/add/").content.decode()
    assert re.findall(r'<input type="submit"[^>]* name="(\w+)"', page) == ["_save"]


@pytest.mark.parametrize(
    ("fields", "name", "told"),
    [
        ({"export": "delta", "since": "nonsense"}, "since", "neither a version of this repository nor a timestamp"),
        ({"export": "", "locale": "aa,bb,cc,dd,ee,ff,gg,hh,ii,jj,kk"}, "locale", "At most 10 locales"),
    ],
)
def test_faults_of_a_version_are_at_their_fields(
    world: World, page: Client, fields: dict[str, str], name: str, told: str
) -> None:
    """X60: what a build cannot be asked for is said at its field, the summary leads there, input is kept."""
    world.fill()
    world.cut("v1")
    path = f"/exports{world.path}v1/"
    answer = submit(page, path, path, do="build", **fields)
    assert answer.status_code == 400
    text = answer.content.decode()
    assert f'<a href="#{name}">' in text
    field = re.search(rf'<div class="field wrong"><label for="{name}">.*?</div>', text, re.DOTALL)
    assert field is not None
    assert f'value="{fields[name]}"' in field[0]
    assert f'aria-describedby="{name}-help fault" aria-invalid="true"' in field[0]
    fault = re.search(r'<p class="error" id="fault">([^<]+)</p>', field[0])
    assert fault is not None
    assert told in fault[1]


def test_admin_upload_of_a_picture(world: World, admin: Client) -> None:
    """X59: a file of a wrong kind is told on the page of its import."""
    upload(admin, b"\x89PNG\r\n\x1a\n" + bytes(100), name="picture.png")
    jobs.run_queued()
    made = ImportJob.objects.select_related("job").get()
    assert made.job is not None
    assert made.job.state == "failed"
    assert made.job.error_message
    page = admin.get(f"/admin/exports/importjob/{made.pk}/change/").content.decode()
    assert html.escape(made.job.error_message) in page


def test_admin_upload_needs_its_permission(world: World) -> None:
    """X59: whoever may not add imports gets no form, no report and no import."""
    client = Client()
    client.force_login(world.staff)
    assert client.get("/admin/exports/importjob/add/").status_code == 403
    assert upload(client, b"{}").status_code == 403
    made = ImportJob.objects.create(key="x")
    assert client.get(f"/admin/exports/importjob/{made.pk}/report/").status_code == 404


def test_keep_days(world: World, settings: Settings) -> None:
    """X45: archives end after EXPORTS_KEEP_DAYS, and only then."""
    from exports.jobs import upkeep

    world.fill()
    world.cut("v1")
    world.build(f"{world.path}v1/")
    assert upkeep.expire_archives() == 0
    settings.EXPORTS_KEEP_DAYS = 1
    ExportBuild.objects.update(finished_at=timezone.now() - timedelta(days=2))
    assert upkeep.expire_archives() == 1
    assert world.api.get(f"{world.path}v1/export/").status_code == 204
    assert world.api.post(f"{world.path}v1/export/").status_code == 202
    assert body(world.api.get(f"{world.path}v1/export/")) == b""
