"""The registry's pages: server-rendered, no JavaScript needed, no state change on GET (contract 7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db.models import F, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from core import errors, net, throttle
from core import views as core_views
from core.models import User
from registry import forms, selectors, serializers
from registry.formats import report
from registry.jobs import ckan
from registry.jobs import edit as edits
from registry.jobs import preview as previews
from registry.jobs import undo as undoing
from registry.models import Harvest, HarvestRun, HarvestType
from registry.services import accounts, harvests

PAGE_ROWS: Final = 50
RUN_ROWS: Final = 50
"""Issues and changes that the page of a run shows; the reports have all."""
SORTS: Final = {
    "name": ("name",),
    "organization": ("organization__name", "name"),
    "type": ("harvest_type", "name"),
    "records": (F("last_record_count").desc(nulls_last=True), "name"),
    "bad": (F("last_bad_count").desc(nulls_last=True), "name"),
    "last": (F("last_finished").desc(nulls_last=True), "name"),
}
REFRESH_SECONDS: Final = 3
CKAN_REFRESH_SECONDS: Final = 30

View = Callable[..., HttpResponseBase]


def facts_as_pages(view: View) -> View:
    """Say a fact the way a page does: 404, 403, or a message on the page it came from."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except errors.NotFound as fact:
            raise Http404 from fact
        except errors.Denied as fact:
            raise PermissionDenied from fact

    return shown


def access_of(request: HttpRequest) -> selectors.Access:
    """The rights of the person behind the session."""
    user = request.user
    return selectors.access_of(user if isinstance(user, User) else None)


def manageable(request: HttpRequest, uid: str) -> tuple[Harvest, selectors.Access]:
    """A source the person may change, else 404 or 403."""
    user = request.user
    if not isinstance(user, User):
        raise errors.Denied(code="denied")
    return harvests.manageable(uid, user=user)


def manageable_run(request: HttpRequest, number: str) -> HarvestRun:
    """A run of a source the person may change, else 404 or 403."""
    user = request.user
    if not isinstance(user, User):
        raise errors.Denied(code="denied")
    return harvests.manageable_run(int(number), user=user)


def paged(request: HttpRequest, rows: QuerySet[Any]) -> Page[Any]:
    """The page asked for; nonsense gives the nearest one."""
    return Paginator(rows, PAGE_ROWS).get_page(request.GET.get("page"))


def _query(request: HttpRequest) -> str:
    """The query without the page, for links between pages."""
    kept = {name: str(value) for name, value in request.GET.items() if name != "page" and "\0" not in str(value)}
    return urlencode(kept)


def _word(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "")[:200]


# --- sources ----------------------------------------------------------------------------------------------------


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Purpose, totals by organisation, API help."""
    context = {"totals": selectors.totals(), "base_url": core_views.base_url(request)}
    return render(request, "registry/home.html", context)


@require_safe
def sources(request: HttpRequest) -> HttpResponse:
    """The list with search, filter and sort."""
    access = access_of(request)
    found = selectors.find_harvests(
        access,
        organization=_word(request, "organization"),
        type=_word(request, "type"),
        status=_word(request, "status"),
        q=_word(request, "q"),
    )
    sort = request.GET.get("sort", "name")
    rows = paged(request, found.order_by(*SORTS.get(sort, SORTS["name"]), "id"))
    context = {
        "rows": rows,
        "query": _query(request),
        "asked": {name: _word(request, name) for name in ("q", "organization", "type", "status")},
        "sorts": list(SORTS),
        "sort": sort,
        "types": HarvestType.values,
        "statuses": selectors.STATUSES,
        "organizations": selectors.organization_names(),
        "may_add": access.is_admin or bool(access.organizations),
    }
    return render(request, "registry/sources.html", context)


@require_safe
@facts_as_pages
def source(request: HttpRequest, uid: str) -> HttpResponse:
    """Settings, good and bad, last runs, what can be done."""
    access = access_of(request)
    harvest = selectors.visible_harvest(uid, access)
    runs = list(selectors.runs_of(harvest)[:10])
    subscription = selectors.subscription(harvest, access.user)
    context = {
        "harvest": harvest,
        "element": serializers.harvest_element(harvest, with_contact=True),
        "runs": runs,
        "active": next((run for run in runs if run.state in HarvestRun.ACTIVE), None),
        "history": list(reversed([run for run in runs if run.state == HarvestRun.State.OK])),
        "may_manage": access.may_manage(harvest),
        "subscription": forms.SubscriptionForm(initial={"event": subscription}) if access.user else None,
    }
    return render(request, "registry/source.html", context)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@facts_as_pages
def add(request: HttpRequest) -> HttpResponse:
    """A new source of one's own organisation."""
    access = access_of(request)
    if not (access.is_admin or access.organizations):
        raise errors.Denied(code="denied")
    initial = {"harvest_contact": access.user.email if access.user else "", "url": _word(request, "url")}
    if request.GET.get("harvest_type") in HarvestType.values:
        initial["harvest_type"] = request.GET["harvest_type"]
    form = forms.SourceForm(request.POST or None, access=access, initial=initial)
    if request.method == "POST" and form.is_valid():
        made = harvests.add(form.save(commit=False), access=access)
        messages.success(request, "The source was added.")
        return redirect("registry-source", made.uid)
    return render(request, "registry/source_form.html", {"form": form, "title": "Add a source"})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@facts_as_pages
def edit(request: HttpRequest, uid: str) -> HttpResponse:
    """Change a source."""
    harvest, access = manageable(request, uid)
    form = forms.SourceForm(request.POST or None, instance=harvest, access=access)
    if request.method == "POST" and form.is_valid():
        edits.save(selectors.harvest(uid), form.cleaned_data, access=access)
        messages.success(request, "The changes were saved.")
        return redirect("registry-source", uid)
    return render(request, "registry/source_form.html", {"form": form, "title": "Edit the source", "uid": uid})


@login_required
@require_safe
@facts_as_pages
def preview(request: HttpRequest) -> HttpResponse:
    """What an address yields; nothing is stored."""
    access = access_of(request)
    if not (access.is_admin or access.organizations):
        raise errors.Denied(code="denied")
    form = forms.PreviewForm(request.GET if "url" in request.GET else None)
    seen = source = None
    if form.is_bound and form.is_valid():
        if throttle.hit("registry.preview", str(request.user.pk), 20, 600):
            messages.error(request, "That were many previews. Try again in some minutes.")
        else:
            asked = form.cleaned_data
            source = previews.source_at(asked["url"], harvest_type=asked["harvest_type"], access=access)
            seen = previews.look(source)
    return render(request, "registry/preview.html", {"form": form, "seen": seen, "source": source})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@facts_as_pages
def harvest_now(request: HttpRequest, uid: str) -> HttpResponse:
    """Queue a run; an unpublished source is asked about first."""
    harvest, access = manageable(request, uid)
    if request.method != "POST" or (not harvest.publish and "sure" not in request.POST):
        return render(request, "registry/harvest_now.html", {"harvest": harvest})
    try:
        run = harvests.run_now(harvest, user=access.user, via=HarvestRun.Trigger.PAGE)
    except errors.Conflict as fact:
        messages.error(request, fact.message)
        return redirect("registry-source", uid)
    return redirect("registry-run", run.pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@facts_as_pages
def delete(request: HttpRequest, uid: str) -> HttpResponse:
    """Delete a source, after a confirmation."""
    harvest, access = manageable(request, uid)
    if request.method != "POST":
        return render(request, "registry/delete.html", {"harvest": harvest})
    harvests.delete(harvest, user=access.user)
    messages.success(request, "The source is being deleted.")
    return redirect("registry-sources")


@login_required
@require_POST
@facts_as_pages
def accept_shrink(request: HttpRequest, uid: str) -> HttpResponse:
    """Waive the guards once and run again."""
    harvest, access = manageable(request, uid)
    try:
        run = harvests.accept_shrink(harvest, user=access.user, via=HarvestRun.Trigger.PAGE)
    except errors.Conflict as fact:
        messages.error(request, fact.message)
        return redirect("registry-source", uid)
    return redirect("registry-run", run.pk)


@login_required
@require_POST
@facts_as_pages
def subscribe(request: HttpRequest, uid: str) -> HttpResponse:
    """Change when a person is told of a source's runs."""
    access = access_of(request)
    harvest = selectors.visible_harvest(uid, access)
    form = forms.SubscriptionForm(request.POST)
    if access.user is not None and form.is_valid():
        accounts.unsubscribe(access.user, harvest)
        if form.cleaned_data["event"]:
            accounts.subscribe(access.user, harvest, event=form.cleaned_data["event"])
        messages.success(request, "Noted.")
    return redirect("registry-source", uid)


# --- records and runs -------------------------------------------------------------------------------------------


@require_safe
@facts_as_pages
def records(request: HttpRequest, uid: str) -> HttpResponse:
    """The records of a source; bad or stale ones on request."""
    harvest = selectors.visible_harvest(uid, access_of(request))
    only = request.GET.get("only", "")
    found = selectors.find_records(
        harvest,
        valid=False if only == "bad" else None,
        stale=True if only == "stale" else None,
        q=_word(request, "q"),
    )
    context = {
        "harvest": harvest,
        "rows": paged(request, found.order_by("title", "id")),
        "query": _query(request),
        "only": only,
        "q": _word(request, "q"),
    }
    return render(request, "registry/records.html", context)


@require_safe
@facts_as_pages
def record(request: HttpRequest, number: str) -> HttpResponse:
    """One record: what it says, what is wrong with it."""
    found = selectors.record(int(number), access_of(request))
    item = serializers.record_item(found, base_url="")
    context = {
        "record": found,
        "item": item,
        "web_url": found.url if _is_web(found.url) else "",
        "services": [{**service, "is_web": _is_web(service["url"])} for service in found.services],
        "links": [{**link, "is_web": _is_web(link["url"])} for link in found.links],
    }
    return render(request, "registry/record.html", context)


def _is_web(url: str) -> bool:
    """Only http and https become links (contract 8, output)."""
    return url.lower().startswith(("http://", "https://"))


@require_safe
@facts_as_pages
def runs(request: HttpRequest, uid: str) -> HttpResponse:
    """The history of a source."""
    harvest = selectors.visible_harvest(uid, access_of(request))
    rows = paged(request, selectors.runs_of(harvest))
    return render(request, "registry/runs.html", {"harvest": harvest, "rows": rows, "query": _query(request)})


@require_safe
@facts_as_pages
def run(request: HttpRequest, number: str) -> HttpResponse:
    """One run, with live progress by refreshing itself."""
    access = access_of(request)
    found = selectors.run(int(number), access)
    is_active = found.state in HarvestRun.ACTIVE
    context = {
        "run": found,
        "item": serializers.run_item(found),
        "refresh": REFRESH_SECONDS if is_active else 0,
        # one more than is shown tells that there are more
        "changes": list(found.changes.order_by("id")[: RUN_ROWS + 1]),
        "issues": list(found.issues.order_by("severity", "id")[: RUN_ROWS + 1]),
        "most": RUN_ROWS,
        "may_manage": access.may_manage(found.harvest),
        "has_ckan_job": access.may_manage(found.harvest) and bool(ckan.job_of(found)),
        "may_undo": access.may_manage(found.harvest) and undoing.may_undo(found),
        "may_accept": found.failure_code in ("shrink_guard", "empty_listing") and access.may_manage(found.harvest),
    }
    return render(request, "registry/run.html", context)


@login_required
@require_safe
@facts_as_pages
def ckan_job(request: HttpRequest, number: str) -> HttpResponse:
    """How far CKAN is with what a run asked of it."""
    found = manageable_run(request, number)
    if throttle.hit("registry.ckan", str(request.user.pk), 30, 600):
        status = ckan.JobStatus(problem="That were many questions. Try again in some minutes.")
    else:
        status = ckan.status(found)
    refresh = CKAN_REFRESH_SECONDS if status.state and not status.finished else 0
    return render(request, "registry/ckan_job.html", {"run": found, "status": status, "refresh": refresh})


@require_safe
@facts_as_pages
def removed(request: HttpRequest, uid: str) -> HttpResponse:
    """The documents a source no longer has."""
    harvest = selectors.visible_harvest(uid, access_of(request))
    rows = paged(request, selectors.removed_documents(harvest))
    return render(request, "registry/removed.html", {"harvest": harvest, "rows": rows, "query": _query(request)})


@require_safe
@facts_as_pages
def report_file(request: HttpRequest, number: str, kind: str) -> HttpResponseBase:
    """A run's report or changes as a file; the API's reports know tokens only, these know who is logged in."""
    found = selectors.run(int(number), access_of(request))
    if kind == "changes.csv":
        blocks = report.csv_blocks(selectors.CHANGE_COLUMNS, selectors.change_rows(found))
    elif kind == "report.csv":
        blocks = report.csv_blocks(report.COLUMNS, selectors.report_rows(found))
    else:
        blocks = report.json_blocks(report.COLUMNS, selectors.report_rows(found))
    content_type = "application/json" if kind.endswith("json") else "text/csv; charset=utf-8"
    response = StreamingHttpResponse(blocks, content_type=content_type)
    response["Content-Disposition"] = f'attachment; filename="run-{found.pk}-{kind}"'
    return response


@login_required
@require_POST
@facts_as_pages
def cancel(request: HttpRequest, number: str) -> HttpResponse:
    """Stop an active run."""
    return _settled(request, number, harvests.cancel, done="The run is being cancelled.")


@login_required
@require_POST
@facts_as_pages
def undo(request: HttpRequest, number: str) -> HttpResponse:
    """Undo a source's last swap."""
    done = "The records from before this run are back, and the source is paused."
    return _settled(request, number, harvests.undo, done=done)


def _settled(request: HttpRequest, number: str, act: Callable[[HarvestRun], None], *, done: str) -> HttpResponse:
    """Do something with a run and say so, or why not, on its page."""
    found = manageable_run(request, number)
    try:
        act(found)
        messages.success(request, done)
    except errors.Conflict as fact:
        messages.error(request, fact.message)
    return redirect("registry-run", found.pk)


# --- people -----------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
def register(request: HttpRequest) -> HttpResponse:
    """A new account; whether the address was known is told only by mail."""
    form = forms.RegisterForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        caller = net.throttle_key(net.caller_address(request))
        if throttle.hit("registry.register", caller, 20, 3600):
            form.add_error(None, "Too many registrations. Try again in an hour.")
        else:
            accounts.register(form.value())
            return render(request, "registry/registered.html")
    return render(request, "registry/register.html", {"form": form})


@require_http_methods(["GET", "HEAD", "POST"])
def verify(request: HttpRequest) -> HttpResponse:
    """The link of the mail leads to a button, so that a mail scanner's GET proves nothing."""
    key = request.POST.get("key") or request.GET.get("key", "")
    if request.method != "POST":
        return render(request, "registry/verify.html", {"key": key})
    try:
        accounts.verify(key)
    except errors.Invalid as fact:
        return render(request, "registry/verify.html", {"problem": fact.message}, status=400)
    return render(request, "registry/verify.html", {"is_done": True})


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def account(request: HttpRequest) -> HttpResponse:
    """One's own data and tokens; the password page asks for the current one."""
    user = request.user
    if not isinstance(user, User):
        raise PermissionDenied
    profile = selectors.account(user)
    form = forms.AccountForm(request.POST or None, instance=profile)
    if profile is not None and request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Your account was changed.")
        return redirect("registry-account")
    context = {"form": form, "profile": profile, "tokens": selectors.tokens(user)}
    return render(request, "registry/account.html", context)


@login_required
@require_POST
def revoke(request: HttpRequest, number: str) -> HttpResponse:
    """Revoke one of one's own tokens."""
    if isinstance(request.user, User):
        accounts.revoke_token(request.user, int(number))
        messages.success(request, "The token was revoked.")
    return redirect("registry-account")


def no_such_page(request: HttpRequest) -> HttpResponse:
    """Whatever else is asked for below /registry/."""
    return render(request, "core/not_found.html", {"frame": "registry/page.html"}, status=404)
