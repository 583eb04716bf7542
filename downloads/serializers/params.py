"""Every spelling in which a request may come (contract §2.2, §2.4): URL, JSON, form, multipart."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from django.http import HttpRequest
from django.utils.http import parse_header_parameters

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
    """What was sent: the body wins over the URL. Values of a JSON body keep their types, all others are text.

    `fault` is only set when reading was not strict: what is wrong with the text of the query that `values` hold.
    """

    face: str
    values: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    fault: errors.Invalid | None = None


def read(request: HttpRequest, face: str, *, is_strict: bool = True) -> Params:
    """The parameters of a request on a face.

    Raises `Invalid` for a known parameter given twice, broken JSON and invalid UTF-8, and `TooLarge`. Not strict, the
    first of two parameters counts, and what is wrong with a query is noted in `fault`.
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
            found.values[name] = _text(found, name, value, is_strict=is_strict)
    for name, count in counts.items():
        if count > 1 and is_strict:
            raise errors.Invalid(f"The parameter {name} was given {count} times.", parameter=name)


def _text(found: Params, name: str, value: bytes, *, is_strict: bool) -> str:
    """A value as text; of a query that is no UTF-8, what can be read of it, when not strict."""
    try:
        return jsontext.decode(value, parameter=name)
    except errors.Invalid as fault:
        if is_strict or name not in QUERY_NAMES[found.face]:
            raise
        found.fault = fault
        return value.decode("utf-8", "replace")


def _add_body(found: Params, request: HttpRequest, *, is_strict: bool) -> None:
    body = api.body(request, limit=MOST_BYTES)
    kind = (request.content_type or "").lower()
    if kind == "multipart/form-data":
        _add(found, _parts(body, (request.content_params or {}).get("boundary", "")), is_strict=is_strict)
    elif kind.endswith("json") or body.lstrip().startswith(b"{"):
        if body.strip():
            _add_json(found, body, is_strict=is_strict)
    else:
        _add(found, _pairs(body.strip()), is_strict=is_strict)


def _parts(body: bytes, boundary: str) -> list[tuple[str, bytes]]:
    """Name and value of each field of a multipart body (RFC 7578); files are left out.

    Read here: the framework's reader stops at its own limit of bytes and mends broken UTF-8.
    """
    delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
    _preamble, *pieces = (b"\r\n" + body).split(delimiter)
    if not boundary or not pieces or not pieces.pop().startswith(b"--"):
        raise errors.Invalid("The multipart body cannot be read.", parameter="query")
    found = []
    for piece in pieces:
        head, _, value = piece.partition(b"\r\n\r\n")
        options = _disposition(head)
        if "name" in options and "filename" not in options:
            found.append((options["name"], value))
    return found


def _disposition(head: bytes) -> dict[str, str]:
    """The parameters of a part's Content-Disposition."""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-disposition":
            return dict(parse_header_parameters(value)[1])
    return {}


def _object(body: bytes) -> Mapping[str, Any]:
    value = jsontext.loads(jsontext.decode(body))
    if not isinstance(value, Mapping):
        raise errors.Invalid(f"The query must be a JSON object, not {parse.named(value)}.")
    return value


def _add_json(found: Params, body: bytes, *, is_strict: bool) -> None:
    """An object of parameters, or (without any that is a query) the query itself."""
    try:
        value = _object(body)
    except errors.Invalid as fault:
        if is_strict:
            raise
        found.fault = fault
        found.values["query" if found.face == "seed" else "rq"] = body.decode("utf-8-sig", "replace")
        return
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
