"""The pages that take a file or an address: imports, checks, documents of a harvest, and what became of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse

from core import blobs, errors
from core import jobs as core_jobs
from core.models import User
from registry import forms as own_forms
from registry import selectors
from registry.jobs import bring_in
from registry.models import Harvest, HarvestType
from registry.services import imports

REFRESH_SECONDS = 2
TITLES = {"organizations": "Import organisations", "harvests": "Import harvests", "users": "Import people"}


class ImportForm(forms.Form):
    """A file and the flags of the import commands."""

    file = forms.FileField(help_text="CSV, JSON or MongoDB extended-JSON lines, at most 50 MiB")
    dry_run = forms.BooleanField(required=False, help_text="say what would happen, write nothing")
    strict = forms.BooleanField(required=False, help_text="apply nothing if any row is rejected")
    create_organizations = forms.BooleanField(required=False, help_text="make the organisations that are missing")

    def options(self) -> bring_in.Options:
        names = ("dry_run", "strict", "create_organizations")
        return bring_in.Options(**{name: self.cleaned_data[name] for name in names})


class CheckForm(forms.Form):
    """Either a file or the address of a source."""

    file = forms.FileField(required=False, help_text="one XML document, or a zip of them")
    url = forms.CharField(required=False, max_length=2000, widget=forms.URLInput, label="or address of a source")
    harvest_type = forms.ChoiceField(
        required=False,
        choices=[("", "as stored, WAF for a new one"), *HarvestType.choices],
        label="Type of the source",
    )

    def clean_url(self) -> str:
        text: str = self.cleaned_data["url"].strip()
        return own_forms.checked_url(text) if text else ""

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if bool(values.get("file")) == bool(values.get("url")) and "url" not in self.errors:
            raise ValidationError("Give a file or an address.")
        return values


class DocumentsForm(forms.Form):
    """A zip of ISO records."""

    file = forms.FileField(help_text="a zip of ISO XML; its records replace those of the harvest")


def person(request: HttpRequest) -> User | None:
    """Who acts."""
    return request.user if isinstance(request.user, User) else None


def import_page(view: admin.ModelAdmin[Any], request: HttpRequest, what: str) -> HttpResponse:
    """Take a file of organisations, harvests or people; a job brings it in."""
    form = ImportForm(*_sent(request))
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            job = imports.bring_in_file(what, file, name=file.name, options=form.options(), user=person(request))
        except errors.TooLarge as fact:
            form.add_error("file", fact.message)
        else:
            return _to_errand(job.pk)
    return _form(view, request, form, TITLES[what])


def check_page(view: admin.ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """Take documents or an address; a job lists and validates, and stores nothing but its report."""
    form = CheckForm(*_sent(request))
    if form.is_valid():
        file, kind = form.cleaned_data["file"], form.cleaned_data["harvest_type"]
        place = file or form.cleaned_data["url"]
        name = file.name if file else ""
        job = imports.check(place, name=name, harvest_type=kind, user=person(request))
        return _to_errand(job.pk)
    return _form(view, request, form, "Check documents or a source")


def documents_page(view: admin.ModelAdmin[Any], request: HttpRequest, pk: int) -> HttpResponse:
    """Take a zip of documents for a harvest; a run makes them its records."""
    harvest = Harvest.objects.filter(pk=pk).first()
    if harvest is None:
        raise Http404
    form = DocumentsForm(*_sent(request))
    if form.is_valid():
        with tempfile.NamedTemporaryFile(suffix=".zip") as local:
            for block in form.cleaned_data["file"].chunks():
                local.write(block)
            local.flush()
            try:
                run = imports.documents(Path(local.name), harvest, user=person(request))
            except errors.Fact as fact:
                form.add_error("file", fact.message)
            else:
                return HttpResponseRedirect(reverse("admin:registry_harvestrun_change", args=[run.pk]))
    return _form(view, request, form, f"Import documents of {harvest}")


def errand_page(view: admin.ModelAdmin[Any], request: HttpRequest, number: UUID) -> HttpResponse:
    """How far an import or check is, and what became of it."""
    try:
        job = selectors.errand(number)
    except errors.NotFound as fact:
        raise Http404 from fact
    context = {
        "job": job,
        "refresh": REFRESH_SECONDS if job.state in core_jobs.ACTIVE else 0,
        "what": TITLES.get(job.params.get("what", ""), "Check"),
        "place": job.params.get("name") or job.params.get("url"),
    }
    return _page(view, request, "registry/admin/errand.html", "Report", **context)


def report_file(number: UUID) -> HttpResponseBase:
    """The whole report as CSV."""
    try:
        reader = blobs.reader(selectors.errand(number).result["report"])
    except (errors.NotFound, KeyError) as fact:
        raise Http404 from fact
    response = StreamingHttpResponse(reader, content_type="text/csv")
    response["Content-Disposition"] = f'attachment; filename="report-{number}.csv"'
    return response


def _sent(request: HttpRequest) -> tuple[Any, ...]:
    return (request.POST, request.FILES) if request.method == "POST" else ()


def _to_errand(number: UUID) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:registry_errand", args=[number]))


def _form(view: admin.ModelAdmin[Any], request: HttpRequest, form: forms.Form, title: str) -> HttpResponse:
    return _page(view, request, "registry/admin/errand_form.html", title, form=form, last=selectors.last_errands())


def _page(
    view: admin.ModelAdmin[Any], request: HttpRequest, template: str, title: str, **context: Any
) -> TemplateResponse:
    shared = view.admin_site.each_context(request)
    return TemplateResponse(request, template, {**shared, "opts": view.opts, "title": title, **context})
