"""Every spelling in which a request may come (contract §2.2, §2.4): URL, JSON, form, multipart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest, multipartparser

from core import api, errors
from downloads.selectors import jsontext, parse

MOST_BYTES: Final = 2 * 1024 * 1024
QUERY_NAMES: Final = {"seed": ("query",), "v2": ("rq", "mq", "query")}
NAMES: Final = {
    "seed": frozenset({"query", "email"}),
    "v2": frozenset(
        {
            *("rq", "mq", "query", "core_type", "core_source", "form", "record_fields", "mediarecord_fields"),
            *("email", "source", "force", "dry_run", "compression", "webhook", "since", "spreadsheet_safe"),
        }
    ),
}


@dataclass
class Params:
    """What was sent: the body wins over the URL. Values of a JSON body keep their types, all others are text."""

    face: str
    values: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def read(request: HttpRequest, face: str, *, is_strict: bool = True) -> Params:
    """The parameters of a request on a face.

    Raises `Invalid` for a known parameter given twice (unless not strict: the first counts), broken JSON and invalid
    UTF-8, and `TooLarge`.
    """
    found = Params(face)
    _add(found, _pairs(request.META.get("QUERY_STRING", "").encode("latin-1")), is_strict=is_strict)
    if request.method == "POST":
        _add_body(found, request, is_strict=is_strict)
    return found


def has_query(request: HttpRequest) -> bool:
    """Whether the URL has the parameter `query`, even an empty one."""
    pairs = request.META.get("QUERY_STRING", "").split("&")
    return any(pair.partition("=")[0] == "query" for pair in pairs)


def _pairs(encoded: bytes) -> list[tuple[str, bytes]]:
    """Name and value of each pair, percent-decoded; `+` is a space."""
    pairs = [pair.partition(b"=") for pair in encoded.split(b"&") if pair]
    return [(_decoded(name).decode("utf-8", "replace"), _decoded(value)) for name, _, value in pairs]


def _decoded(part: bytes) -> bytes:
    return unquote_to_bytes(part.replace(b"+", b" "))


def _add(found: Params, pairs: list[tuple[str, bytes]], *, is_strict: bool) -> None:
    counts: dict[str, int] = {}
    for name, value in pairs:
        if name not in NAMES[found.face]:
            found.unknown.append(name)
            continue
        counts[name] = counts.get(name, 0) + 1
        if counts[name] == 1:
            found.values[name] = jsontext.decode(value, parameter=name)
    for name, count in counts.items():
        if count > 1 and is_strict:
            raise errors.Invalid(f"The parameter {name} was given {count} times.", parameter=name)


def _add_body(found: Params, request: HttpRequest, *, is_strict: bool) -> None:
    body = api.body(request, limit=MOST_BYTES)
    kind = (request.content_type or "").lower()
    if kind == "multipart/form-data":
        try:
            sent = [(name, str(value).encode()) for name, values in request.POST.lists() for value in values]
        except multipartparser.MultiPartParserError as fault:
            raise errors.Invalid("The multipart body cannot be read.", parameter="query") from fault
        _add(found, sent, is_strict=is_strict)
    elif kind.endswith("json") or body.lstrip().startswith(b"{"):
        if body.strip():
            _add_json(found, body)
    else:
        _add(found, _pairs(body.strip()), is_strict=is_strict)


def _add_json(found: Params, body: bytes) -> None:
    """An object of parameters, or (without any that is a query) the query itself."""
    value = jsontext.loads(jsontext.decode(body))
    if not isinstance(value, Mapping):
        raise errors.Invalid(f"The query must be a JSON object, not {parse.named(value)}.")
    names = QUERY_NAMES["seed"] if found.face == "seed" else NAMES["v2"]
    if not any(name in value for name in names):
        if value:
            found.values["query" if found.face == "seed" else "rq"] = value
        return
    for name, item in value.items():
        if name in NAMES[found.face]:
            found.values[name] = item
        else:
            found.unknown.append(name)
