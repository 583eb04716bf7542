"""The page that takes an archive: a file or a URL, a dry run if wished; a job does the work."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from downloads import services
from downloads.jobs import ingest


class UploadForm(forms.Form):
    """Either a file or a URL, and the options of `ingest_dwca`."""

    file = forms.FileField(required=False, help_text="zip, tar.gz, or a Darwin Core CSV or TSV file")
    url = forms.URLField(required=False, assume_scheme="https", label="or URL")
    recordset = forms.UUIDField(required=False, help_text="else what the archive says of itself")
    name = forms.CharField(required=False, max_length=500)
    dry_run = forms.BooleanField(required=False)
    keep_missing = forms.BooleanField(required=False, help_text="keep rows the archive no longer has")
    allow_mass_delete = forms.BooleanField(required=False, help_text="let over half of the rows vanish")
    trust_index = forms.BooleanField(required=False, help_text="keep a download archive's own index terms")

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or {}
        if values.get("file") and values.get("url"):
            raise forms.ValidationError("Give a file or a URL, not both.")
        if not (values.get("file") or values.get("url") or {"file", "url"} & set(self.errors)):
            raise forms.ValidationError("Give a file or a URL.")
        return values

    def options(self) -> ingest.Options:
        names = ("name", "dry_run", "keep_missing", "allow_mass_delete", "trust_index")
        recordset: uuid.UUID | None = self.cleaned_data["recordset"]
        return ingest.Options(recordset=recordset, **{name: self.cleaned_data[name] for name in names})


def page(view: admin.ModelAdmin[Any], request: HttpRequest) -> HttpResponse:
    """Show the form; on a good one start the job and lead to its run."""
    is_sent = request.method == "POST"
    form = UploadForm(request.POST, request.FILES) if is_sent else UploadForm()
    if is_sent and form.is_valid():
        user: Any = request.user
        file = form.cleaned_data["file"]
        run = services.upload_archive(
            file or form.cleaned_data["url"], form.options(), name=file.name if file else "", user=user
        )
        view.log_addition(request, run, "upload")
        view.message_user(
            request,
            "The archive is being read; this page shows how far it is, and looks again by itself until it is done.",
        )
        return HttpResponseRedirect(reverse("admin:downloads_ingestrun_change", args=[run.pk]))
    context = {**view.admin_site.each_context(request), "form": form, "title": "Upload archive", "opts": view.opts}
    return TemplateResponse(request, "downloads/admin/upload.html", context)
