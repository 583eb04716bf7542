"""Every row of the table of contract §3.3."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downloads.formats import normalise, terms, words

UUID = "0001a2b3-0000-4000-8000-000000000001"
SET = "a6eee223-cf3b-4079-8bb2-b77dad8cae9d"
ROW_TIME = "2008-03-29T00:00:00+00:00"


def record(**raw: Any) -> dict[str, Any]:
    row = {name.replace("__", ":") if "__" in name else f"dwc:{name}": value for name, value in raw.items()}
    return normalise.record(row, uuid=UUID, recordset=SET, modified=ROW_TIME, today="2026-11-22")


def media(raw: dict[str, Any]) -> dict[str, Any]:
    return normalise.media(raw, uuid=UUID, recordset=SET, modified=ROW_TIME)


def flags(found: dict[str, Any]) -> set[str]:
    return set(found.get("flags", [])) - {"dwc_basisofrecord_invalid"}


def test_text() -> None:
    """D40: text is lower-case, stripped, NFC; empty is absent."""
    found = record(country="  İSTANBUL ", county="", stateProvince="Cafe\u0301", municipality=" ")
    assert (found["country"], found["stateprovince"]) == ("i̇stanbul", "café")
    assert "county" not in found
    assert "municipality" not in found


def test_added_name() -> None:
    """D40: a name made from genus and epithet."""
    found = record(genus="Acer", specificEpithet="rubrum")
    assert found["scientificname"] == "acer rubrum"
    assert flags(found) == {"scientificname_added"}


def test_split_name() -> None:
    """D40: genus and epithet taken from a name."""
    found = record(scientificName="Puma concolor")
    assert (found["genus"], found["specificepithet"]) == ("puma", "concolor")
    assert flags(found) == {"genus_added", "specificepithet_added"}


@pytest.mark.parametrize("name", ["Asteraceae", "Acer sp.", "Acer sp", "Acer × alba", "Puma Linnaeus", "A. rubrum"])
def test_name_that_is_no_binomial(name: str) -> None:
    found = record(scientificName=name)
    assert "genus" not in found
    assert "specificepithet" not in found
    assert flags(found) == set()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("PreservedSpecimen", "preservedspecimen"),
        ("Preserved fossil", "preservedspecimen"),
        ("FossilSpecimen", "fossilspecimen"),
        ("Living Specimen", "livingspecimen"),
        ("MaterialSample", "materialsample"),
        ("specimen", "preservedspecimen"),
        ("MachineObservation", "machineobservation"),
        ("Observation", "humanobservation"),
        ("Occurrence", "occurrence"),
    ],
)
def test_basis_of_record(given: str, expected: str) -> None:
    """D40: the first hit wins."""
    found = record(basisOfRecord=given)
    assert found["basisofrecord"] == expected
    assert "flags" not in found


def test_bad_basis_of_record() -> None:
    """D40: a basis that is none is removed; an absent one is only invalid."""
    both = ["dwc_basisofrecord_invalid", "dwc_basisofrecord_removed"]
    assert record(basisOfRecord="FieldBook")["flags"] == both
    assert record(basisOfRecord="")["flags"] == both
    assert record()["flags"] == ["dwc_basisofrecord_invalid"]
    assert "basisofrecord" not in record(basisOfRecord="FieldBook")


@pytest.mark.parametrize(
    ("given", "expected", "earned"),
    [
        ("KINGDOM", "kingdom", set()),
        ("sp.", "species", {"dwc_taxonrank_replaced"}),
        ("ssp.", "subspecies", {"dwc_taxonrank_replaced"}),
        ("division", "phylum", {"dwc_taxonrank_replaced"}),
        ("foo", None, {"dwc_taxonrank_removed", "dwc_taxonrank_invalid"}),
    ],
)
def test_taxon_rank(given: str, expected: str | None, earned: set[str]) -> None:
    """D40: ranks in one spelling."""
    found = record(taxonRank=given)
    assert found.get("taxonrank") == expected
    assert flags(found) == earned


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("1987-08-21", "1987-08-21T00:00:00+00:00"),
        ("21 Aug 1987", "1987-08-21T00:00:00+00:00"),
        ("08/21/1987", "1987-08-21T00:00:00+00:00"),
        ("12/05/1987", "1987-12-05T00:00:00+00:00"),
        ("1987-08", "1987-08-01T00:00:00+00:00"),
        ("1987", "1987-01-01T00:00:00+00:00"),
        ("1987-08-21T10:11:12-05:00", "1987-08-21T10:11:12-05:00"),
        ("1987-08-21T10:11:12Z", "1987-08-21T10:11:12+00:00"),
        ("August 21st, 1987", "1987-08-21T00:00:00+00:00"),
        ("1987-08-21/1987-08-25", None),
        ("summer 1987", None),
        ("0000-00-00", None),
        ("2016-02-30", None),
        ("1987-08-21T25:00", None),
        ("1987-08-21T10:00:00+99:00", None),
    ],
)
def test_event_date(given: str, expected: str | None) -> None:
    """D40: dates in one form, or none."""
    found = record(eventDate=given)
    assert found.get("datecollected") == expected
    assert found["eventdate"] == given.lower()
    assert ("startdayofyear" in found) == (expected is not None)


def test_day_of_year() -> None:
    """D40: startdayofyear is that of datecollected."""
    assert record(eventDate="1987-08-21")["startdayofyear"] == 233


@pytest.mark.parametrize("bad", ["1987-08-21/1987-08-25", "summer 1987", "0000-00-00", "2016-02-30", ""])
def test_fallback_to_parts(bad: str) -> None:
    """D40: an unusable eventDate falls back to year, month and day."""
    assert record(eventDate=bad, year="2014", month="1", day="10")["datecollected"] == "2014-01-10"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("2014", "1", "10"), "2014-01-10"),
        (("2014", "1", ""), "2014-01-01"),
        (("2014", "", ""), "2014-01-01"),
        (("2014", "13", "40"), None),
        (("", "1", "10"), None),
        (("2014", "x", ""), None),
    ],
)
def test_parts(parts: tuple[str, str, str], expected: str | None) -> None:
    """D40: bare dates from parts."""
    assert record(year=parts[0], month=parts[1], day=parts[2]).get("datecollected") == expected


@pytest.mark.parametrize(
    ("date", "flagged"), [("1500-01-01", True), ("1500-01-02", False), ("2026-11-22", False), ("2026-11-23", True)]
)
def test_date_bounds(date: str, flagged: bool) -> None:
    """D40: dates out of bounds are kept and flagged."""
    found = record(eventDate=date)
    assert found["datecollected"].startswith(date)
    assert ("datecollected_bounds" in flags(found)) == flagged


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ca. 100-200", 100.0),
        ("-5", -5.0),
        ("100 ft", 100.0),
        ("1.2.3", 1.2),
        ("2 males, 1 female", 2.0),
        ("sea level", None),
        ("2,050 m", 2050.0),
        ("1e3", 1000.0),
        ("1e999", None),
        (".5", 0.5),
        ("\u22125", -5.0),
    ],
)
@pytest.mark.parametrize(
    ("source", "term"),
    [
        ("minimumElevationInMeters", "minelevation"),
        ("maximumDepthInMeters", "maxdepth"),
        ("coordinateUncertaintyInMeters", "coordinateuncertainty"),
        ("individualCount", "individualcount"),
    ],
)
def test_numbers(given: str, expected: float | None, source: str, term: str) -> None:
    """D40: the first number of the text."""
    assert record(**{source: given}).get(term) == expected


def point(lat: str, lon: str, datum: str = "WGS84") -> tuple[Any, set[str]]:
    found = record(decimalLatitude=lat, decimalLongitude=lon, geodeticDatum=datum)
    return found.get("geopoint"), flags(found)


def test_datums() -> None:
    """D40: no datum and an unknown one are flagged, NAD27 is shifted."""
    assert point("45.12345", "-120.25432") == ((45.12345, -120.25432), set())
    assert point("45.12345", "-120.25432", "") == ((45.12345, -120.25432), {"geopoint_datum_missing"})
    assert point("45.12345", "-120.25432", "Mars 2000") == ((45.12345, -120.25432), {"geopoint_datum_error"})
    shifted, earned = point("45.12345", "-120.25432", "NAD27")
    assert shifted == (pytest.approx(45.12327, abs=2e-4), pytest.approx(-120.25543, abs=2e-4))
    assert shifted[1] != -120.25432
    assert earned == set()


@pytest.mark.parametrize("datum", ["EPSG:4326", "World Geodetic System 1984", "WGS 84", "NAD83", "epsg:4269"])
def test_datums_that_shift_nothing(datum: str) -> None:
    assert point("45.12345", "-120.25432", datum) == ((45.12345, -120.25432), set())


@pytest.mark.parametrize("place", [("90.000", "0.000"), ("-90.000", "12.123"), ("12.345", "180.000")])
def test_shift_at_the_edges(place: tuple[str, str]) -> None:
    (lat, lon), _ = point(*place, "NAD27")
    assert -90 <= lat <= 90
    assert -180 <= lon <= 180


def test_points() -> None:
    """D40: precision, flips, bounds, zero and similar coordinates."""
    assert point("45.12", "-120.25432") == ((45.12, -120.25432), {"geopoint_low_precision"})
    assert point("45.12345", "-120.25")[1] == {"geopoint_low_precision"}
    assert point("45.123", "-120.254") == ((45.123, -120.254), set())
    assert point("95.123", "45.123") == ((45.123, 95.123), {"geopoint_pre_flip"})
    assert point("91", "181") == (None, {"geopoint_bounds"})
    assert point("NaN", "5") == (None, {"geopoint_bounds"})
    assert point("abc", "1") == (None, set())
    assert point("0.0000", "12.1234") == ((0.0, 12.1234), {"geopoint_0_coord"})
    assert point("12.1234", "-12.1234") == ((12.1234, -12.1234), {"geopoint_similar_coord"})


def test_lists() -> None:
    """D40: common names keep their case in a list, accessions are found."""
    found = record(vernacularName="Red Maple", associatedSequences="GenBank: AB123456; U12345 and more AB123456")
    assert found["commonname"] == "red maple"
    assert found["commonnames"] == ["Red Maple"]
    assert found["associatedsequences"] == ["AB123456", "U12345"]


def test_country_code() -> None:
    """D40: three letters from two, unless given."""
    found = record(countryCode="US")
    assert found["countrycode"] == "usa"
    assert flags(found) == {"idigbio_isocountrycode_added"}
    assert record(countryCode="US", idigbio__isoCountryCode="CAN")["countrycode"] == "can"
    assert "countrycode" not in record(countryCode="??")


def test_etag() -> None:
    """D40: SHA-1 of the compact array of keys and values by sorted key."""
    found = record(genus="Acer", family='"Sap"')
    expected = hashlib.sha1(b'["dwc:family","\\"Sap\\"","dwc:genus","Acer"]').hexdigest()
    assert found["etag"] == expected == record(family='"Sap"', genus="Acer")["etag"]


def test_flags_are_sorted_and_come_from_the_provider_too() -> None:
    found = record(flag_encoding_error__="x", countryCode="US", a="1")
    assert found["flags"] == sorted(found["flags"])
    raw = {"flag_encoding_error": "true"}
    assert "encoding_error" in normalise.record(raw, uuid=UUID, recordset=SET, modified=ROW_TIME)["flags"]


def test_quality_score() -> None:
    """D40: (filled scored fields, two always counted, minus flags) / 69."""
    found = record(
        basisOfRecord="PreservedSpecimen", genus="Acer", specificEpithet="rubrum", scientificName="Acer rubrum"
    )
    counted = {"basisofrecord", "genus", "specificepithet", "scientificname"}
    assert set(found) == counted | {"uuid", "recordset", "datemodified", "etag", "dqs"}
    assert found["dqs"] == (4 + 2) / 69
    assert record()["dqs"] == (2 - 1) / 69
    assert media({"dcterms:format": "image/jpeg", "ac:tag": "x", "flag_odd": "1"})["dqs"] == (3 - 1) / 11


def test_links() -> None:
    """D40: hasImage = hasMedia = any linked media."""
    bare = normalise.with_media({}, [])
    assert bare == {"hasImage": False, "hasMedia": False}
    assert normalise.with_media({}, ["u"]) == {"hasImage": True, "hasMedia": True, "mediarecords": ["u"]}
    assert normalise.with_records({}, ["u"]) == {"hasSpecimen": True, "records": ["u"]}
    assert normalise.with_records({}, []) == {"hasSpecimen": False}


def test_access_uri() -> None:
    """D40: dcterms:identifier only if the row has no ac: key."""
    assert media({"dcterms:identifier": "http://H/A"})["accessuri"] == "http://H/A"
    assert "accessuri" not in media({"dcterms:identifier": "http://H/A", "ac:tag": "leaf"})
    assert media({"ac:bestQualityAccessURI": "http://H/B", "ac:accessURI": ""})["accessuri"] == "http://H/B"


@pytest.mark.parametrize(
    ("form", "kind"), [("image/jpeg", "images"), ("audio/wav", "sounds"), ("video/mp4", "video"), ("text/html", None)]
)
def test_media_type(form: str, kind: str | None) -> None:
    """D40: by MIME major type."""
    found = media({"dc:format": form.upper()})
    assert found["format"] == form
    assert found.get("mediatype") == kind


@pytest.mark.parametrize(
    ("raw", "rights"),
    [
        ({"dcterms:rights": "http://creativecommons.org/licenses/by/3.0/"}, "BY"),
        ({"xmpRights:UsageTerms": "CC BY-NC-SA 4.0"}, "BY-NC-SA"),
        ({"dc:rights": "CC BY-NC"}, "BY-NC"),
        ({"dcterms:license": "https://creativecommons.org/publicdomain/zero/1.0/"}, "CC0"),
        ({"dcterms:rights": "Public Domain"}, "Public Domain"),
        ({"dcterms:rights": "CC BY", "dc:rights": "CC0", "xmpRights:WebStatement": "CC0 1.0"}, "CC0"),
        ({"dcterms:rights": "All rights reserved"}, None),
        ({"dcterms:rights": "the licensee must stand by it"}, None),
    ],
)
def test_licences(raw: dict[str, Any], rights: str | None) -> None:
    """D40: the majority licence of the rights fields."""
    assert media(raw).get("rights") == rights


def test_licence_links() -> None:
    """D40: the two links of a licence."""
    found = media({"dcterms:rights": "http://creativecommons.org/licenses/by/3.0/"})
    assert found["webstatement"] == "http://creativecommons.org/licenses/by/4.0/"
    assert found["licenselogourl"] == "https://i.creativecommons.org/l/by/4.0/88x31.png"


def test_pixels_are_not_swapped() -> None:
    """D40: x is x."""
    found = media({"exif:PixelXDimension": "640", "exif:PixelYDimension": "480 px"})
    assert (found["xpixels"], found["ypixels"]) == (640, 480)
    assert "xpixels" not in media({"exif:PixelXDimension": "99999999999"})


ANY_TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=40)
ANY_RAW = st.dictionaries(st.sampled_from(sorted(terms.RECORD_SOURCES | terms.MEDIA_SOURCES | {"x:y"})), ANY_TEXT)


@given(ANY_RAW)
def test_any_row_has_terms(raw: dict[str, str]) -> None:
    """D40: whatever is in the row, every value has the type its term promises."""
    found = normalise.record(raw, uuid=UUID, recordset=SET, modified=ROW_TIME)
    types = {
        "text": str,
        "word": str,
        "list": list,
        "float": float,
        "int": int,
        "bool": bool,
        "date": str,
        "point": tuple,
    }
    assert all(type(value) is types[terms.RECORD_TERM[name].kind] for name, value in found.items())
    also = media(raw)
    assert all(type(value) is types[terms.MEDIA_TERM[name].kind] for name, value in also.items())
    assert words.ROOM in normalise.words_text(found, raw)


def test_words_hold_index_and_provider_text() -> None:
    raw = {
        "dwc:genus": "Acer",
        "dwc:Identification": [{"dwc:identifiedBy": "Ada"}, {"n": 7}],
        "dwc:basisOfRecord": "fossil",
    }
    text = normalise.words_text(normalise.record(raw, uuid=UUID, recordset=SET, modified=ROW_TIME), raw)
    assert f"{words.MARK}genus{words.SAME} acer {words.MARK}" in text
    assert f"{words.MARK}data.dwc:genus{words.SAME} acer {words.MARK}" in text
    assert all(f" {word} " in text for word in ("ada", "7", "fossil", "fossilspecimen"))
