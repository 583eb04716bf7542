"""Archives as strangers send them: odd, but meant well, or damaged on the way (contract 6.2, 6.3)."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import orjson
import pytest

from downloads.formats import archive_in

DWC = "http://rs.tdwg.org/dwc/terms/"


def described(attributes: str = "", *, file: str = "o.csv") -> bytes:
    """A descriptor of one core with id and genus."""
    return (
        f'<archive xmlns="http://rs.tdwg.org/dwc/text/"><core {attributes} rowType="{DWC}Occurrence">'
        f'<files><location>{file}</location></files><id index="0"/>'
        f'<field index="1" term="{DWC}genus"/></core></archive>'
    ).encode()


def zipped(folder: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path = folder / "odd.zip"
    with zipfile.ZipFile(path, "w", method) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def read(path: Path) -> list[dict[str, str] | str]:
    """The rows of all tables; of a row set aside its reason. Every row can be stored as JSON."""
    with archive_in.opened(path) as opened:
        found = [row for table in opened.tables for row in opened.rows(table)]
    for row in found:
        orjson.dumps([row.file, row.raw if isinstance(row, archive_in.Row) else row.text])
    return [row.raw if isinstance(row, archive_in.Row) else row.reason for row in found]


def refusal(path: Path) -> str:
    with pytest.raises(archive_in.Unreadable) as refused:
        read(path)
    return refused.value.message


@pytest.mark.parametrize("encoding", ["idna", "punycode", "undefined", "rot13", "base64", "no-such"])
def test_encodings_that_are_none(tmp_path: Path, encoding: str) -> None:
    """D43: what no file can be written in is refused by the descriptor, in one sentence."""
    path = zipped(tmp_path, {"meta.xml": described(f'encoding="{encoding}"'), "o.csv": b"1,Acer\n"})
    assert refusal(path) == "The descriptor meta.xml names an unknown encoding."


@pytest.mark.parametrize(
    ("encoding", "cell"),
    [
        ("utf-8", b"a\xff"),
        ("utf-16", codecs.BOM_UTF16_LE + "1,a".encode("utf-16-le") + b"\x00\xd8"),
        ("utf-32", codecs.BOM_UTF32_LE + "1,a".encode("utf-32-le") + b"\x00\x00\xff\xff"),
        ("hz", b"a~q"),
        ("iso2022_jp", b"a\x1b$B!\n"),
        ("unicode_escape", b"a\\xz"),
        ("shift_jis", b"a\x81"),
    ],
)
def test_undecodable_bytes_in_any_encoding(tmp_path: Path, encoding: str, cell: bytes) -> None:
    """D42: undecodable bytes become U+FFFD and the row is flagged, whatever the encoding; no other row is."""
    before, after = (f"{row}\n".encode(encoding) for row in ("0,good", "2,good"))
    if encoding.startswith("utf-") and encoding != "utf-8":
        line, before = cell + f"{chr(10)}".encode(f"{encoding}-le"), b""
        after = "2,good\n".encode(f"{encoding}-le")
    else:
        line = b"1," + cell + b"\n"
    path = zipped(tmp_path, {"meta.xml": described(f'encoding="{encoding}"'), "o.csv": before + line + after})
    rows = [row for row in read(path) if isinstance(row, dict)]
    (bad,) = [row for row in rows if "flag_encoding_error" in row]
    assert bad["dwc:genus"].startswith("a\ufffd") or bad["dwc:genus"].startswith("\ufffd")


def test_a_tab_written_as_it_is(tmp_path: Path) -> None:
    """D41: XML makes a space of a tab within an attribute; the file is delimited by tabs all the same."""
    meta = described('fieldsTerminatedBy="\t" ignoreHeaderLines="1"')
    path = zipped(tmp_path, {"meta.xml": meta, "o.csv": b"id\tgenus\n1\tAcer, sp.\n"})
    assert read(path) == [{"id": "1", "dwc:genus": "Acer, sp."}]


def test_the_last_header_line_counts_the_columns(tmp_path: Path) -> None:
    """D42: what stands above the names of the columns may have any number of cells."""
    head = b"# made, by, some, program\n\nid,genus,notes\n"
    path = zipped(tmp_path, {"meta.xml": described('ignoreHeaderLines="3"'), "o.csv": head + b"1,Acer,x\n2,Puma\n"})
    assert read(path) == [{"id": "1", "dwc:genus": "Acer"}, "wrong_column_count"]


def test_columns_the_descriptor_does_not_speak_of(tmp_path: Path) -> None:
    """D42: without a header, rows are as wide as the descriptor says or as the first one; others are set aside."""
    rows = b"1,Acer,more,than\n2,Puma\n3,Lynx,x\n4,Felis,y,z\n5\n"
    path = zipped(tmp_path, {"meta.xml": described(), "o.csv": rows})
    found = read(path)
    genera = [row if isinstance(row, str) else row["dwc:genus"] for row in found]
    assert genera == ["Acer", "Puma", "wrong_column_count", "Felis", "wrong_column_count"]


def test_locations_and_names_in_other_spellings(tmp_path: Path) -> None:
    """D41: `./a.csv` is a.csv, and a backslash in a member's name (old Windows packers) is a slash."""
    one = [{"id": "1", "dwc:genus": "Acer"}]
    assert read(zipped(tmp_path, {"meta.xml": described(file="./o.csv"), "o.csv": b"1,Acer\n"})) == one
    meta = described('fieldsTerminatedBy=";"')
    assert read(zipped(tmp_path, {"set\\meta.xml": meta, "set\\o.csv": b"1;Acer\n", "set\\": b""})) == one


def test_an_enclosure_that_is_the_delimiter(tmp_path: Path) -> None:
    """D43: a descriptor that contradicts itself is refused."""
    meta = described('fieldsTerminatedBy="|" fieldsEnclosedBy="|"')
    path = zipped(tmp_path, {"meta.xml": meta, "o.csv": b"1|Acer\n"})
    assert refusal(path) == "The descriptor meta.xml names an enclosure that is not understood."


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("bom.csv", "\ufeffid,genus\n1,Acer\n".encode(), {"id": "1", "dwc:genus": "Acer"}),
        ("excel.txt", "id\tgenus\n1\tAcér\n".encode("utf-16"), {"id": "1", "dwc:genus": "Acér"}),
        (
            "wide.tsv",
            codecs.BOM_UTF16_BE + "id\tgenus\n1\tAcér\n".encode("utf-16-be"),
            {"id": "1", "dwc:genus": "Acér"},
        ),
        ("widest.csv", "id,genus\n1,Acér\n".encode("utf-32"), {"id": "1", "dwc:genus": "Acér"}),
        ("mac.csv", b"id,genus\r1,Acer\r", {"id": "1", "dwc:genus": "Acer"}),
        ("blank.csv", b"\n\r\nid,genus\n1,Acer\n", {"id": "1", "dwc:genus": "Acer"}),
        (
            "latin.csv",
            "id,país,genus\n1,Perú,Acer\n".encode("latin-1"),
            {"id": "1", "pa\ufffds": "Per\ufffd", "dwc:genus": "Acer", "flag_encoding_error": "true"},
        ),
    ],
)
def test_lone_files(tmp_path: Path, name: str, data: bytes, expected: dict[str, str]) -> None:
    """D41: a lone CSV or TSV as spreadsheets write it: byte order marks, wide encodings, bare CR, blank lines."""
    path = tmp_path / name
    path.write_bytes(data)
    assert read(path) == [expected]


@pytest.mark.parametrize("data", [b"", b"<html><body>Please log in</body></html>", b'{"error": "x"}', b"a,b\n1,2\n"])
def test_lone_files_that_are_something_else(tmp_path: Path, data: bytes) -> None:
    """D43: what has no column of Darwin Core is refused, not taken for an archive without rows."""
    path = tmp_path / "page.csv"
    path.write_bytes(data)
    assert refusal(path) == "The first line of page.csv names no column of Darwin Core."


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    """D42: the file a row stood in can be named in the report whatever bytes its name has."""
    path = tmp_path / "names.tar"
    with tarfile.open(path, "w") as target:
        info = tarfile.TarInfo("caf\udce9.csv")
        info.size = len(b"id,genus\n1\n")
        target.addfile(info, io.BytesIO(b"id,genus\n1\n"))
    assert read(path) == ["wrong_column_count"]


# -- damaged on the way ------------------------------------------------------------------------------------------------

MANY = b"".join(b"%d,genus%d\n" % (n, n * n) for n in range(400))
MEMBERS = {"meta.xml": described(), "o.csv": MANY}


def tarred(mode: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as target:  # type: ignore[call-overload]
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            target.addfile(info, io.BytesIO(data))
    return out.getvalue()


def test_a_damaged_tar_gz_is_refused(tmp_path: Path) -> None:
    """D43: a byte of a tar.gz that is not what it was is noticed by the sum at its end: never other rows than sent."""
    good, path = tarred("w:gz"), tmp_path / "bad.tar.gz"
    path.write_bytes(good)
    whole = read(path)
    assert len(whole) == 400
    for place in range(40, len(good), 41):
        data = bytearray(good)
        data[place] ^= 0x10
        path.write_bytes(data)
        assert refusal(path)
    for size in range(20, len(good), 61):
        path.write_bytes(good[:size])
        assert refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_zip_is_refused(tmp_path: Path, method: int) -> None:
    """D43: whatever byte of a zip is changed, its rows come out as they were, or one sentence does."""
    path = zipped(tmp_path, MEMBERS, method)
    good, whole = path.read_bytes(), read(path)
    refused = 0
    for place in [*range(0, len(good), 61), *range(len(good) - 200, len(good), 2)]:
        for bits in (0xFF, 0x01):
            data = bytearray(good)
            data[place] ^= bits
            path.write_bytes(data)
            try:
                assert read(path) == whole
            except archive_in.Unreadable:
                refused += 1
    assert refused > 20
    for size in range(0, len(good), 23):
        path.write_bytes(good[:size])
        assert refusal(path) == "The file is not a zip archive, or it is cut short."


def test_a_member_without_a_name(tmp_path: Path) -> None:
    """D43: a nameless member is passed over."""
    path = zipped(tmp_path, MEMBERS | {"x": b""})
    data = path.read_bytes()
    place = data.rindex(b"PK\x01\x02")
    record = bytearray(data[place : place + 46])
    record[28:30] = b"\0\0"
    record[30:32] = b"\1\0"  # what was its name is its extra field now
    path.write_bytes(data[:place] + record + data[place + 46 :])
    assert len(read(path)) == 400


def test_packed_by_an_unknown_method(tmp_path: Path) -> None:
    """D43: a method this service does not know is said to be that, not called damage."""
    path = zipped(tmp_path, MEMBERS)
    data = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        place = data.index(sign)
        data[place + offset] = 9  # deflate64, as Windows packs large files
    path.write_bytes(data)
    assert refusal(path) == "The archive is packed by a method that is not known here."


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_but_no_archive(tmp_path: Path, pack: object) -> None:
    """D43: a packed table is not called damaged."""
    assert callable(pack)
    path = tmp_path / "table.csv.gz"
    path.write_bytes(pack(b"id,genus\n1,Acer\n"))
    assert refusal(path).startswith("The file is not a zip")


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D43: a file the system keeps from us is one sentence too."""
    path = zipped(tmp_path, MEMBERS)
    opened = Path.open

    def refuse(self: Path, *arguments: object, **options: object) -> object:
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(path) == "The archive cannot be read: Permission denied."


def test_members_of_a_tar_are_counted(tmp_path: Path) -> None:
    """D43: folders are members too, in a tar as in a zip."""
    path = tmp_path / "folders.tar"
    with tarfile.open(path, "w") as target:
        for number in range(5):
            info = tarfile.TarInfo(f"f{number}")
            info.type = tarfile.DIRTYPE
            target.addfile(info)
    with pytest.raises(archive_in.Unreadable, match="more than 4 members"):
        archive_in.opened(path, limits=archive_in.Limits(members=4))
