"""core.streams: what is built is read back by the standard library's readers and by Info-ZIP."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import errors, streams
from core.streams import zips

NOW = datetime(2026, 11, 22, 3, 49, 49, tzinfo=UTC)
METHODS = ["isal-0", "isal-1", "isal-2", "isal-3", "zlib-1", "zlib-6"]
chunks = st.lists(st.binary(max_size=3000), max_size=8)
names = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/\\"), min_size=1, max_size=30
).filter(lambda name: name not in {".", ".."})


def inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-15)
    plain = inflater.decompress(data) + inflater.flush()
    assert inflater.eof
    assert inflater.unused_data == b""
    return plain


class Void:
    """Counts bytes, keeps the last kilobytes."""

    def __init__(self) -> None:
        self.tail = b""

    def write(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-(1 << 16) :]


# --- deflate --------------------------------------------------------------------------------------------------


@given(
    method=st.sampled_from(METHODS), pieces=chunks, modes=st.lists(st.sampled_from(["sync", "full", None]), max_size=8)
)
def test_deflater_round_trip(method: str, pieces: list[bytes], modes: list[str | None]) -> None:
    deflater = streams.Deflater(method)
    out = b""
    for number, piece in enumerate(pieces):
        out += deflater.update(piece)
        mode = modes[number] if number < len(modes) else None
        if mode:
            out += deflater.flush(mode)  # type: ignore[arg-type]
    out += deflater.flush()
    plain = b"".join(pieces)
    assert inflate(out) == plain
    assert (deflater.size, deflater.crc, deflater.compressed) == (len(plain), zlib.crc32(plain), len(out))


@given(methods=st.lists(st.sampled_from(METHODS), min_size=1, max_size=5), data=st.data())
def test_independent_stretches_join_into_one_stream(methods: list[str], data: st.DataObject) -> None:
    out, plain, crc = b"", b"", 0
    for method in methods:
        piece = data.draw(st.binary(max_size=5000))
        deflater = streams.Deflater(method)
        out += deflater.update(piece) + deflater.flush(data.draw(st.sampled_from(["sync", "full"])))
        crc = streams.crc32_combine(crc, deflater.crc, deflater.size)
        plain += piece
    assert inflate(out + streams.FINAL) == plain
    assert crc == zlib.crc32(plain)


@pytest.mark.parametrize("method", ["isal-4", "zlib-0", "zlib-10", "zlib", "", "lzma-1", "isal--1", "zlib-"])
def test_unknown_method_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="unknown deflate method"):
        streams.Deflater(method)


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_crc32_combine_equals_the_sum_of_the_whole(first: bytes, second: bytes) -> None:
    assert streams.crc32_combine(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)
    assert streams.crc32(second, streams.crc32(first)) == zlib.crc32(first + second)


@given(crc=st.integers(0, 2**32 - 1), other=st.integers(0, 2**32 - 1), a=st.integers(0, 2**48), b=st.integers(0, 2**48))
def test_crc32_combine_is_associative_at_any_size(crc: int, other: int, a: int, b: int) -> None:
    step = streams.crc32_combine(streams.crc32_combine(crc, 0, a), other, b)
    assert step == streams.crc32_combine(crc, streams.crc32_combine(0, other, b), a + b)


def test_crc32_combine_refuses_a_negative_size() -> None:
    with pytest.raises(ValueError, match="negative"):
        streams.crc32_combine(1, 2, -1)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_stored_blocks_are_deflate(data: bytes, times: int) -> None:
    data = data * (1 + times * 400)
    assert inflate(streams.stored_blocks(data, final=True)) == data
    assert inflate(streams.stored_blocks(data) + streams.FINAL) == data


# --- gzip and tar ---------------------------------------------------------------------------------------------


@given(name=names, data=st.binary(max_size=3000), mtime=st.integers(0, 2**32 - 1))
def test_one_deflate_pass_feeds_tgz_and_zip(name: str, data: bytes, mtime: int) -> None:
    deflater = streams.Deflater("isal-1")
    middle = deflater.update(data) + deflater.flush("full")
    head = streams.tar_header(name, len(data), mtime=mtime)
    tail = streams.tar_padding(len(data)) + streams.TAR_END
    crc = streams.crc32(tail, streams.crc32_combine(streams.crc32(head), deflater.crc, deflater.size))
    tgz = streams.gzip_header() + streams.stored_blocks(head) + middle + streams.stored_blocks(tail, final=True)
    tgz += streams.gzip_trailer(crc, len(head) + len(data) + len(tail))
    assert gzip.decompress(tgz) == head + data + tail
    with tarfile.open(fileobj=io.BytesIO(tgz)) as archive:
        (member,) = archive.getmembers()
        assert (member.name, member.size, member.mtime, member.mode, member.uid, member.gid) == (
            name,
            len(data),
            mtime,
            0o644,
            0,
            0,
        )
        extracted = archive.extractfile(member)
        assert extracted is not None
        assert extracted.read() == data

    sink = io.BytesIO()
    with streams.Zip(sink, modified=NOW) as zipped:
        member_out = zipped.deflated(name)
        member_out.write(middle + streams.FINAL)
        member_out.finish(size=deflater.size, crc=deflater.crc)
    with zipfile.ZipFile(sink) as archive_in:
        assert archive_in.read(name) == data


@pytest.mark.parametrize("size", [0, 1, 8**11 - 1, 8**11, 2**40, 2**63])
def test_tar_header_of_any_size(size: int) -> None:
    header = streams.tar_header("export.json", size, mtime=1_763_783_470)
    member = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
    assert member.size == size
    assert (header[124] == 0x80) == (size >= 8 * 1024**3)
    assert header[257:265] == b"ustar\x0000"


def test_tar_names() -> None:
    long = "a" * 90 + "/" + "é" * 40
    assert tarfile.TarInfo.frombuf(streams.tar_header(long, 0, mtime=0), "utf-8", "strict").name == long
    for bad in ("", "a\0b", "x" * 101, "x" * 156 + "/" + "y" * 60, "a/" + "y" * 120):
        with pytest.raises(ValueError, match="name"):
            streams.tar_header(bad, 0, mtime=0)
    with pytest.raises(ValueError, match="octal"):
        streams.tar_header("a", 0, mtime=8**11)


# --- zip ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    members=st.dictionaries(
        names, st.tuples(chunks, st.sampled_from(["stream", "add", "parts", "deflated"])), max_size=6
    ),
    method=st.sampled_from(METHODS),
)
def test_zip_is_read_back(members: dict[str, tuple[list[bytes], str]], method: str) -> None:
    sink = io.BytesIO()
    unseekable = streams.Hashing(sink)
    with streams.Zip(unseekable, modified=NOW, method=method) as archive:
        for name, (pieces, way) in members.items():
            _write_member(archive, name, pieces, way, method)
    assert archive.size == len(sink.getvalue())
    with zipfile.ZipFile(sink) as read:
        assert read.testzip() is None
        assert read.namelist() == list(members)
        for info, (pieces, way) in zip(read.infolist(), members.values(), strict=True):
            assert read.read(info) == b"".join(pieces)
            assert info.date_time == (2026, 11, 22, 3, 49, 48)
            assert bool(info.flag_bits & 8) == (way in {"stream", "deflated"})
            assert bool(info.flag_bits & 0x800) == (not info.filename.isascii())
            assert info.extract_version == 20
            assert info.extra == b""


def _write_member(archive: streams.Zip, name: str, pieces: list[bytes], way: str, method: str) -> None:
    plain = b"".join(pieces)
    if way == "add":
        archive.add(name, plain)
        return
    if way == "stream":
        with archive.member(name) as member:
            for piece in pieces:
                member.write(piece)
        assert (member.entry.size, member.entry.crc) == (len(plain), zlib.crc32(plain))
        return
    deflater = streams.Deflater(method)
    parts = [deflater.update(piece) + deflater.flush("sync") for piece in pieces] + [deflater.flush()]
    if way == "parts":
        archive.add_parts(name, parts, size=deflater.size, crc=deflater.crc, compressed=deflater.compressed)
        return
    member = archive.deflated(name)
    for part in parts:
        member.write(part)
    member.finish(size=deflater.size, crc=deflater.crc)


def test_equal_input_gives_equal_bytes() -> None:
    def build() -> bytes:
        sink = io.BytesIO()
        with streams.Zip(sink, modified=NOW) as archive:
            archive.add("a.txt", b"alpha")
            with archive.member("b.txt", modified=NOW - timedelta(days=1)) as member:
                member.write(b"beta" * 1000)
        return sink.getvalue()

    assert build() == build()


# Info-ZIP where it is installed, else the interpreter's own tool.
UNZIP = [shutil.which("unzip") or "", "-t"] if shutil.which("unzip") else [sys.executable, "-m", "zipfile", "-t"]


def test_other_programs_accept_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    with path.open("wb") as file, streams.Zip(file, modified=NOW) as archive:
        archive.add("meta.xml", b"<archive/>")
        with archive.member("occurrence.csv") as member:
            for _ in range(100):
                member.write(b"coreid,dwc:genus\r\n" * 500)
        archive.add("été.txt", b"x")
        archive.add("empty", b"")
    done = subprocess.run([*UNZIP, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No errors detected" in done.stdout or "Done testing" in done.stdout


class Sparse(io.RawIOBase):
    """A seekable file in which long runs of one repeated block take no memory."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, int, bytes]] = []  # (start, end, data): data at start, then nothing we care for
        self.size = 0
        self.position = 0

    def add(self, data: bytes, gap: int = 0) -> None:
        self.pieces.append((self.size, self.size + len(data), data))
        self.size += len(data) + gap

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = (0, self.position, self.size)[whence] + offset
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self.size - self.position))
        data = bytearray(count)
        for start, end, piece in self.pieces:
            low, high = max(start, self.position), min(end, self.position + count)
            if low < high:
                data[low - self.position : high - self.position] = piece[low - start : high - start]
        buffer[:count] = data
        self.position += count
        return count


class Jumping:
    """A sink into a sparse file; ``jump`` pretends that so many bytes were written."""

    def __init__(self) -> None:
        self.file = Sparse()

    def write(self, data: bytes) -> None:
        self.file.add(data)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize(
    ("size", "compressed"), [(5 << 30, 1 << 20), (2**32 - 1, 1000), (5 << 30, 2**32 + 5), (2**32 - 2, 900)]
)
def test_zip64_member(size: int, compressed: int, is_known: bool) -> None:
    sink = Jumping()
    archive = streams.Zip(sink, modified=NOW)
    archive.add("first", b"one")
    known = functools.partial(archive.deflated, size=size, crc=0xCAFE, compressed=compressed)
    member = (known if is_known else archive.deflated)("big")
    _pretend(archive, sink, member, compressed)
    if is_known:
        member.close()
    else:
        member.finish(size=size, crc=0xCAFE)
    archive.add("last", b"three")
    archive.close()
    is_large = size >= 2**32 - 1 or compressed >= 2**32 - 1
    with zipfile.ZipFile(io.BufferedReader(sink.file)) as read:
        big = read.getinfo("big")
        assert (big.file_size, big.compress_size, big.CRC) == (size, compressed, 0xCAFE)
        assert big.extract_version == (45 if is_large else 20)
        assert read.read("first") == b"one"
        assert read.read("last") == b"three"  # beyond 4 GiB in one of the cases: its offset is 64 bits then
        assert read.getinfo("last").header_offset >= compressed
        with read.open("big") as opened:
            assert opened.name == "big"
    local = next(data for _, _, data in sink.file.pieces if data.startswith(b"PK\x03\x04") and b"big" in data)
    has_extra = struct.unpack_from("<H", local, 28)[0] > 0
    assert has_extra == (is_known and is_large)
    if is_known and is_large:
        assert struct.unpack("<HHQQ", local[-20:]) == (1, 16, size, compressed)
    if not is_known:
        after = next(data for _, _, data in sink.file.pieces if data.startswith(b"PK\x07\x08"))
        assert len(after) == (24 if is_large else 16)
        assert struct.unpack("<QQ" if is_large else "<LL", after[8:]) == (compressed, size)


def _pretend(archive: streams.Zip, sink: Jumping, member: streams.Member, compressed: int) -> None:
    """Advance every count as if ``compressed`` bytes had been written."""
    sink.file.size += compressed
    archive.size += compressed
    member._written += compressed


def test_more_than_65535_members() -> None:
    sink = io.BytesIO()
    with streams.Zip(sink, modified=NOW, method="isal-0") as archive:
        for number in range(66_000):
            archive.deflated(f"{number}", size=0, crc=0, compressed=2).write(streams.FINAL)
            assert archive._open is not None
            archive._open.close()
    with zipfile.ZipFile(sink) as read:
        assert len(read.namelist()) == 66_000
        assert read.read("65999") == b""


@pytest.mark.parametrize("count", [0xFFFE, 0xFFFF])
def test_end_records_use_zip64_only_where_needed(count: int) -> None:
    assert zips.end_of_directory(count, 10, 20).startswith(b"PK\x06\x06" if count == 0xFFFF else b"PK\x05\x06")
    assert zips.end_of_directory(1, 10, 2**32 - 1).startswith(b"PK\x06\x06")


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), (1980, 1, 1, 0, 0, 0)),
        (datetime(2200, 1, 1, tzinfo=UTC), (2107, 12, 31, 23, 59, 58)),
        (datetime(2026, 1, 1, 0, 30, 3, tzinfo=timezone(timedelta(hours=1))), (2025, 12, 31, 23, 30, 2)),
        (datetime(2026, 1, 1, 0, 30, 3), (2026, 1, 1, 0, 30, 2)),  # noqa: DTZ001 - naive means UTC here
    ],
)
def test_member_times(moment: datetime, shown: tuple[int, ...]) -> None:
    sink = io.BytesIO()
    with streams.Zip(sink, modified=moment) as archive:
        archive.add("a", b"")
    with zipfile.ZipFile(sink) as read:
        assert read.getinfo("a").date_time == shown


def test_bytes_that_reach_the_sink_by_another_way_are_counted() -> None:
    sink = io.BytesIO()
    plain = b"specimens " * 1000
    deflater = streams.Deflater()
    body = deflater.update(plain) + deflater.flush()
    with streams.Zip(sink, modified=NOW) as archive:
        with archive.deflated("a", size=len(plain), crc=deflater.crc, compressed=len(body)) as member:
            member.write(body[:7])
            sink.write(body[7:])
            member.passed(len(body) - 7)
        with pytest.raises(ValueError, match="open member"):
            member.passed(1)
        archive.add("b", b"behind it")
        with pytest.raises(ValueError, match="deflated already"), archive.member("c") as packing:
            packing.passed(1)
        packing.close()
    with zipfile.ZipFile(sink) as read:
        assert (read.testzip(), read.read("a"), read.read("b")) == (None, plain, b"behind it")


def test_misuse_of_a_zip_is_refused() -> None:
    archive = streams.Zip(Void(), modified=NOW)
    for bad in ("", "/abs", "a\\b", "a\0", "x" * 70_000):
        with pytest.raises(ValueError, match="not a member name"):
            archive.add(bad, b"")
    archive.add("a", b"")
    with pytest.raises(ValueError, match="two members"):
        archive.add("a", b"")
    member = archive.deflated("b", size=5, crc=1, compressed=7)
    with pytest.raises(ValueError, match="still open"):
        archive.add("c", b"")
    with pytest.raises(ValueError, match="still open"):
        archive.close()
    member.write(b"1234")
    with pytest.raises(ValueError, match="4 bytes instead of 7"):
        member.close()
    member.write(b"567")
    member.close()
    with pytest.raises(ValueError, match="closed member"):
        member.write(b"8")
    unknown = archive.deflated("d")
    with pytest.raises(ValueError, match="finish"):
        unknown.close()
    unknown.finish(size=0, crc=0)
    archive.close()
    with pytest.raises(ValueError, match="archive is closed"):
        archive.add("e", b"")


def test_a_failed_archive_has_no_directory() -> None:
    sink = io.BytesIO()
    with pytest.raises(RuntimeError), streams.Zip(sink, modified=NOW) as archive:  # noqa: PT012 - the point is the exit
        archive.add("a", b"data")
        raise RuntimeError
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(sink)


# --- sinks and readers ----------------------------------------------------------------------------------------


@given(pieces=chunks, size=st.integers(1, 4000), threaded=st.booleans())
def test_sinks_lose_nothing(pieces: list[bytes], size: int, threaded: bool) -> None:
    plain = b"".join(pieces)
    left, right, blocks_seen = io.BytesIO(), io.BytesIO(), []

    class Seen:
        def write(self, data: bytes) -> None:
            blocks_seen.append(len(data))
            right.write(data)

    with (
        streams.Hashing(streams.Tee(left, Seen()), threaded=threaded) as hashing,
        streams.Blocks(hashing, size) as blocks,
    ):
        for piece in pieces:
            blocks.write(piece)
    assert left.getvalue() == right.getvalue() == plain
    assert (hashing.size, hashing.crc, hashing.sha256) == (
        len(plain),
        zlib.crc32(plain),
        hashlib.sha256(plain).hexdigest(),
    )
    assert all(block >= size for block in blocks_seen[:-1])


def test_a_closed_hashing_thread_takes_no_more() -> None:
    hashing = streams.Hashing(threaded=True)
    hashing.write(b"a")
    assert hashing.sha256 == hashlib.sha256(b"a").hexdigest()
    with pytest.raises(ValueError, match="closed"):
        hashing.write(b"b")


def test_an_error_of_the_hashing_thread_comes_out() -> None:
    hashing = streams.Hashing(threaded=True)
    with pytest.raises(TypeError):
        _write_often(hashing, "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        hashing.close()


def _write_often(hashing: streams.Hashing, data: bytes) -> None:
    for _ in range(50):
        hashing.write(data)
    hashing.close()


@given(data=st.binary(max_size=5000), limit=st.integers(0, 5000), size=st.integers(1, 700))
def test_reading_stops_at_the_limit(data: bytes, limit: int, size: int) -> None:
    as_blocks = [data[start : start + size] for start in range(0, len(data), size)]
    for source in (io.BytesIO(data), as_blocks):
        if len(data) <= limit:
            assert streams.read_all(source, limit=limit) == data
            continue
        with pytest.raises(errors.TooLarge) as caught:
            streams.read_all(source, limit=limit)
        assert caught.value.details["limit"] == limit


def test_an_endless_source_is_left_at_the_limit() -> None:
    asked = []

    def endless() -> object:
        while True:
            asked.append(1)
            yield b"x" * 1000

    with pytest.raises(errors.TooLarge):
        streams.read_all(endless(), limit=10_000)
    assert len(asked) == 11
