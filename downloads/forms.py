"""The form of `/downloads/` (contract §7): its fields, and the query they spell."""

import json
import re
from collections.abc import Iterable
from typing import Any

from django import forms

from core import errors
from downloads import models
from downloads.selectors import jsontext, request

_TEXTS = {"scientificname": "name", "genus": "genus", "family": "family", "country": "country"}
_PARAMETERS = {
    "record_fields": "fields_",
    "mediarecord_fields": "media_fields",
    **{name: name for name in ("mq", "core_type", "core_source", "email", "form")},
}
_TERMS = {
    **{term: (name,) for term, name in _TEXTS.items()},
    "recordset": ("recordset",),
    "hasImage": ("has_image",),
    "datecollected": ("date_to", "date_from"),
    "geopoint": ("north",),
}
_FORMS = {
    "dwca-csv": "Darwin Core Archive (CSV)",
    "dwca-tsv": "Darwin Core Archive (tab-separated)",
    "csv": "CSV, records only",
    "tsv": "tab-separated, records only",
    "parquet": "Parquet, records only",
    "geojson": "GeoJSON, records with a point",
}
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")


def _degrees(label: str, most: int) -> forms.FloatField:
    return forms.FloatField(label=label, required=False, min_value=-most, max_value=most)


def _same(words: Iterable[str]) -> list[tuple[str, str]]:
    return [(word, word) for word in words]


class Order(forms.Form):
    """What to look for, what to get, and whom to tell."""

    name = forms.CharField(label="Scientific name", required=False, max_length=500)
    genus = forms.CharField(required=False, max_length=200)
    family = forms.CharField(required=False, max_length=200)
    country = forms.CharField(required=False, max_length=200)
    recordset = forms.ModelChoiceField(
        models.Recordset.objects.none(), label="Recordset", required=False, empty_label="any"
    )
    has_image = forms.BooleanField(label="Only records with an image", required=False)
    date_from = forms.CharField(
        label="Collected from", required=False, max_length=40, help_text="A year, a month (1987-08) or a day."
    )
    date_to = forms.CharField(label="Collected until", required=False, max_length=40, help_text="Included.")
    north = _degrees("North edge (latitude)", 90)
    south = _degrees("South edge (latitude)", 90)
    west = _degrees("West edge (longitude)", 180)
    east = _degrees("East edge (longitude)", 180)
    query = forms.CharField(
        label="Query as JSON",
        required=False,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="Any query of the API; the fields above narrow it further.",
    )
    mq = forms.CharField(
        label="Media query as JSON",
        required=False,
        strip=True,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        help_text="Only records with media that fit, and only those media.",
    )
    core_type = forms.ChoiceField(choices=_same(request.CORE_TYPES), required=False, widget=forms.HiddenInput)
    core_source = forms.ChoiceField(choices=_same(request.CORE_SOURCES), required=False, widget=forms.HiddenInput)
    media_fields = forms.CharField(required=False, widget=forms.HiddenInput)
    form = forms.ChoiceField(label="File", choices=list(_FORMS.items()), initial="dwca-csv")
    fields_ = forms.CharField(
        label="Only these fields", required=False, help_text="Names with commas between; empty for all."
    )
    email = forms.CharField(label="Tell this e-mail address when it is ready", required=False, max_length=300)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        recordset = self.fields["recordset"]
        if isinstance(recordset, forms.ModelChoiceField):
            recordset.queryset = models.Recordset.objects.filter(is_public=True)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        edges = [cleaned.get(name) for name in ("north", "south", "west", "east")]
        if any(edge is not None for edge in edges) and any(edge is None for edge in edges):
            self.add_error("north", "A box needs all four edges.")
        elif edges[0] is not None and edges[0] < (edges[1] or 0):
            self.add_error("south", "The south edge lies north of the north edge.")
        first, last = (str(cleaned.get(name, "")).strip() for name in ("date_from", "date_to"))
        if _DATE.fullmatch(first) and _DATE.fullmatch(last) and last < first[: len(last)]:
            self.add_error("date_to", "This is before “Collected from”; nothing would be found.")
        return cleaned

    def values(self) -> dict[str, Any]:
        """The parameters of the v2 face that this form spells; raises `errors.Invalid` for broken JSON."""
        cleaned = self.cleaned_data
        found = {"form": cleaned["form"], "email": cleaned["email"].strip(), "mq": cleaned["mq"]}
        found |= {"core_type": cleaned["core_type"], "core_source": cleaned["core_source"]}
        found |= {"record_fields": cleaned["fields_"], "mediarecord_fields": cleaned["media_fields"]}
        rq = self._query()
        if rq or not cleaned["mq"]:
            found["rq"] = rq
        return found

    def _query(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        narrow: dict[str, Any] = {term: cleaned[name].strip() for term, name in _TEXTS.items() if cleaned[name].strip()}
        if cleaned["recordset"]:
            narrow["recordset"] = str(cleaned["recordset"].pk)
        if cleaned["has_image"]:
            narrow["hasImage"] = True
        bounds = {"gte": cleaned["date_from"].strip(), "lte": cleaned["date_to"].strip()}
        if any(bounds.values()):
            narrow["datecollected"] = {"type": "range"} | {name: date for name, date in bounds.items() if date}
        if cleaned["north"] is not None:
            narrow["geopoint"] = {
                "type": "geo_bounding_box",
                "top_left": {"lat": cleaned["north"], "lon": cleaned["west"]},
                "bottom_right": {"lat": cleaned["south"], "lon": cleaned["east"]},
            }
        return self._with_json(narrow)

    def _with_json(self, narrow: dict[str, Any]) -> dict[str, Any]:
        text = self.cleaned_data["query"]
        if not text:
            return narrow
        given = jsontext.loads(text)
        if not isinstance(given, dict):
            raise errors.Invalid("The query must be a JSON object.")
        if not set(given) & set(narrow):
            return {**given, **narrow}
        return {"and": [given, narrow]}

    def show(self, fault: errors.Invalid) -> None:
        """Put a fault of the request at the field it concerns."""
        self.add_error(self._place(fault), fault.message)

    def _place(self, fault: errors.Invalid) -> str:
        """By the parameter; else by the term, if its field was filled in; else the query in JSON."""
        for parameter in (fault.details.get("parameter"), fault.details.get("asked_in")):
            if parameter in _PARAMETERS:
                return _PARAMETERS[parameter]
        filled = [name for name in _TERMS.get(fault.field, ()) if self.cleaned_data.get(name) not in (None, "", False)]
        quoted = [name for name in filled if str(self.cleaned_data[name]).strip() in fault.message]
        return next(iter(quoted or filled[-1:]), "query")


def initial(seven: dict[str, Any]) -> dict[str, str]:
    """What the form shows to ask for the same again; `seven` as v2 bodies show it, whole or in part."""
    found = {
        "query": _text(seven.get("rq")),
        "mq": _text(seven.get("mq")),
        "form": seven.get("form", ""),
        "core_type": seven.get("core_type", ""),
        "core_source": seven.get("core_source", ""),
        "fields_": _names(seven.get("record_fields")),
        "media_fields": _names(seven.get("mediarecord_fields")),
    }
    return {name: value for name, value in found.items() if value}


def _text(query: Any) -> str:
    return json.dumps(query, ensure_ascii=False) if query else ""


def _names(names: list[str] | None) -> str:
    """A field list with commas; an empty one, which is not the same as none, as JSON."""
    if names is None:
        return ""
    return ", ".join(names) or "[]"
