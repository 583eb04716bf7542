"""Forms of the admin."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.template.defaultfilters import filesizeformat

from exports.formats import addresses
from exports.models import ImportJob


class ImportForm(forms.ModelForm[ImportJob]):
    """A file to bring in, with the options of the import's API."""

    file = forms.FileField(
        help_text="JSON lines, a JSON array or an export archive (zip, tgz, tar); told apart by content"
    )
    owner = forms.CharField(
        required=False,
        max_length=300,
        label="New owner",
        help_text="orgs/MyOrg or users/me, to bring an archive in there; empty: as the file says",
    )
    update_if_exists = forms.BooleanField(required=False, initial=True, label="update what exists")
    atomic = forms.BooleanField(required=False, label="all or nothing")

    class Meta:
        model = ImportJob
        fields: ClassVar[list[str]] = []

    def clean_file(self) -> Any:
        """Not larger than the API takes."""
        file = self.cleaned_data["file"]
        if file.size > settings.EXPORTS_IMPORT_MAX_BYTES:
            raise ValidationError(f"At most {filesizeformat(settings.EXPORTS_IMPORT_MAX_BYTES)} can be imported.")
        return file

    def clean_owner(self) -> str:
        """A path of an owner, with or without slashes around it."""
        owner: str = self.cleaned_data["owner"].strip("/")
        if owner and not addresses.is_owner(owner):
            raise ValidationError("Expected orgs/<id> or users/<name>.")
        return owner

    def options(self) -> dict[str, Any]:
        """As the import wants them."""
        data = self.cleaned_data
        options: dict[str, Any] = {name: data[name] for name in ("update_if_exists", "atomic")}
        return {**options, "owner": data["owner"]} if data["owner"] else options
