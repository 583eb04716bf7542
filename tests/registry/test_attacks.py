"""Hostile sources: addresses, sizes, encodings, XML (contract 8)."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from lxml import etree
from pytest_django import Settings

from core import egress
from registry.demo import source as demo_source
from registry.formats import boxes, iso, listing, samples, validation
from registry.jobs import ckan
from registry.models import Harvest, HarvestRun, Record
from tests.registry.conftest import run

Add = Callable[..., Harvest]


# --- XML ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16", "ISO-8859-1", "UTF-16LE-BOM", "UTF-8-BOM"])
def test_encodings(encoding: str) -> None:
    """X39: UTF-16, a byte order mark and ISO-8859-1 parse."""
    if encoding == "UTF-8-BOM":
        document = b"\xef\xbb\xbf" + samples.iso19139(1)
    elif encoding == "UTF-16LE-BOM":
        text = samples.iso19139(1).decode().replace('encoding="UTF-8"', 'encoding="UTF-16"')
        document = b"\xff\xfe" + text.encode("utf-16-le")
    else:
        document = samples.iso19139(1, encoding=encoding)
    verdict = validation.validate(document)
    assert verdict.is_valid
    assert verdict.extract is not None
    assert verdict.extract.title == "Température de surface de la mer, station 1"


EXTERNAL = b"""<?xml version="1.0"?><!DOCTYPE gmd:MD_Metadata [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<gmd:MD_Metadata xmlns:gmd="http://www.isotc211.org/2005/gmd" xmlns:gco="http://www.isotc211.org/2005/gco">
<gmd:fileIdentifier><gco:CharacterString>&x;</gco:CharacterString></gmd:fileIdentifier></gmd:MD_Metadata>"""
PARAMETER = EXTERNAL.replace(
    b'<!ENTITY x SYSTEM "file:///etc/passwd">', b'<!ENTITY % p SYSTEM "http://127.0.0.1:9/">%p;'
)
SUBSET = EXTERNAL.replace(b'<!ENTITY x SYSTEM "file:///etc/passwd">', b"<!ELEMENT a ANY>").replace(b"&x;", b"x")


@pytest.mark.parametrize("document", [samples.dtd_bomb(), EXTERNAL, PARAMETER, SUBSET])
def test_dtds(document: bytes) -> None:
    """X39: a DTD bomb, external and parameter entities and internal subsets are bad and harmless."""
    verdict = validation.validate(document)
    assert not verdict.is_valid
    assert len(verdict.issues) == 1
    assert verdict.issues[0].line is not None
    assert "root:" not in str(verdict)


def test_xinclude_and_depth() -> None:
    """X39: XInclude is not followed, and nesting beyond libxml2's limits is an error, not a crash."""
    included = EXTERNAL.replace(b'<!DOCTYPE gmd:MD_Metadata [<!ENTITY x SYSTEM "file:///etc/passwd">]>', b"").replace(
        b"&x;", b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'
    )
    assert "root:" not in str(validation.validate(included))
    deep = b"<a>" * 100_000 + b"</a>" * 100_000
    assert validation.validate(deep).issues[0].stage == "parse"


@pytest.mark.parametrize(
    ("document", "is_good"),
    [
        (samples.iso19139(1), True),
        (samples.iso19139(1, root="gmi"), True),
        (samples.service(7), True),
        (samples.iso19115_3(8), True),
        (samples.iso19115_3(8, version="1.0"), True),
        (samples.service(7, broken=True), False),
        (samples.iso19115_3(8, without="contact"), False),
        (samples.iso19115_3(8, without="dateInfo"), False),
        (samples.iso19115_3(8, without="identificationInfo"), False),
        (samples.iso19139(1).replace(b"http://www.opengis.net/gml/3.2", b"http://www.opengis.net/gml"), True),
        (b"<a/>", False),
        (b"", False),
    ],
)
def test_standards(document: bytes, is_good: bool) -> None:
    """X37: gmd, gmi, service and 19115-3 records are good; incomplete ones are bad."""
    assert validation.validate(document).is_valid is is_good


def test_old_gml() -> None:
    """X37: GML older than 3.2 is bad."""
    time = (
        '<gmd:temporalElement xmlns:gmd="http://www.isotc211.org/2005/gmd"><gmd:EX_TemporalExtent><gmd:extent>'
        '<gml:TimePeriod xmlns:gml="{}" gml:id="t"><gml:beginPosition>2020-01-01</gml:beginPosition>'
        "<gml:endPosition>2020-01-02</gml:endPosition></gml:TimePeriod></gmd:extent></gmd:EX_TemporalExtent>"
        "</gmd:temporalElement>"
    )
    for namespace, is_good in (("http://www.opengis.net/gml/3.2", True), ("http://www.opengis.net/gml", False)):
        document = samples.iso19139(1).replace(
            b"</gmd:EX_Extent>", time.format(namespace).encode() + b"</gmd:EX_Extent>"
        )
        assert validation.validate(document).is_valid is is_good


@pytest.mark.parametrize(
    ("box", "errors", "warnings"),
    [
        ((-160, 10, -150, 20), 0, 0),
        ((170, 10, -170, 20), 0, 0),
        ((190, 10, 200, 20), 0, 2),
        ((-180, -90, 180, 90), 0, 0),
        ((180.5, 0, 360, 1), 0, 2),
        ((0, 0, 360.5, 1), 1, 0),
        ((-180.5, 0, 1, 1), 1, 0),
        ((0, 0, 1, 90.5), 1, 0),
        ((0, -90.5, 1, 1), 1, 0),
        ((0, 10, 1, 10), 0, 0),
        ((9999, 0, 9999, 1), 2, 0),
        ((0, -91, 1, 91), 2, 0),
        ((0, 20, 1, 10), 1, 0),
        ((float("nan"), 0, 1, 1), 1, 0),
        ((float("inf"), 0, 1, 1), 1, 0),
    ],
)
def test_boxes(box: tuple[float, ...], errors: int, warnings: int) -> None:
    """X37: longitude 9999 and other impossible boxes are bad; the antimeridian is not, above 180 is a warning."""
    found = validation.validate(samples.iso19139(1, box=samples._box(*box)))
    rules = [issue for issue in found.issues if issue.stage == "rules"]
    assert sum(issue.severity == "error" for issue in rules) == errors
    assert sum(issue.severity == "warning" for issue in rules) == warnings


@pytest.mark.parametrize(
    ("printed", "is_number"),
    [("1_0", False), ("\u0661\u0662", False), ("0x1", False), ("1e", False), ("+", False), (".", False), ("1,5", False)]
    + [(text, True) for text in ("+1.", ".5", "-1e1", " 12 ")],
)
def test_numbers_of_boxes(printed: str, is_number: bool) -> None:
    """X37: a bound is a number as XML Schema writes them, not whatever Python reads as one."""
    record = re.sub(rb"(westBoundLongitude>\s*<gco:Decimal>)[^<]*", rb"\g<1>" + printed.encode(), samples.iso19115_3(1))
    verdict = validation.validate(record)
    assert [issue.code for issue in verdict.issues] == ([] if is_number else ["box_number"])
    assert verdict.extract is not None
    assert (verdict.extract.bbox is not None) == is_number


TYPE = "<srv:serviceType><gco:LocalName>OGC:WMS</gco:LocalName></srv:serviceType>\n"
COUPLING = '<srv:couplingType><srv:SV_CouplingType codeList="" codeListValue="tight"/></srv:couplingType>\n'
VERSION = "<srv:serviceTypeVersion><gco:CharacterString>1.3.0</gco:CharacterString></srv:serviceTypeVersion>\n"
LIMITED = "<srv:restrictions><gmd:MD_Constraints/></srv:restrictions>\n"
DCP = '<srv:DCP><srv:DCPList codeList="" codeListValue="WebServices"/></srv:DCP>\n'
OPERATION = re.compile("<srv:containsOperations>.*?</srv:containsOperations>\n", re.DOTALL)
POINT = re.compile("<srv:connectPoint>.*?</srv:connectPoint>", re.DOTALL)
NAME = re.compile("<srv:operationName>.*?</srv:operationName>", re.DOTALL)


def twice(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub(lambda found: found[0] * 2, text)


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda text: text, []),
        (lambda text: text.replace(TYPE, ""), ["service_missing"]),
        (lambda text: text.replace(TYPE, TYPE * 2), ["service_repeated"]),
        (lambda text: text.replace(TYPE, TYPE + VERSION * 2), []),
        (lambda text: text.replace(TYPE, VERSION + TYPE), ["service_order"]),
        (lambda text: text.replace(TYPE, TYPE + LIMITED), []),
        (lambda text: text.replace(TYPE, TYPE + LIMITED * 2), ["service_repeated"]),
        (lambda text: text.replace(COUPLING, ""), ["service_missing"]),
        (lambda text: text.replace(COUPLING, COUPLING * 2), ["service_repeated"]),
        (lambda text: text.replace(COUPLING, COUPLING + "<srv:odd/>"), ["service_child"]),
        (lambda text: OPERATION.sub("", text), ["service_missing"]),
        (lambda text: twice(OPERATION, text), []),
        (lambda text: text.replace(DCP, ""), ["service_operation"]),
        (lambda text: text.replace(DCP, DCP * 2), []),
        (lambda text: POINT.sub("", text), ["service_operation"]),
        (lambda text: twice(POINT, text), []),
        (lambda text: NAME.sub("", text), ["service_operation"]),
    ],
)
def test_services(change: Callable[[str], str], codes: list[str]) -> None:
    """X37: each part of a service record stands in its place, as often as it may, and each operation is complete."""
    found = validation.validate(change(samples.service(7).decode()).encode())
    assert [issue.code for issue in found.issues] == codes
    assert all(issue.line and issue.line > 1 for issue in found.issues)


def test_the_rest_of_a_service() -> None:
    """X37: what a service record has beside its srv parts is held to the schema, at its own line."""
    document = samples.service(7).replace(b"gmd:abstract", b"gmd:summary")
    line = document[: document.index(b"gmd:summary")].count(b"\n") + 1
    (issue,) = (issue for issue in validation.validate(document).issues if "summary" in issue.message)
    assert (issue.stage, issue.line) == ("schema", line)


@pytest.mark.parametrize("part", ["cit:title", "mri:abstract"])
def test_texts_of_19115_3(part: str) -> None:
    """X37: a 19115-3 record needs a title and an abstract, and neither may be empty."""
    whole = samples.iso19115_3(8).decode()
    for text in ("", f"<{part}><gco:CharacterString> </gco:CharacterString></{part}>"):
        document = re.sub(f"<{part}>.*?</{part}>", text, whole, flags=re.DOTALL)
        assert [issue.code for issue in validation.validate(document.encode()).issues] == ["missing"]


@pytest.mark.parametrize(
    ("kinds", "day"),
    [
        (["creation", "revision"], "2024-01-02"),
        (["revision", "creation"], "2024-01-01"),
        (["creation"], "2024-01-01"),
        (["publication"], ""),
    ],
)
def test_date_of_19115_3(kinds: list[str], day: str) -> None:
    """X37: the date of a 19115-3 record is that of its revision, else of its creation."""
    infos = "".join(
        f"<mdb:dateInfo><cit:CI_Date><cit:date><gco:Date>2024-01-0{number}</gco:Date></cit:date><cit:dateType>"
        f'<cit:CI_DateTypeCode codeList="" codeListValue="{kind}"/></cit:dateType></cit:CI_Date></mdb:dateInfo>'
        for number, kind in enumerate(kinds, start=1)
    )
    document = re.sub("<mdb:dateInfo>.*?</mdb:dateInfo>", infos, samples.iso19115_3(8).decode(), flags=re.DOTALL)
    found = validation.validate(document.encode()).extract
    assert found is not None
    assert found.metadata_date == day


def test_no_box() -> None:
    """X37: a dataset without a box is a warning; an empty bound is an error."""
    found = validation.validate(samples.iso19139(1, box=""))
    assert (found.is_valid, [issue.code for issue in found.issues]) == (True, ["no_box"])
    empty = samples.iso19139(1).replace(b"<gco:Decimal>-159</gco:Decimal>", b"<gco:Decimal/>")
    assert "box_missing" in {issue.code for issue in validation.validate(empty).issues}


@pytest.mark.parametrize(
    ("written", "is_good"),
    [
        ("2024-02-29T00:00:00", True),
        ("2024-01-01T24:00:00Z", True),
        ("2024-01-01T10:30:00.1234567-10:00", True),
        ("2024-02-30T00:00:00", False),
        ("2024-13-01T00:00:00", False),
        ("2024-01-01T25:00:00", False),
        ("2024-01T10:00:00", False),
        ("soon", False),
    ],
)
def test_dates_of_19115_3(written: str, is_good: bool) -> None:
    """X37: the dates of a 19115-3 record must be days of the calendar, not only look like them."""
    document = samples.iso19115_3(8).replace(b"2024-01-09T00:00:00", written.encode())
    assert written.encode() in document
    assert validation.validate(document).is_valid is is_good


@pytest.mark.parametrize(
    "declared",
    ['<!ATTLIST gmd:MD_Metadata id CDATA "x">', '<!NOTATION n SYSTEM "x">', '<!ENTITY % p SYSTEM "http://h/">'],
)
def test_internal_subset(declared: str) -> None:
    """X39: a DTD with an internal subset is bad whatever it declares; one that only names a file is not."""
    head, _, rest = samples.iso19139(1).decode().partition("\n")
    named = f'{head}\n<!-- [ -->\n<!DOCTYPE gmd:MD_Metadata SYSTEM "http://h/[iso.dtd">\n{rest}'
    assert validation.validate(named.encode()).is_valid
    assert validation.validate(named.partition("\n")[2].encode("utf-16")).is_valid
    wide = f'<!DOCTYPE gmd:MD_Metadata PUBLIC "-//h//i" "http://h/i.dtd" [{declared}]>\n{rest}'
    assert [issue.code for issue in validation.validate(wide.encode("utf-16")).issues] == ["dtd"]
    found = validation.validate(f"{head}\n<!DOCTYPE gmd:MD_Metadata [{declared}]>\n{rest}".encode())
    assert [issue.code for issue in found.issues] == ["dtd"]


def test_schema_once() -> None:
    """X38: the schema compiles once per process, offline, and its package is never imported."""
    program = (
        "import sys\n"
        "from registry.formats import samples, validation\n"
        "for n in range(20): assert validation.validate(samples.iso19139(n)).is_valid\n"
        "print(validation.schema.compilations, any('bas_metadata' in m for m in sys.modules))\n"
    )
    command = [sys.executable, "-c", program]
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "http_proxy": "http://127.0.0.1:9"}
    made = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env, check=True)
    assert made.stdout == "1 False\n"


def test_extraction() -> None:
    """X37: what a record says is read, data and service, in both families."""
    data = validation.validate(samples.iso19139(9)).extract
    service = validation.validate(samples.service(7)).extract
    newer = validation.validate(samples.iso19115_3(8)).extract
    assert data is not None
    assert service is not None
    assert newer is not None
    assert (data.file_id, data.standard, data.kind, data.metadata_date) == (
        samples.identifier(9),
        "gmd",
        "dataset",
        "2024-01-10",
    )
    assert data.links[0]["url"] == "https://data.example.org/erddap/tabledap/station9.html"
    assert (service.kind, service.services[0]["type"], service.title) == (
        "service",
        "OGC:WMS",
        "درجة حرارة سطح البحر، المحطة 7",
    )
    assert (newer.file_id, newer.standard, newer.bbox) == (samples.identifier(8), "mdb", [-158.0, 21.0, -157.0, 22.0])
    assert iso.module_of("http://standards.iso.org/iso/19115/-3/mdb/2.0") == "mdb"


def test_localised_titles() -> None:
    """X37: a title's translations are read with the languages their record declares; alone they are the title."""
    said = {"fre": "Température  de la mer", "jpn": "海面水温"}
    both = validation.validate(samples.iso19139(0, titles=said))
    assert both.is_valid
    assert both.extract is not None
    assert both.extract.title == "Surface temperature of the sea, station 0"
    told = [{"language": "fre", "title": "Température de la mer"}, {"language": "jpn", "title": "海面水温"}]
    assert both.extract.titles == told
    own = b"<gco:CharacterString>Surface temperature of the sea, station 0</gco:CharacterString>"
    alone = validation.validate(samples.iso19139(0, titles=said).replace(own, b"")).extract
    assert alone is not None
    assert (alone.title, alone.titles) == ("Température de la mer", told)
    undeclared = validation.validate(samples.iso19139(0, titles=said).replace(b'="#locale-fre"', b'="#FR"')).extract
    assert undeclared is not None
    assert undeclared.titles[0]["language"] == "FR"


def test_localised_titles_of_19115_3() -> None:
    """X37: translations of a 19115-3 title are read like those of ISO 19139."""
    lan = 'xmlns:lan="http://standards.iso.org/iso/19115/-3/lan/1.0"'
    words = (
        f'<lan:PT_FreeText {lan}><lan:textGroup><lan:LocalisedCharacterString locale="#el">Θερμοκρασία'
        "</lan:LocalisedCharacterString></lan:textGroup></lan:PT_FreeText></cit:title>"
    )
    place = (
        f'<mdb:otherLocale><lan:PT_Locale {lan} id="el"><lan:language><lan:LanguageCode codeList="" '
        'codeListValue="gre"/></lan:language></lan:PT_Locale></mdb:otherLocale>\n<mdb:contact>'
    )
    document = samples.iso19115_3(8).replace(b"</cit:title>", words.encode())
    found = validation.validate(document.replace(b"<mdb:contact>", place.encode()))
    assert found.is_valid
    assert found.extract is not None
    assert found.extract.titles == [{"language": "gre", "title": "Θερμοκρασία"}]


@pytest.mark.parametrize(
    ("box", "widened"),
    [
        ((-158, 21, -158, 21), ("-158.00001", "20.99999", "-157.99999", "21.00001")),
        ((-158, 21, -157, 21), ("-158", "20.99999", "-157", "21.00001")),
        ((-158.5, 21.25, -158.499995, 21.250009), ("-158.50001", "21.24999", "-158.499985", "21.250019")),
        ((180, 90, -180, 90), ("179.99999", "89.99999", "-179.99999", "90")),
        ((-180, -90, -180, -90), ("-180", "-90", "-179.99999", "-89.99999")),
    ],
)
def test_point_boxes(box: tuple[float, ...], widened: tuple[str, ...]) -> None:
    """X37: a box without an extent is widened by 1e-5 degrees each side, exactly, and never beyond the globe."""
    document = samples.iso19139(1, box=samples._box(*box))
    copied = boxes.widened(document)
    root = etree.fromstring(copied)
    assert tuple(iso.bounds(iso.boxes(root)[0]).values()) == widened
    assert validation.validate(copied).is_valid
    assert boxes.widened(copied) is copied
    assert boxes.widened(document.decode().replace("UTF-8", "UTF-16").encode("utf-16")) == copied.decode().replace(
        "UTF-8", "UTF-16"
    ).encode("utf-16")
    changed = [
        number
        for number, (old, new) in enumerate(zip(document.split(b"\n"), copied.split(b"\n"), strict=True))
        if old != new
    ]
    assert len(changed) == sum(str(old) != new for old, new in zip(box, widened, strict=True))


@pytest.mark.parametrize(
    "document",
    [
        samples.iso19139(1),
        samples.iso19139(1, box=samples._box(9999, 0, 9999, 0.5)),
        samples.iso19139(1, box=samples._box(0, 20, 1, 10)),
        samples.iso19139(1, box=samples._box(0, 0, 0, 0)).replace(b"</gmd:EX_GeographicBoundingBox>", b""),
        samples.iso19139(1, box=samples._box(0, 0, 0, 0)).replace(b"gmd:northBound", b"gmd:southBound"),
        samples.iso19139(1, box=samples._box(0, 0, 0, 0)).replace(
            b"<gco:Decimal>0<", b"<gco:Decimal>" + b"0" * 99 + b"<"
        ),
        b"<EX_GeographicBoundingBox " * 40_000,
        b"<EX_GeographicBoundingBox>" * 40_000,
        b"",
    ],
)
def test_boxes_left_alone(document: bytes) -> None:
    """X37: boxes with an extent, impossible ones and what is no whole box stay, byte for byte, at no great cost."""
    assert boxes.widened(document) is document


def test_point_box_of_19115_3() -> None:
    """X37: point boxes of 19115-3 records are widened as well, each box for itself."""
    document = samples.iso19115_3(8).replace(b"-157", b"-158").replace(b">22<", b">21<")
    root = etree.fromstring(boxes.widened(document))
    assert list(iso.bounds(iso.boxes(root)[0]).values()) == ["-158.00001", "20.99999", "-157.99999", "21.00001"]


# --- links --------------------------------------------------------------------------------------------------------


def links(html: str, url: str = "http://h/iso/") -> list[str]:
    parser = listing.ListingParser(url)
    return [link.url for link in [*parser.feed(html.encode()), *parser.close()]]


def test_links() -> None:
    """X31: parent, sort, mail and script links are ignored; the word "parent" in a text hides no file."""
    page = """<html><body><pre><a href="../">Parent</a> <a href="?C=N;O=D">Name</a> <a href="mailto:a@b.xml">m</a>
    <a href="javascript:x.xml">s</a> <a href="ftp://h/x.xml">f</a> <a href="#x.xml">h</a> <a>none</a> <a href="">e</a>
    <a href="parent.xml">To Parent Directory</a>
    <a href="data:text/xml,x.xml">d</a> <a href="sub/?x=1">q</a> <a href="sub/">sub</a></pre></body></html>"""
    found = links(page)
    assert [url for url in found if listing.is_document(url)] == ["http://h/iso/parent.xml"]
    folders = [url for url in found if listing.is_folder_below(url, "http://h/iso/")]
    assert folders == ["http://h/iso/sub/"]


def test_base_and_entities() -> None:
    """X31: `<base href>` is honoured, entities are unescaped, addresses have one spelling."""
    page = '<html><head><base href="/deep/er/"></head><a href="a.xml">a</a><a href="q.xml?x=1&amp;y=2">q</a></html>'
    assert links(page) == ["http://h/deep/er/a.xml", "http://h/deep/er/q.xml?x=1&y=2"]
    assert listing.normalise_url("HTTP://Ex.Org:80/a/../b/./c d.xml#x") == "http://ex.org/b/c%20d.xml"
    assert listing.normalise_url("https://ex.org:443") == "https://ex.org/"


@pytest.mark.django_db(transaction=True)
def test_scope(add_harvest: Add, source: demo_source.Source) -> None:
    """X31: documents of other hosts and excluded names are not asked for."""
    harvest = add_harvest(exclude=["station_00[01]*"], include=["*.xml"])
    made = run(harvest)
    assert (made.state, harvest.last_record_count) == ("ok", 4)
    assert not [path for path in source.paths() if "station_000" in path]


# --- addresses ----------------------------------------------------------------------------------------------------

DENIED = [
    "http://127.0.0.1/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1]/",
    "http://[fd00::1]/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "http://localhost/",
    "http://2130706433/",
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("url", DENIED)
def test_denied_roots(url: str, organization: Any, settings: Settings) -> None:
    """X43: denied addresses are refused, as literals, mapped, by name, and in odd spellings."""
    settings.ALLOW_PRIVATE_NETWORKS = False
    harvest = Harvest.objects.create(name="x", url=url, organization=organization)
    made = run(harvest)
    assert made.state == "fail"
    assert made.failure_code in ("blocked_address", "listing_failed")
    assert "not allowed" in made.failure_message or "not valid" in made.failure_message


@pytest.mark.django_db(transaction=True)
def test_denied_redirect(add_harvest: Add, source: demo_source.Source) -> None:
    """X43: a redirect to a link-local address fails a root and makes a document bad, private ones allowed or not."""
    source.redirects["/nginx/station_000.xml"] = "http://169.254.169.254/latest/meta-data/"
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, harvest.last_good_count, harvest.last_bad_count) == ("ok", 5, 1)
    assert made.issues.get(severity="error").code == "blocked_address"
    source.redirects["/nginx/"] = "http://169.254.169.254/"
    assert run(harvest).failure_code == "blocked_address"
    source.redirects["/nginx/"] = "file:///etc/passwd"
    assert run(harvest).failure_code == "blocked_address"


@pytest.mark.django_db(transaction=True)
def test_rebinding(add_harvest: Add, served: demo_source.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """X43: a name that answers a good address first and a denied one at the connection is refused."""
    import socket

    answers = iter(["127.0.0.1"])
    real = socket.getaddrinfo

    def rebound(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "rebind.example.org":
            return real(host, port, *args, **options)
        address = next(answers, "169.254.169.254")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    url = f"http://rebind.example.org:{served.port}/nginx/"
    harvest = add_harvest(url=url)
    assert run(harvest).state == "ok"
    assert run(harvest).failure_code == "blocked_address"


@pytest.mark.django_db(transaction=True)
def test_ckan(
    add_harvest: Add, source: demo_source.Source, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X47: the CKAN key goes only to allowed hosts, and a CKAN failure does not alter the run."""
    calls: list[tuple[str, str, Any]] = []

    def answer(method: str, url: str, **options: Any) -> Any:
        calls.append((method, url, options))
        if "harvest_job_create" in url:
            raise egress.Failed("down")
        return egress.Response(200, None, url, b'{"success":true,"result":{"id":"abc"}}')  # type: ignore[arg-type]

    monkeypatch.setattr(egress, "request", answer)
    settings.REGISTRY_CKAN_KEY = "very-secret"
    settings.REGISTRY_CKAN_HOSTS = ["ckan.example.org"]
    harvest = add_harvest(ckan_harvest_url="http://evil.example.org/harvest/pacioos-waf")
    made = run(harvest)
    assert (made.state, calls) == ("ok", [])
    assert "not asked" in made.ckan_outcome
    Harvest.objects.update(ckan_harvest_url="http://ckan.example.org/harvest/pacioos-waf")
    made = run(Harvest.objects.get())
    made.refresh_from_db()
    assert made.state == "ok"
    assert made.ckan_outcome.startswith("failed")
    assert [(method, url) for method, url, _ in calls] == [
        ("GET", "http://ckan.example.org/api/3/action/harvest_source_show?id=pacioos-waf"),
        ("POST", "http://ckan.example.org/api/3/action/harvest_job_create"),
    ]
    assert calls[1][2]["body"] == b'{"source_id":"abc"}'
    assert all(options["redirects"] == 0 for _, _, options in calls)
    assert all(options["headers"]["Authorization"] == "very-secret" for _, _, options in calls)
    assert all(options["seconds"] == 10 for _, _, options in calls)
    source.faults["/nginx/"] = "500"
    assert run(Harvest.objects.get()).state == "fail"
    assert len(calls) == 2, "only a good run is told of"
    assert ckan.ask("http://evil.example.org/x").startswith("not asked")


# --- sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", ["endless", "bomb"])
@pytest.mark.parametrize("where", ["/nginx/", "/nginx/station_000.xml"])
def test_floods(fault: str, where: str, add_harvest: Add, source: demo_source.Source, settings: Settings) -> None:
    """X44: endless answers and gzip bombs stop at the cap with flat memory."""
    settings.REGISTRY_MAX_LISTING_BYTES = settings.REGISTRY_MAX_DOCUMENT_BYTES = 2_000_000
    harvest = add_harvest()
    source.faults[where] = fault
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    made = run(harvest)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if where.endswith("/"):
        assert made.failure_code == "listing_failed"
        assert "larger" in made.failure_message
    else:
        assert (made.state, harvest.last_bad_count) == ("ok", 1)
        assert made.issues.get(severity="error").code == "too_large"
    assert grown < 60_000  # KiB; the bomb alone is 200 MB unpacked


@pytest.mark.django_db(transaction=True)
def test_retry_after(add_harvest: Add, source: demo_source.Source) -> None:
    """X45: a 429 with Retry-After pauses the host and then succeeds."""
    source.faults["/nginx/station_000.xml"] = "429"
    source.times["/nginx/station_000.xml"] = 1
    source.retry_after = "1"
    harvest = add_harvest()
    made = run(harvest)
    assert (made.state, harvest.last_good_count) == ("ok", 6)
    asked = [path for path in source.paths() if path.endswith("station_000.xml")]
    assert len(asked) == 2
    assert made.finished_at is not None
    assert made.started_at is not None
    assert (made.finished_at - made.started_at).total_seconds() >= 1


@pytest.mark.django_db(transaction=True)
def test_hostile_headers(add_harvest: Add, source: demo_source.Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """X9: odd validators of a source are not kept and do no harm."""
    monkeypatch.setattr(demo_source.Document, "etag", property(lambda _self: '"\xe9\xff"'))
    harvest = add_harvest("python")
    assert run(harvest).state == "ok"
    assert set(Record.objects.values_list("etag", flat=True)) == {""}
    assert run(harvest).state == "ok"
    assert HarvestRun.objects.count() == 2
