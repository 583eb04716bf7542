"""Lists: bare JSON arrays with the paging headers of both generations (contract §2.7)."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib import parse

from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from core import db, errors, paging
from exports import dialect
from exports.formats import archives, envelope, stamps, text
from exports.selectors import content, documents, rows
from exports.views import base

DEFAULT, MOST = 25, 1000
Render = Callable[[Any], dict[str, Any]]


def window(view: base.View, total: int) -> paging.Window:
    """The rows asked for: ``limit`` (25, at most 1000, 0 for all) with ``page`` or ``offset``."""
    if view.zipped:
        return paging.Window(offset=0, limit=0, total=total)
    limit = view.whole_number("limit")
    limit = DEFAULT if limit is None else min(limit, MOST)
    page, offset = view.whole_number("page", least=1), view.whole_number("offset")
    start = offset if offset is not None else (((page or 1) - 1) * limit)
    return paging.Window(offset=start, limit=limit, total=total)


def headers(view: base.View, place: paging.Window) -> dict[str, str]:
    """Both generations' paging headers; ``next`` and ``previous`` are absent at the ends."""
    returned = max(0, min(place.limit or place.total, place.total - place.offset))
    told = {
        "num_found": str(place.total),
        "num_returned": str(returned),
        "offset": str(place.offset),
        "pages": str(place.pages),
        "page_number": str(place.page),
    }
    for name, offset in (("next", place.next_offset), ("previous", place.previous_offset)):
        if offset is not None:
            told[name] = _neighbour(view, place, offset)
    return told


def _neighbour(view: base.View, place: paging.Window, offset: int) -> str:
    query = view.request.query_params.dict()
    query["limit"] = str(place.limit)
    if "offset" in query or offset % place.limit:
        query.pop("page", None)
        query["offset"] = str(offset)
    else:
        query["page"] = str(offset // place.limit + 1)
    return view.absolute(f"{parse.quote(view.request.path)}?{parse.urlencode(query)}")


def of_query(
    view: base.View, found: QuerySet[Any], render: Render, *, at_a_time: int = rows.BLOCK_ROWS
) -> HttpResponseBase:
    """A list of ordinary rows; of all of them so many are held at once."""
    place = window(view, found.count())
    if view.request.method == "HEAD":
        return base.headers_only("application/json", headers(view, place))
    if place.limit:
        chosen = found[place.offset : place.offset + place.limit]
        return dialect.json_response([render(one) for one in chosen], headers=headers(view, place))
    everything = found[place.offset :].iterator(chunk_size=at_a_time)
    return _stream(view, _array(render(one) for one in everything), headers(view, place))


def of_rows(view: base.View, question: rows.Rows, render: Render) -> HttpResponseBase:
    """A list of concepts or mappings; all of them are streamed."""
    place = window(view, question.count())
    told = headers(view, place)
    if since := view.updated_since():
        told["X-Updated-Since"] = stamps.offset_iso(since)
    if view.request.method == "HEAD":
        return base.headers_only("application/json", told)
    if place.limit:
        found = content.fetch(question, limit=place.limit, offset=place.offset)
        return dialect.json_response([render(one) for one in found], headers=told)
    return _stream(view, _array(_all(question, place.offset, render)), told)


def _all(question: rows.Rows, offset: int, render: Render) -> Iterator[dict[str, Any]]:
    with db.snapshot() as view:
        for *told, body in rows.stream(view, *question.sql(f"{content.ABOUT}, {rows.narrow()}", offset=offset)):
            yield render(content.Found(body, *told))


def _stream(view: base.View, blocks: Iterator[bytes], told: dict[str, str]) -> HttpResponseBase:
    """An unlimited answer in constant memory, which takes one of the few slots."""
    slot, kind = documents.Slot(), "application/json"
    if view.zipped:
        blocks, kind = archives.zip_of(blocks, modified=timezone.now()), "application/zip"
    return StreamingHttpResponse(Streamed(blocks, slot), content_type=kind, headers=told)


def _array(found: Iterator[dict[str, Any]]) -> Iterator[bytes]:
    """A JSON array block by block; the bracket leaves before the first row is read."""
    yield b"["
    yield from envelope.unled(documents.blocks(map(text.dumps, found), separator=envelope.SEPARATOR))
    yield b"]"


class Streamed:
    """A stream that holds one of the few slots until the response is over."""

    def __init__(self, blocks: Iterator[bytes], slot: documents.Slot) -> None:
        self._blocks, self._slot = blocks, slot

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._blocks)

    def close(self) -> None:
        self._slot.release()
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()


def asked(view: base.View) -> content.Filter:
    """The query language of concept and mapping lists."""
    query = view.request.query_params
    sort, descending = query.get("sortAsc"), False
    if sort is None:
        sort, descending = query.get("sortDesc"), True
    if sort not in (None, "", "id", "name", "updated_on"):
        raise errors.Invalid(
            f'"{sort}" is not one of id, name, updated_on.', field="sortDesc" if descending else "sortAsc"
        )
    words = {name: view.word(wire) for name, wire in _WORDS.items()}
    return content.Filter(
        retired=view.flag("includeRetired"), since=view.updated_since(), sort=sort or "", descending=descending, **words
    )


_WORDS = {"q": "q", "concept_class": "conceptClass", "datatype": "datatype", "locale": "locale", "map_type": "mapType"}
