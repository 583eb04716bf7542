"""Forms of the admin."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from django import forms
from django.forms.fields import InvalidJSONInput

from core import errors
from nnels import models
from nnels.formats import dates, isbn, languages, metadata, recognise
from nnels.services import files

_SUMMARY = "accessibilitySummary"
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


class LinesField(forms.CharField):
    """A list of texts, one per line."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 60})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        lines = [line for line in map(metadata.clean, (value or "").splitlines()) if line]
        if len(lines) > metadata.LIST_LENGTH:
            raise forms.ValidationError(f"At most {metadata.LIST_LENGTH} lines can be kept, not {len(lines)}.")
        for line in lines:
            if len(line) > metadata.VALUE_LENGTH:
                told = f"“{line[:30]}…” has {len(line)} characters; {metadata.VALUE_LENGTH} can be kept."
                raise forms.ValidationError(told)
        return metadata.unique(lines)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(initial or "") != self.to_python(data))


class TypedJSONField(forms.JSONField):
    """JSON that is shown again the way it was typed: a lone surrogate behind an escape could not be written out."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return InvalidJSONInput(data or "")


class ItemForm(forms.ModelForm[models.Item]):
    """A title; lists are one value per line."""

    creators = LinesField(required=False, help_text="one per line")
    languages = LinesField(required=False, help_text="ISO 639-2, 639-1 or BCP 47 codes, one per line")
    isbn = LinesField(required=False, label="ISBN", help_text="one per line")
    subjects = LinesField(required=False, help_text="one per line")
    narrators = LinesField(required=False, help_text="one per line")
    accessibility = TypedJSONField(
        required=False,
        help_text='words of schema.org, such as {"accessMode": ["textual"], "accessibilitySummary": "…"}',
    )

    class Meta:
        model = models.Item
        fields: ClassVar[list[str]] = [
            "uuid", "label", "creators", "languages", "isbn", "published_date", "subjects", "description", "publisher",
            "publisher_place", "narrators", "narration", "duration", "series", "edition", "audience", "rights",
            "accessibility", "published",
        ]  # fmt: skip
        help_texts: ClassVar[dict[str, str]] = {
            "published_date": "YYYY, YYYY-MM or YYYY-MM-DD",
        }

    def clean_isbn(self) -> list[str]:
        """Thirteen digits each."""
        found = []
        for text in self.cleaned_data["isbn"]:
            number = isbn.to_13(text)
            if number is None:
                raise forms.ValidationError(f"{text} is no ISBN.")
            found.append(number)
        return found

    def clean_languages(self) -> list[str]:
        """ISO 639-2/T codes; English when none is given."""
        found = []
        for text in self.cleaned_data["languages"]:
            code = languages.to_t(text)
            if code is None:
                raise forms.ValidationError(f"{text} is no language code.")
            found.append(code)
        return found or ["eng"]

    def clean_published_date(self) -> str | None:
        """YYYY, YYYY-MM or YYYY-MM-DD."""
        text = self.cleaned_data["published_date"]
        if text and dates.period(text) is None:
            raise forms.ValidationError("A date is YYYY, YYYY-MM or YYYY-MM-DD.")
        return text or None

    def clean_accessibility(self) -> dict[str, Any]:
        """Lists of texts under the names of schema.org, and a summary."""
        said = self.cleaned_data["accessibility"] or {}
        if not isinstance(said, dict):
            raise forms.ValidationError("An object is expected.")
        for name, value in said.items():
            if name != _SUMMARY and name not in metadata.ACCESSIBILITY_LISTS:
                known = ", ".join((*metadata.ACCESSIBILITY_LISTS, _SUMMARY))
                raise forms.ValidationError(f"{name} is not known; there are {known}.")
            if name == _SUMMARY and not isinstance(value, str):
                raise forms.ValidationError(f"{name} is a text.")
            if name != _SUMMARY and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
                raise forms.ValidationError(f"{name} is a list of texts.")
            if _UNSTORABLE.search("".join(value)):
                raise forms.ValidationError(f"{name} holds characters that cannot be stored.")
        return said


class FileForm(forms.ModelForm[models.File]):
    """A place (format, part) and, for a new content, an upload."""

    upload = forms.FileField(required=False)

    class Meta:
        model = models.File
        fields: ClassVar[list[str]] = ["format", "part"]

    def clean(self) -> dict[str, Any]:
        """The content must be of the format it is filed under."""
        cleaned = super().clean() or self.cleaned_data
        upload = cleaned.get("upload")
        if upload is None:
            if not self.instance.pk and "upload" not in self.errors:
                self.add_error("upload", "A file is required.")
            return cleaned
        try:
            found = recognise.file(upload.file, name=upload.name)
        except metadata.Rejected as refusal:
            raise forms.ValidationError(f"{upload.name}: {refusal.message}") from None
        if found.format != cleaned.get("format"):
            raise forms.ValidationError(f"{upload.name} is {found.format}, not {cleaned.get('format')}.")
        return cleaned


class ImportForm(forms.ModelForm[models.ImportRun]):
    """A folder below the import root."""

    folder = forms.CharField(max_length=1000, help_text="relative to NNELS_IMPORT_ROOT")
    rights = forms.ChoiceField(required=False, choices=[("", "as the files say"), *models.Rights.choices])
    is_published = forms.BooleanField(required=False, initial=True, label="publish new titles")

    class Meta:
        model = models.ImportRun
        fields: ClassVar[list[str]] = ["folder"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            files.import_root()
        except errors.Invalid as fact:
            self.fields["folder"].help_text = f"{fact.message} Until it is, nothing can be imported here."

    def clean_folder(self) -> str:
        """A folder that is there."""
        folder = str(self.cleaned_data["folder"])
        try:
            files.import_folder(folder)
        except errors.Invalid as fact:
            raise forms.ValidationError(fact.message) from None
        return folder
