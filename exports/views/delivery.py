"""Sending the bytes of an archive: whole or a range, watched so that a link knows what arrived."""

import base64
import re
from collections.abc import Callable, Iterator

from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone

from core import errors
from exports.formats import names, stamps
from exports.models import ExportBuild
from exports.selectors import files
from exports.serializers import exports as serializer

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class Unsatisfiable(errors.Fact):
    """The range asked for lies outside the file."""

    def __init__(self, size: int) -> None:
        super().__init__("The requested range cannot be satisfied.")
        self.details["headers"] = {"Content-Range": f"bytes */{size}"}


def headers(build: ExportBuild, form: str) -> dict[str, str]:
    """What every answer with the file's bytes carries (contract §2.5)."""
    told = {
        "Content-Type": names.CONTENT_TYPES[form],
        "Content-Disposition": f'attachment; filename="{serializer.filename(build, form)}"',
        "ETag": serializer.etag(build, form),
        **serializer.times(build),
        "Date": stamps.http_date(timezone.now()),
        "Cache-Control": "private, no-store, no-transform",
        "X-Content-Type-Options": "nosniff",
        "Accept-Ranges": "none" if form == "ndjson" else "bytes",
    }
    if form in names.STORED:
        digest = build.zip_sha256 if form == "zip" else build.tgz_sha256
        told["Repr-Digest"] = f"sha-256=:{base64.b64encode(bytes.fromhex(digest)).decode()}:"
    return told


def asked_range(header: str, if_range: str, *, etag: str, form: str, size: int) -> tuple[int, int] | None:
    """(first, end) of the one range to send, or None for the whole: no range, several, or the wrong entity."""
    found = _RANGE.fullmatch(header.strip()) if form != "ndjson" else None
    if not found or (if_range and if_range.strip() != etag) or found[1] == found[2] == "":
        return None
    if found[1] == "":
        first, end = max(0, size - int(found[2])), size
    else:
        first, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < int(found[1]):
            return None
    if first >= size or first >= end:
        raise Unsatisfiable(size)
    return first, end


class Watched:
    """Blocks on their way out; tells at the end whether all of them left, and how far it came if not."""

    def __init__(self, blocks: Iterator[bytes], *, done: Callable[[], None], broken: Callable[[int], None]) -> None:
        self._blocks, self._done, self._broken = blocks, done, broken
        self._sent, self._is_told = 0, False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        block = next(self._blocks, None)
        if block is None:
            if not self._is_told:
                self._is_told = True
                self._done()
            raise StopIteration
        self._sent += len(block)
        return block

    def close(self) -> None:
        """Called by the server at the end of the response, however it ended."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        if not self._is_told:
            self._is_told = True
            self._broken(self._sent)


def whole(build: ExportBuild, form: str, *, head: bool) -> HttpResponseBase:
    """The file with the link's headers, outside any link."""
    size = files.size(build, form)
    return _response(files.read(build, form), headers(build, form), size=size, head=head)


def ranged(
    build: ExportBuild, form: str, *, span: tuple[int, int] | None, blocks: Iterator[bytes], head: bool
) -> HttpResponseBase:
    """200 with the whole file or 206 with one range; ``blocks`` are the bytes to send."""
    size = files.size(build, form)
    told = headers(build, form)
    if span is None:
        return _response(blocks, told, size=size, head=head)
    told["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
    response = _response(blocks, told, size=span[1] - span[0], head=head)
    response.status_code = 206
    return response


def _response(blocks: Iterator[bytes], told: dict[str, str], *, size: int, head: bool) -> HttpResponseBase:
    response: HttpResponseBase = HttpResponse() if head else StreamingHttpResponse(opened(blocks))
    for name, value in {**told, "Content-Length": str(size)}.items():
        response[name] = value
    return response


def opened(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Fetch the first block now, so that a store that does not answer is a 503 and not a broken download."""
    first = next(blocks, None)
    return iter(()) if first is None else Rejoined(first, blocks)


class Rejoined:
    """A first block put back in front of the rest; closing it closes the rest."""

    def __init__(self, first: bytes, rest: Iterator[bytes]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        return next(self._rest) if first is None else first

    def close(self) -> None:
        close = getattr(self._rest, "close", None)
        if close is not None:
            close()
