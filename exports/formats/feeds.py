"""Reading what people import: JSON lines, a JSON array, an export document, plain or packed, told by magic bytes.

Forward only and in constant memory: a record at a time is held, nothing is unpacked to disk. Limits are met while
reading and raise ``Refused``; a broken line of JSON lines is a ``Broken`` item and the next line goes on.
"""

import codecs
import json
import re
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from isal import isal_zlib

from exports.formats import text

BLOCK = 256 * 1024
DAMAGED: Any = isal_zlib.error
ARRAYS = ("concepts", "mappings", "references")
_NOT_OURS = re.compile(r"(^|/)(__MACOSX/|\._|\.)")
_SPACE = re.compile(r"[\s,]*")
_DECODER = json.JSONDecoder(parse_constant=text.no_constant)
_SLACK = 10 * 1024 * 1024


class Refused(Exception):
    """The file cannot or must not be read; the message is the reason."""


@dataclass(frozen=True)
class Limits:
    unpacked: int
    ratio: int
    record: int


@dataclass(frozen=True)
class Item:
    """One thing of the file. ``kind``: ``header`` (of a document), one of its arrays, or ``record``. ``line``: number
    of the line in JSON lines, else of the item."""

    kind: str
    value: dict[str, Any]
    line: int
    problem: str = ""


def read(file: BinaryIO, limits: Limits) -> Iterator[Item]:
    """The items of a seekable file, whatever it is packed in."""
    size = _packed_size(file)
    return _items(Characters(Counted(_opened(file), size, limits), limits.record))


def _packed_size(file: BinaryIO) -> int:
    size = file.seek(0, 2)
    file.seek(0)
    return size


def _opened(file: BinaryIO, *, depth: int = 0) -> Iterator[bytes]:
    """The bytes of the JSON inside, block by block."""
    head = file.read(512)
    file.seek(0)
    if head[:2] == b"\x1f\x8b" and depth == 0:
        return _unwrapped(_gunzipped(file))
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return _zip_member(file)
    return _unwrapped(iter(lambda: file.read(BLOCK), b""))


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    inflater = isal_zlib.decompressobj(31)
    try:
        while block := file.read(BLOCK):
            while block:
                yield inflater.decompress(block, 4 * BLOCK)
                if inflater.eof:
                    block, inflater = inflater.unused_data, isal_zlib.decompressobj(31)
                    if not block.startswith(b"\x1f\x8b"):
                        return
                else:
                    block = inflater.unconsumed_tail
    except DAMAGED as error:
        raise Refused(f"The gzip data are damaged: {error}") from None
    if not inflater.eof:
        raise Refused("The file ends in the middle of its gzip data.")


def _unwrapped(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """A tar's JSON member, or the blocks themselves."""
    stream = Joined(blocks)
    if stream.peek(512)[257:262] != b"ustar":
        return stream.blocks()
    return _tar_member(stream)


def _tar_member(stream: "Joined") -> Iterator[bytes]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as tar:  # type: ignore[call-overload]
            for member in tar:
                if not member.isfile() or not _is_ours(member.name):
                    continue
                inside = tar.extractfile(member)
                while inside is not None and (block := inside.read(BLOCK)):
                    yield block
                return
    except tarfile.TarError as error:
        raise Refused(f"The tar is damaged: {error}") from None
    raise Refused("The archive has no JSON file in it.")


def _zip_member(file: BinaryIO) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            found = [info for info in archive.infolist() if not info.is_dir() and _is_ours(info.filename)]
            if not found:
                raise Refused("The archive has no JSON file in it.")
            if found[0].flag_bits & 1:
                raise Refused("The archive is encrypted.")
            with archive.open(found[0]) as inside:
                while block := inside.read(BLOCK):
                    yield block
    except (zipfile.BadZipFile, DAMAGED, EOFError, NotImplementedError, ValueError) as error:
        raise Refused(f"The zip is damaged: {error}") from None


def _is_ours(name: str) -> bool:
    return name.lower().endswith((".json", ".jsonl", ".ndjson")) and not _NOT_OURS.search(name)


class Joined:
    """Blocks as a file that only goes forward."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks, self._held = blocks, b""

    def peek(self, size: int) -> bytes:
        while len(self._held) < size and (block := next(self._blocks, b"")):
            self._held += block
        return self._held[:size]

    def read(self, size: int) -> bytes:
        taken = self.peek(size)
        self._held = self._held[len(taken) :]
        return taken

    def blocks(self) -> Iterator[bytes]:
        if self._held:
            yield self._held
        yield from self._blocks


class Counted:
    """Blocks on their way in, counted against the limits on unpacked size and ratio."""

    def __init__(self, blocks: Iterator[bytes], packed: int, limits: Limits) -> None:
        self._blocks, self._packed, self._limits, self._total = blocks, packed, limits, 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self._total += len(block)
            if self._total > self._limits.unpacked:
                raise Refused(f"Unpacked, the file is larger than {self._limits.unpacked} bytes.")
            if self._total > _SLACK and self._total > self._packed * self._limits.ratio:
                raise Refused(f"The file is packed more than {self._limits.ratio}:1.")
            yield block


class Characters:
    """The decoded text with a place in it; ``more`` brings the next block."""

    def __init__(self, blocks: Counted, longest: int) -> None:
        self._blocks, self._longest = iter(blocks), longest
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self.held, self.at, self.is_over = "", 0, False

    def more(self) -> bool:
        """Hold at least one character more; False at the end of the file."""
        if self.is_over:
            return False
        if len(self.held) - self.at > self._longest:
            raise Refused(f"A record is longer than {self._longest} bytes.")
        # read as much again as is held, so that a long record is not parsed again for every block
        wanted, parts = max(BLOCK, len(self.held) - self.at), [self.held[self.at :]]
        while wanted > 0 and not self.is_over:
            block = next(self._blocks, b"")
            self.is_over = not block
            try:
                parts.append(self._decoder.decode(block, final=self.is_over))
            except UnicodeDecodeError:
                raise Refused("The file is not UTF-8.") from None
            wanted -= len(block)
        self.held, self.at = "".join(parts), 0
        return len(self.held) > 0

    def next(self) -> str:
        """The next character that is neither blank nor a comma, which stays; "" at the end."""
        while True:
            found = _SPACE.match(self.held, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self.held):
                return self.held[self.at]
            if not self.more():
                return ""

    def take(self, wanted: str) -> None:
        if self.next() != wanted:
            raise Refused(f"The JSON is broken: {wanted!r} expected, {self.next() or 'end of file'!r} found.")
        self.at += 1

    def value(self) -> Any:
        """The JSON value that begins here."""
        self.next()
        while True:
            try:
                found, end = _DECODER.raw_decode(self.held, self.at)
            except RecursionError:
                raise Refused(f"A record nests deeper than {text.MAX_DEPTH} levels.") from None
            except ValueError as error:
                if self.more():
                    continue
                raise Refused(f"The JSON is broken or ends too early: {error}") from None
            # a number may go on in the next block
            if end == len(self.held) and not isinstance(found, dict | list | str) and self.more():
                continue
            if end - self.at > self._longest:
                raise Refused(f"A record is longer than {self._longest} bytes.")
            self.at = end
            return found

    def line(self) -> str | None:
        """Up to the end of the line; None at the end of the file."""
        start = 0
        while (end := self.held.find("\n", self.at + start)) < 0:
            start = len(self.held) - self.at
            if not self.more():
                break
        if is_last := end < 0:
            taken, self.at = self.held[self.at :], len(self.held)
        else:
            taken, self.at = self.held[self.at : end], end + 1
        if len(taken) > self._longest:
            raise Refused(f"A record is longer than {self._longest} bytes.")
        return None if is_last and not taken else taken


def _items(chars: Characters) -> Iterator[Item]:
    first = chars.next()
    if first == "[":
        yield from _array(chars, "record")
    elif first == "{" and _is_lines(chars):
        yield from _lines(chars)
    elif first == "{":
        yield from _document(chars)
    elif first:
        raise Refused("The file is neither JSON nor an archive with JSON in it.")


def _is_lines(chars: Characters) -> bool:
    """Whether objects stand one per line, rather than one document."""
    while (end := chars.held.find("\n", chars.at)) < 0 and len(chars.held) - chars.at <= BLOCK and chars.more():
        pass
    line = (chars.held[chars.at : end] if end >= 0 else chars.held[chars.at :]).strip()
    if end < 0 and not chars.is_over:
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line.endswith("}") and line.startswith("{") and end >= 0
    is_document = isinstance(value, dict) and any(isinstance(value.get(key), list) for key in (*ARRAYS, "data"))
    return not is_document


def _lines(chars: Characters) -> Iterator[Item]:
    number = 0
    while (line := chars.line()) is not None:
        number += 1
        if line.strip():
            yield _line(line, number)


def _line(line: str, number: int) -> Item:
    try:
        value = text.loads(line)
    except RecursionError:
        raise Refused(f"Line {number} nests deeper than {text.MAX_DEPTH} levels.") from None
    except ValueError as error:
        return Item("record", {}, number, f"JSON parse error - {error}")
    return _checked("record", value, number)


def _checked(kind: str, value: Any, number: int) -> Item:
    if not isinstance(value, dict):
        return Item(kind, {}, number, "An object is expected.")
    problem = text.fault(value)
    if problem.startswith("More than"):
        raise Refused(f"Record {number}: {problem}")
    return Item(kind, value, number, problem)


def _array(chars: Characters, kind: str) -> Iterator[Item]:
    chars.take("[")
    number = 0
    while chars.next() != "]":
        number += 1
        yield _checked(kind, chars.value(), number)
    chars.take("]")


def _document(chars: Characters) -> Iterator[Item]:
    """One object: its plain keys are the header, told before the first array; an array ``data`` holds records."""
    chars.take("{")
    header: dict[str, Any] = {}
    is_told = False
    while chars.next() != "}":
        key = chars.value()
        chars.take(":")
        if key in ARRAYS and chars.next() == "[":
            if not is_told:
                is_told = True
                yield _checked("header", header, 0)
            yield from _array(chars, key)
        elif key == "data" and chars.next() == "[":
            is_told = True
            yield from _array(chars, "record")
        else:
            header[str(key)] = chars.value()
    chars.take("}")
    if not is_told:
        yield _checked("header" if "version_url" in header else "record", header, 1)
