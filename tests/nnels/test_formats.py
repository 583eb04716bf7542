"""Pure layouts and parsers: whatever the bytes, a value or a domain error."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import errors
from nnels.formats import (
    dates,
    epub_writer,
    isbn,
    languages,
    marc,
    metadata,
    rate,
    recognise,
    report,
    sidecar,
    text,
    xml,
)

quick = settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@quick
@given(st.text(max_size=80))
def test_folding_is_stable(said: str) -> None:
    """N39: folding twice changes nothing, and no control character or NUL is left."""
    folded = text.plain(said)
    assert text.plain(folded) == folded
    assert "\0" not in folded
    assert text.words(text.words(said)) == text.words(said)


@pytest.mark.parametrize(
    ("said", "folded"),
    [
        ("Été  QUÉBÉCOIS", "ete quebecois"), ("Straße", "strasse"), ("ŒUVRE", "oeuvre"), ("Ｍｏｂｙ", "moby"),
        ("Ὀδύσσεια", "οδυσσεια"), ("Ёлка", "елка"), ("שָׁלוֹם", "שלום"), ("كِتَاب", "كتاب"),
        ("がぎ", "がぎ"), ("a\0b", "a b"),
    ],
)  # fmt: skip
def test_folding(said: str, folded: str) -> None:
    """N39: case, accents and width of many scripts; kana keep their marks."""
    assert text.plain(said) == folded


@quick
@given(st.text(max_size=60))
def test_queries(said: str) -> None:
    """N42: any keywords are a query or one of three refusals, and every term is quoted."""
    try:
        query = text.query(said)
    except errors.Invalid as refused:
        assert refused.message.startswith("Search keywords are")  # noqa: PT017 - either outcome is right
        return
    outside = "".join(query.positive.split('"')[::2]) + "".join(query.negative.split('"')[::2])
    assert set(outside.split()) <= {"or", "oror"} or not outside.strip() or set(outside.split()) == {"or"}


def test_query_parts() -> None:
    """N41: phrases, alternatives and exclusions; words with hyphens; no operator at an end."""
    query = text.query('white "moby dick" or -"killer whale" -shark or baleine Moby-Dick or')
    assert query.positive == '"white" "moby dick" or "baleine" "moby" "dick"'
    assert query.negative == '"killer whale" or "shark"'
    assert text.query("猫である").positive == '"猫 で あ る"'
    assert text.query("l'or").positive == '"l" "or"'


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("9780142437247", "9780142437247"), ("0-14-243724-7", "9780142437247"),
        ("ISBN 978-0-14-243724-7", "9780142437247"),
        ("urn:isbn:0142437247", "9780142437247"), ("080442957X", "9780804429573"), ("9780142437248", None),
        ("0142437248", None), ("977014243724", None), ("", None), ("x" * 100, None),
    ],
)  # fmt: skip
def test_isbn(said: str, number: str | None) -> None:
    """N42: check digits decide."""
    assert isbn.to_13(said) == number


@pytest.mark.parametrize(("said", "code"), [("fr", "fra"), ("fre", "fra"), ("FRA", "fra"), ("fr-CA", "fra"),
                                            ("ger", "deu"),
                                            ("zh_TW", "zho"), ("xyz", "xyz"), ("french", None),
                                            ("", None)])  # fmt: skip
def test_languages(said: str, code: str | None) -> None:
    """N39: B, T, two-letter and BCP 47 codes; well-formed unknown ones are kept."""
    assert languages.to_t(said) == code


def test_language_table() -> None:
    """N39: every code leads to a T code with a name, and back to a tag."""
    names = languages.labels()
    assert len(names) > 200
    assert all(languages.to_t(code) == code for code in names)
    assert (languages.to_bcp47("eng"), languages.to_bcp47("grc")) == ("en", "grc")


@pytest.mark.parametrize(("said", "date"), [("c1851.", "1851"), ("[1997]", "1997"), ("2004-05-06T10:00Z", "2004-05-06"),
                                            ("2004-13-01", "2004"), ("2004-02-30", "2004-02"), ("soon", None),
                                            ("0000", None),
                                            ("12345", None)])  # fmt: skip
def test_dates(said: str, date: str | None) -> None:
    """N27: the partial date in what catalogues write."""
    assert dates.find(said) == date


def test_durations() -> None:
    """N27: SMIL clock values and ISO 8601."""
    said = {
        "1:02:03.5": 3723,
        "02:03": 123,
        "95.2s": 95,
        "3h": 10_800,
        "5min": 300,
        "PT1H2M3S": 3723,
        "12": 12,
        "x": None,
    }
    assert {one: dates.seconds(one) for one in said} == said
    assert [dates.iso_duration(one) for one in (0, 59, 3600, 3723, None)] == ["PT0S", "PT59S", "PT1H", "PT1H2M3S", None]


@quick
@given(st.binary(max_size=300), st.sampled_from(["a.epub", "a.zip", "a.txt", "a.brf", "a.html", "a"]))
def test_any_bytes(data: bytes, name: str) -> None:
    """N46: any bytes are recognised or refused with a reason."""
    try:
        found = recognise.file(io.BytesIO(data), name=name)
    except metadata.Rejected as refused:
        assert refused.code in {"unknown_format", "bad_epub", "bad_daisy", "too_large", "unsafe_path"}  # noqa: PT017
        return
    assert found.format in recognise.MEDIA_TYPES


@quick
@given(st.binary(max_size=300), st.sampled_from(["a.csv", "a.tsv", "a.xml"]))
def test_any_sidecar(data: bytes, name: str) -> None:
    """N46: any bytes are a table or unreadable as a whole."""
    try:
        table = sidecar.read(data, name=name)
    except sidecar.Unreadable:
        return
    assert isinstance(table.titles, list)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=40).filter(str.strip)


@quick
@given(title=WORDS, creator=WORDS, paragraph=WORDS, language=st.sampled_from(["eng", "fra", "heb", "jpn"]))
def test_epub_round_trip(title: str, creator: str, paragraph: str, language: str) -> None:
    """N45: what is written into an EPUB is read back, byte-identical on every run."""
    book = epub_writer.Book(
        uuid="1b4e28ba-2fa1-4d3b-a3f5-ef19b5a7633b", title=title, creators=[creator], language=language,
        chapters=[(title, [paragraph])], modified="2020-01-01T00:00:00Z", date="1851", isbn="9780142437247",
    )  # fmt: skip
    data = epub_writer.build(book)
    assert epub_writer.build(book) == data
    found = recognise.file(io.BytesIO(data), name="x.epub")
    assert found.format == "epub"
    assert found.metadata.title == metadata.clean(title)
    assert found.metadata.creators == metadata.unique([creator])
    assert (found.metadata.languages, found.metadata.isbn) == ([language], ["9780142437247"])
    assert found.metadata.uuid == book.uuid


def test_xml_is_bounded() -> None:
    """N46: entity declarations, deep nesting and size are refused; a plain DOCTYPE is not."""
    laughs = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    for bad in (laughs.encode(), laughs.encode("utf-16"), b"<a>" * 10, b"<a/>" + b" " * (xml.LIMIT + 1), b"", b"\0"):
        with pytest.raises(xml.Broken):
            xml.parse(bad)
    assert xml.local(xml.parse(b'<!DOCTYPE a PUBLIC "x" "http://example.org/a.dtd"><a/>')) == "a"


def test_small_things() -> None:
    """N46: names for downloads, guarded cells, ISBD punctuation, rates."""
    name = report.filename('L\'été: "a/b"\r\n', "978", format_code="mp3", extension="zip", part=2)
    assert name == "L_été_a_b_978_mp3_2.zip"
    assert report.filename("!!!", "", format_code="txt", extension="txt", part=1) == "title.txt"
    assert [report.guard(cell) for cell in ("=1", "+1", "-1", "@x", "a=1", "")] == [
        "'=1",
        "'+1",
        "'-1",
        "'@x",
        "a=1",
        "",
    ]
    assert [marc.trim(one) for one in ("Moby-Dick /", "Wells, H. G.", "Harper,", "[1999]", "Etc...")] == [
        "Moby-Dick", "Wells, H. G.", "Harper", "1999", "Etc...",
    ]  # fmt: skip
    assert [rate.parse(one) for one in ("5000/day", "3 / second", "0/day", "x", "5/week")] == [
        (5000, 86_400), (3, 1), None, None, None,
    ]  # fmt: skip
