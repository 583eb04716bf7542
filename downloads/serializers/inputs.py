"""Parameters to a validated `DownloadRequest`; every fault has its sentence (contract §2.6)."""

import dataclasses
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator

from core import errors, webhooks
from downloads import services
from downloads.formats import terms
from downloads.selectors import geo, jsontext, nodes, normal, parse, request, suggest
from downloads.serializers.params import QUERY_NAMES, Params

NO_QUERY: Final = "Please supply a query."
NO_QUERIES: Final = "Please supply at least one query paramter (rq,mq)"  # iDigBio: spelt so
_QUERIES: Final = frozenset(QUERY_NAMES["v2"])
_FALSE: Final = frozenset({"", "0", "no", "off", "false", "null"})
_LONGEST_EMAIL: Final = 254
_LONGEST_SOURCE: Final = 200
_DELTA_FORMS: Final = ("dwca-csv", "dwca-tsv")
_DELTA_CORES: Final = ("records", "mediarecords")
_valid_email = EmailValidator()


class ProviderTerms(Collection[str]):
    """The provider terms of a kind of rows, fetched only when a query names one."""

    def __init__(self, kind: nodes.Kind) -> None:
        self.kind = kind

    @cached_property
    def names(self) -> frozenset[str]:
        sources = terms.MEDIA_SOURCES if self.kind == "media" else terms.RECORD_SOURCES
        return sources | set(services.known_provider_terms(self.kind))

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.names))

    def __len__(self) -> int:
        return len(self.names)


def known(kind: nodes.Kind) -> parse.Known:
    """What queries on a kind of rows may name, as of now."""
    return parse.Known(kind, ProviderTerms(kind))


@dataclass(frozen=True)
class Asked:
    """A validated request, and what the v2 face adds around it."""

    request: request.DownloadRequest
    is_dry_run: bool = False
    warnings: tuple[str, ...] = ()


def seed(params: Params) -> Asked:
    """A request of the seed face."""
    given = params.values.get("query")
    if given is None or given == "" or (isinstance(given, str) and not given.strip()):
        raise errors.Invalid(NO_QUERY, parameter="query")
    email = _email(params.values.get("email"))
    base = request.DownloadRequest(face="seed", rq=None, email=email)
    return Asked(_lenient(base, {"rq": ("query", given)}, fault=params.fault))


def v2(params: Params) -> Asked:
    """A request of the v2 face."""
    values = {name: value if name in _QUERIES else _tried(value) for name, value in params.values.items()}
    rq = values["rq"] if _is_given(values.get("rq")) else values.get("query")
    queries = {"rq": ("rq" if _is_given(values.get("rq")) else "query", rq), "mq": ("mq", values.get("mq"))}
    given = {name: (parameter, value) for name, (parameter, value) in queries.items() if _is_given(value)}
    if not given:
        raise errors.Invalid(NO_QUERIES)
    base = request.DownloadRequest(
        face="v2",
        rq=None,
        email=_email(values.get("email")),
        source=_source(values.get("source")),
        force=_flag(values.get("force")),
        spreadsheet_safe=_flag(values.get("spreadsheet_safe")),
    )
    unknown = list(dict.fromkeys(params.unknown))
    warnings = tuple(f"The parameter {name[:100]} is not known and was ignored." for name in unknown[:20])
    return Asked(_lenient(base, given, values, fault=params.fault), _flag(values.get("dry_run")), warnings)


def _is_given(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and value.strip().lower() in ("", "null"))


def _tried(value: Any) -> Any:
    """A text as the JSON it spells where that makes a difference: `"csv"` in quotes is csv, `null` is null."""
    if isinstance(value, str) and (value.strip().startswith('"') or value.strip() == "null"):
        try:
            return jsontext.loads(value)
        except errors.Invalid:
            return value
    return value


def _lenient(
    base: request.DownloadRequest,
    queries: dict[str, tuple[str, Any]],
    values: dict[str, Any] | None = None,
    *,
    fault: errors.Invalid | None,
) -> request.DownloadRequest:
    """The request with its queries and options; without DOWNLOADS_STRICT a fault is for the job to state.

    `fault` is what was wrong before: a text that could not be read.
    """
    try:
        if fault is not None:
            raise fault
        return _complete(base, queries, values)
    except errors.Invalid as found:
        if settings.DOWNLOADS_STRICT or "limit" in found.details:  # faults of size stay faults of the request
            raise
        # iDigBio: accepted, echoed as it came, and failed later
        echo = {name: _echo(value) for name, (_, value) in queries.items()}
        return dataclasses.replace(base, **echo, fault=found.message)


def _echo(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return jsontext.loads(value)
    except errors.Invalid:
        return value


def _complete(
    base: request.DownloadRequest, queries: dict[str, tuple[str, Any]], values: dict[str, Any] | None
) -> request.DownloadRequest:
    changes: dict[str, Any] = {}
    for name, (parameter, value) in queries.items():
        try:
            changes[name], changes[f"normal_{name}"] = _query(value, "media" if name == "mq" else "records", parameter)
        except errors.Invalid as fault:
            fault.details["asked_in"] = parameter  # not said by the API; the form shows the fault there
            raise
    asked = dataclasses.replace(base, **changes)
    return asked if values is None else _with_options(asked, values)


def _query(value: Any, kind: nodes.Kind, parameter: str) -> tuple[Any, Any]:
    """A query as it was sent, and its normal form."""
    given = jsontext.loads(value, parameter=parameter) if isinstance(value, str) else value
    jsontext.check(given)
    return given, normal.query(parse.query(given, known(kind), is_strict=settings.DOWNLOADS_STRICT))


def _with_options(asked: request.DownloadRequest, values: dict[str, Any]) -> request.DownloadRequest:
    form = _choice("form", values.get("form"), request.FORMS, "dwca-csv")
    core_type = _choice("core_type", values.get("core_type"), request.CORE_TYPES, "records")
    if form == "geojson" and core_type != "records":
        raise errors.Invalid("The form geojson works only with core_type records.", parameter="form")
    record_fields = _fields("record_fields", values.get("record_fields"), "records")
    if record_fields == []:
        raise errors.Invalid("Name at least one record field.", parameter="record_fields")
    return dataclasses.replace(
        asked,
        form=form,
        core_type=core_type,
        core_source=_choice("core_source", values.get("core_source"), request.CORE_SOURCES, "indexterms"),
        compression=_choice("compression", values.get("compression"), request.COMPRESSIONS, "fast"),
        record_fields=record_fields,
        mediarecord_fields=_fields("mediarecord_fields", values.get("mediarecord_fields"), "media"),
        webhook=_webhook(values.get("webhook")),
        since=_since(values.get("since"), form, core_type),
    )


def _choice(name: str, value: Any, allowed: Sequence[str], default: str) -> str:
    if not _is_given(value):
        return default
    text = value if isinstance(value, str) else geo.shown(value)
    jsontext.check(text)
    if text not in allowed:
        raise errors.Invalid(
            f"The {name} {text[:60]} is not known.",
            parameter=name,
            allowed=list(allowed),
            suggestion=suggest.nearest(text, allowed),
        )
    return text


def _fields(name: str, value: Any, kind: nodes.Kind) -> list[str] | None:
    """A field list given as JSON, JSON text, or text with commas; None for all."""
    if not _is_given(value):
        return None
    if isinstance(value, str):
        value = _listed(value)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise errors.Invalid(f"The parameter {name} needs a list of names.", parameter=name)
    jsontext.check(value)
    names = known(kind)
    unknown = [item for item in dict.fromkeys(value) if names.find(item) is None]
    if unknown:
        raise names.unknown_field(unknown[0], unknown, parameter=name)
    return list(value)


def _listed(text: str) -> Any:
    if text.lstrip().startswith("["):
        return jsontext.loads(text)
    if text.lstrip().startswith('"'):
        return [jsontext.loads(text)]
    return [part.strip() for part in text.split(",")]


def _flag(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() not in _FALSE
    return bool(value)


def _email(value: Any) -> str:
    """One plain address, or "" for no mail."""
    if value is None or value == "":
        return ""  # iDigBio: absent and empty alike
    if isinstance(value, str) and len(value) <= _LONGEST_EMAIL:
        try:
            _valid_email(value)
        except ValidationError:
            pass
        else:
            return value
    raise errors.Invalid("The email address is not valid.", parameter="email")


def _source(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > _LONGEST_SOURCE:
        message = f"The source has {len(text)} characters; the limit is {_LONGEST_SOURCE}."
        raise errors.Invalid(message, parameter="source", limit=_LONGEST_SOURCE)
    jsontext.check(text)
    return text


def _webhook(value: Any) -> str:
    if not _is_given(value):
        return ""
    try:
        webhooks.check_url(value if isinstance(value, str) else "")
    except errors.Invalid as fault:
        raise errors.Invalid(fault.message, parameter="webhook") from fault
    return str(value)


def _since(value: Any, form: str, core_type: str) -> str:
    """The download to count from; only archives of rows with uuids can say what was deleted."""
    if not _is_given(value):
        return ""
    for name, given, allowed in (("form", form, _DELTA_FORMS), ("core_type", core_type, _DELTA_CORES)):
        if given not in allowed:
            message = f"The parameter since does not work with {name} {given}."
            raise errors.Invalid(message, parameter="since", allowed=list(allowed))
    text = value.strip().lower() if isinstance(value, str) else ""
    services.since_version(text)
    return text
