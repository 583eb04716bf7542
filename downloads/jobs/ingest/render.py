"""Second pass: rows to be written are normalised, their lines finished, and copied into the store.

Everything a build will ever print of a row is made here, once (contract 9): a build only moves bytes.
"""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import orjson
from django.conf import settings
from django.db import connection

from core import db
from downloads.formats import cells, normalise, terms, words
from downloads.jobs.ingest import crew
from downloads.jobs.ingest import trusted as trusted_index
from downloads.models import store

_BATCH: Final = 1000
_TOGETHER: Final = 200
"""Rows whose words are found together."""
_DELIMITER: Final = "\x1d"
_SIGN: Final = _DELIMITER.encode()
COPY_OPTIONS: Final = f"FORMAT text, DELIMITER '{_DELIMITER}', NULL ''"
_FIXED: Final = ("v_from", "uuid", "line_version", "line_index", "line_raw", "recordset_id", "etag", "words", "raw")
_BACKSLASH_OR_QUOTE = re.compile(r'([\\"])')


class Layout:
    """The columns of a version table and where each term's forms go."""

    def __init__(self, kind: str) -> None:
        table = terms.RECORD_TERMS if kind == "records" else terms.MEDIA_TERMS
        self.kind = kind
        self.table = "downloads_record" if kind == "records" else "downloads_mediarecord"
        places = ("lat", "lon") if kind == "records" else ()
        names = [*_FIXED, *places, *store.term_fields(table)]
        self.columns = names
        self._place = {name: place for place, name in enumerate(names)}
        self._blank = [""] * (len(names) - len(_FIXED))
        own = [term for term in table if term.name not in {"uuid", "recordset"}]
        self._texts = {term.name: (self._place[term.column], term.indexed) for term in own if _is_plain_text(term)}
        self._writers = {term.name: self._writer(term) for term in own if term.name not in self._texts}

    def _writer(self, term: terms.Term) -> Callable[[list[str], Any], None]:
        place, shown = self._place[term.column], self._place[term.shown]
        if term.kind == "point":
            return self._write_point
        if term.kind == "list":
            return _list_writer(place, shown)
        if term.kind == "date":
            return _date_writer(place, shown)
        if term.kind in ("float", "int"):
            return _text_writer(place, repr)
        if term.kind == "bool":
            return _text_writer(place, lambda value: "t" if value else "f")
        return _cased_writer(place, shown)

    def _write_point(self, values: list[str], value: Sequence[float]) -> None:
        values[self._place["lat"]], values[self._place["lon"]] = repr(value[0]), repr(value[1])

    def line(self, index: Mapping[str, Any], fixed: Sequence[str]) -> bytes:
        """A row as a line of COPY (delimiter U+001D, empty = null): `fixed` holds the columns of `_FIXED`."""
        values = [*fixed, *self._blank]
        texts, writers = self._texts, self._writers
        for name, value in index.items():
            if text := texts.get(name):
                place, is_indexed = text
                if not is_indexed or len(value) * 4 <= store.LONGEST_INDEXED or _fits(value):
                    values[place] = value
            elif writer := writers.get(name):
                writer(values, value)
        line = _DELIMITER.join(values).encode()
        if line.count(_SIGN) != len(values) - 1:  # the sign itself occurs in the data
            line = _SIGN.join(_slashed(value.encode()).replace(_SIGN, b"\\" + _SIGN) for value in values)
        else:
            line = _slashed(line)
        return line.replace(b"\n", b"\\n").replace(b"\r", b"\\r") + b"\n"


def _is_plain_text(term: terms.Term) -> bool:
    """Whether the value is its column, as it is."""
    return term.kind in ("text", "word") and term.shown == term.column


def _fits(value: str) -> bool:
    return len(value.encode()) <= store.LONGEST_INDEXED


def _slashed(line: bytes) -> bytes:
    return line.replace(b"\\", b"\\\\")


def _array(items: Sequence[str]) -> str:
    text = '","'.join(items)
    if "\\" in text or text.count('"') != 2 * len(items) - 2:
        text = '","'.join(_BACKSLASH_OR_QUOTE.sub(r"\\\1", item) for item in items)
    return f'{{"{text}"}}'


def _text_writer(place: int, convert: Callable[[Any], str]) -> Callable[[list[str], Any], None]:
    def write(values: list[str], value: Any) -> None:
        values[place] = convert(value)

    return write


def _cased_writer(place: int, shown: int) -> Callable[[list[str], Any], None]:
    def write(values: list[str], value: str) -> None:
        values[place], values[shown] = words.fold(value), value

    return write


def _list_writer(place: int, shown: int) -> Callable[[list[str], Any], None]:
    def write(values: list[str], value: list[str]) -> None:
        if not value:
            return
        values[shown] = _array(value)
        if shown != place:
            values[place] = _array([words.fold(item) for item in value])

    return write


def _date_writer(place: int, shown: int) -> Callable[[list[str], Any], None]:
    def write(values: list[str], value: str) -> None:
        values[place], values[shown] = value, value

    return write


class Renderer:
    """Makes the new versions of one kind of rows."""

    def __init__(
        self, kind: str, *, version: int, raw_names: Sequence[str], raw_version: int, now: datetime.datetime
    ) -> None:
        self._made_by = functools.partial(
            Renderer, kind, version=version, raw_names=raw_names, raw_version=raw_version, now=now
        )
        self.layout = Layout(kind)
        self._kind = kind
        self.version = version
        self._raw_version = str(raw_version)
        self._places = cells.places(raw_names)
        self._modified = now.isoformat(timespec="microseconds")
        self._make: Callable[..., dict[str, Any]] = normalise.media
        if kind == "records":
            self._make = functools.partial(normalise.record, today=now.date().isoformat())

    def __reduce__(self) -> tuple[Callable[[], Renderer], tuple[()]]:
        """It is sent to other processes as what it was made from: its writers are closures."""
        return self._made_by, ()

    def rows(self, batch: Sequence[tuple[Any, ...]]) -> Iterator[bytes]:
        """Lines of COPY for (uuid, recordset, identifiers, raw, others, trusted, etag) rows, all text; JSON as text."""
        for start in range(0, len(batch), _TOGETHER):
            yield from self._some(batch[start : start + _TOGETHER])

    def _some(self, batch: Sequence[tuple[Any, ...]]) -> Iterator[bytes]:
        rows = []
        for uuid, recordset, ids, raw_text, others, trusted, etag in batch:
            raw = orjson.loads(raw_text)
            known = {"uuid": uuid, "recordset": recordset}
            rows.append((self._index(known, orjson.loads(ids), raw, others, trusted, etag), raw))
        for (index, raw), text, given in zip(rows, normalise.words_texts(rows), batch, strict=True):
            yield self.layout.line(index, self._fixed(index, raw, text, given[3]))

    def _index(
        self, known: dict[str, str], ids: list[str], raw: dict[str, Any], others: list[str], trusted: str, etag: str
    ) -> dict[str, Any]:
        """All index terms of a row, links included.

        `trusted` is "" where they are to be made from `raw`, else JSON of those of a download archive, or the finished
        line of the row's version before.
        """
        if trusted.startswith(","):  # only its links have changed
            index = trusted_index.of_line(self._kind, trusted) | known | {"etag": etag, "datemodified": self._modified}
        elif trusted:
            index = trusted_index.loaded(trusted) | known | {"etag": etag}
            index.setdefault("datemodified", self._modified)
        else:
            index = self._make(raw, **known, modified=self._modified, record_ids=ids, fingerprint=etag)
        link = normalise.with_media if self._kind == "records" else normalise.with_records
        return link(index, others)

    def _fixed(self, index: dict[str, Any], raw: dict[str, Any], words_text: str, raw_text: str) -> list[str]:
        return [
            str(self.version),
            index["uuid"],
            self._raw_version,
            cells.index_line(self._kind, index),
            cells.raw_line(raw, self._places),
            index["recordset"],
            index["etag"],
            words_text,
            raw_text,
        ]


_FETCH = """
SELECT t.uuid::text, t.recordset::text, coalesce(s.ids, to_json(c.t_recordids)::text, '[]'),
    coalesce(s.raw, c.raw::text), t.others::text[], coalesce(s.trusted, c.line_index), coalesce(s.etag, c.etag)
FROM todo_{kind} t
LEFT JOIN stage_{kind} s ON s.n = t.n
LEFT JOIN {table} c ON t.n IS NULL AND c.uuid = t.uuid AND c.v_to = %s
WHERE t.k > %s AND t.k <= %s ORDER BY t.k
"""


def render(renderer: Renderer, *, check: Callable[[int], None]) -> int:
    """Normalise everything in `todo_…` straight into the store; returns the number of rows.

    Call it where the versions that end have been closed, in the transaction that publishes. `check(rows)` is called
    now and then and may raise to stop.
    """
    kind = "record" if renderer.layout.kind == "records" else "media"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE INDEX ON stage_{kind} (n)")
        cursor.execute(f"SELECT count(*) FROM todo_{kind}")
        (total,) = cursor.fetchone()
    with crew.working(renderer, settings.DOWNLOADS_INGEST_PROCESSES) as finished:
        done = 0
        for lines in finished(_batches(renderer, kind, total)):
            db.copy_in(renderer.layout.table, renderer.layout.columns, lines, options=COPY_OPTIONS)
            done = min(done + _BATCH, total)
            check(done)
    return int(total)


def _batches(renderer: Renderer, kind: str, total: int) -> Iterator[list[tuple[Any, ...]]]:
    """What there is to render, in the order of the rows' uuids."""
    fetch = _FETCH.format(kind=kind, table=renderer.layout.table)
    for start in range(0, total, _BATCH):
        with connection.cursor() as cursor:
            cursor.execute(fetch, [renderer.version, start, start + _BATCH])
            yield cursor.fetchall()
