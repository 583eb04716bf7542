"""The index term tables of contract §3.2."""

import re

import pytest

from downloads.formats import terms


def test_counts() -> None:
    """D35: 81 record terms and 21 media terms, 69 and 11 of them scored."""
    assert len(terms.RECORD_TERMS) == len(terms.RECORD_TERM) == 81
    assert len(terms.MEDIA_TERMS) == len(terms.MEDIA_TERM) == 21
    assert sum(term.scored for term in terms.RECORD_TERMS) == 69
    assert sum(term.scored for term in terms.MEDIA_TERMS) == 11


@pytest.mark.parametrize("table", [terms.RECORD_TERMS, terms.MEDIA_TERMS], ids=["records", "media"])
def test_order_and_uniqueness(table: tuple[terms.Term, ...]) -> None:
    """D35: column order is the ASCII order of the term; no term, header or column occurs twice."""
    names = [term.name for term in table]
    assert names == sorted(names)
    for attribute in ("name", "header", "column", "shown"):
        values = [getattr(term, attribute) for term in table]
        assert len(set(values)) == len(values), attribute


RECORDS = """
associatedsequences/l<associatedSequences>idigbio:associatedsequences; idigbio:barcodeValue*; basisOfRecord*; bed;
gbif:canonicalName; catalogNumber*; class*; collectionCode*; collectionID; idigbio:collectionName;
collector/w<recordedBy; commonname<vernacularName; commonnames/l<vernacularName>idigbio:commonnames; continent*;
coordinateuncertainty/f<coordinateUncertaintyInMeters; country*; countrycode<idigbio:isoCountryCode; county*;
datasetID; datecollected*/d<eventDate or year/month/day>idigbio:eventDate;
datemodified*/d-<(row time)>idigbio:dateModified; dqs/f-<(computed)>idigbio:dataQualityScore;
earliestAgeOrLowestStage; earliestEonOrLowestEonothem; earliestEpochOrLowestSeries; earliestEraOrLowestErathem;
earliestPeriodOrLowestSystem; idigbio:etag-; eventDate; family*; fieldNumber; flags/l-<(computed)>idigbio:flags;
formation; genus*; geologicalContextID; geopoint*/p<decimalLatitude+decimalLongitude+geodeticDatum>idigbio:geoPoint;
group; hasImage*/b-<(links)>idigbio:hasImage; hasMedia/b-<(links)>idigbio:hasMedia;
highertaxon/w<higherClassification; highestBiostratigraphicZone; individualCount/f-; infraspecificEpithet;
institutionCode*; institutionID; idigbio:institutionName; kingdom*; latestAgeOrHighestStage;
latestEonOrHighestEonothem; latestEpochOrHighestSeries; latestEraOrHighestErathem; latestPeriodOrHighestSystem;
lithostratigraphicTerms; locality/w; lowestBiostratigraphicZone; maxdepth/f<maximumDepthInMeters;
maxelevation/f<maximumElevationInMeters; mediarecords/l-<(links)>idigbio:mediarecords; member;
mindepth/f<minimumDepthInMeters; minelevation/f<minimumElevationInMeters; municipality; occurrenceID*; order*;
phylum*; idigbio:recordIds/l-; recordNumber; recordset*-<(recordset)>idigbio:recordset; scientificName*;
specificEpithet*; startdayofyear/i<(datecollected)>startDayOfYear; stateProvince*; taxonID*; taxonomicStatus;
taxonRank; typeStatus*; idigbio:uuid*-; verbatimEventDate; verbatimLocality/w; version/i-<(none)>idigbio:version;
waterBody
"""
MEDIA = """
accessuri<ac:accessURI or ac:bestQualityAccessURI or dcterms:identifier>ac:accessURI;
datemodified*/d-<(row time)>idigbio:dateModified; dqs/f-<(computed)>idigbio:dataQualityScore; idigbio:etag-;
flags/l-<(computed)>idigbio:flags; format<dcterms:format or dc:format or ac:bestQualityFormat>dcterms:format;
hasSpecimen/b-<(links)>idigbio:hasSpecimen; licenselogourl<(licence)>ac:licenseLogoURL;
mediatype<(format)>idigbio:mediaType; dcterms:modified/d; idigbio:recordIds/l-; records/l-<(links)>idigbio:records;
recordset*-<(recordset)>idigbio:recordsets; rights<(licence)>dcterms:rights; ac:tag/w; dc:type; idigbio:uuid*-;
version/i-<(none)>idigbio:version; webstatement<(licence)>xmpRights:WebStatement; xpixels/i<exif:PixelXDimension;
ypixels/i<exif:PixelYDimension
"""
_ENTRY = re.compile(r"([A-Za-z:]+)(\*?)(?:/([wlfidbp]))?(-?)(?:<([^>]+)(?:>(.+))?)?")
_KINDS = {
    None: "text",
    "w": "word",
    "l": "list",
    "f": "float",
    "i": "int",
    "d": "date",
    "b": "bool",
    "p": "point",
}


def _prefixed(name: str) -> str:
    return name if ":" in name else f"dwc:{name}"


def _parsed(entry: str) -> tuple[str, tuple[str, ...], str, str, bool, bool]:
    """Term, sources, header, kind, indexed and scored of an entry of the table, as the contract says it is read."""
    found = _ENTRY.fullmatch(entry.strip())
    assert found, entry
    name, star, kind, dash, source, header = found.groups()
    term = name if source else name.rpartition(":")[2].lower()
    source = source or name
    sources: tuple[str, ...]
    if source == "(licence)":
        sources = terms.LICENCE_SOURCES
    else:
        sources = tuple(_prefixed(each) for each in re.split(r" or |/|\+", source) if not source.startswith("("))
    return term, sources, _prefixed(header or source), _KINDS[kind], bool(star), not dash


@pytest.mark.parametrize(
    ("text", "table"), [(RECORDS, terms.RECORD_TERMS), (MEDIA, terms.MEDIA_TERMS)], ids=["records", "media"]
)
def test_every_entry(text: str, table: tuple[terms.Term, ...]) -> None:
    """D35: every entry of §3.2, letter by letter: term, sources, header, kind, index and score, in this order."""
    made = [(term.name, term.sources, term.header, term.kind, term.indexed, term.scored) for term in table]
    assert made == [_parsed(entry) for entry in text.split(";")]


NAMESPACES = """
dwc rs.tdwg.org/dwc/terms/; dc purl.org/dc/elements/1.1/; dcterms purl.org/dc/terms/; ac rs.tdwg.org/ac/terms/;
gbif rs.gbif.org/terms/1.0/; idigbio portal.idigbio.org/terms/; exif ns.adobe.com/exif/1.0/; xmp ns.adobe.com/xap/1.0/;
xmpRights ns.adobe.com/xap/1.0/rights/; photoshop ns.adobe.com/photoshop/1.0/;
Iptc4xmpExt iptc.org/std/Iptc4xmpExt/2008-02-29/; abcd rs.tdwg.org/abcd/terms/; aec purl.org/NET/aec/;
ala rs.ala.org.au/terms/1.0/; chrono rs.tdwg.org/chrono/terms/; obis rs.iobis.org/obis/terms/;
symbiota https://symbiota.org/terms/; zan zooarchnet.org/dwc/terms/
"""


def test_namespaces() -> None:
    """D35: the namespaces of §3.2, letter by letter."""
    pairs = (entry.split() for entry in NAMESPACES.split(";"))
    wanted = {prefix: uri if uri.startswith("https://") else f"http://{uri}" for prefix, uri in pairs}
    assert dict(terms.NAMESPACES) == wanted


@pytest.mark.parametrize(
    ("name", "sources", "header", "kind"),
    [
        ("associatedsequences", ("dwc:associatedSequences",), "idigbio:associatedsequences", "list"),
        ("collector", ("dwc:recordedBy",), "dwc:recordedBy", "word"),
        ("datecollected", ("dwc:eventDate", "dwc:year", "dwc:month", "dwc:day"), "idigbio:eventDate", "date"),
        ("startdayofyear", (), "dwc:startDayOfYear", "int"),
        ("hasImage", (), "idigbio:hasImage", "bool"),
        ("recordids", ("idigbio:recordIds",), "idigbio:recordIds", "list"),
        ("countrycode", ("idigbio:isoCountryCode",), "idigbio:isoCountryCode", "text"),
        ("dqs", (), "idigbio:dataQualityScore", "float"),
        ("canonicalname", ("gbif:canonicalName",), "gbif:canonicalName", "text"),
    ],
)
def test_record_rows(name: str, sources: tuple[str, ...], header: str, kind: str) -> None:
    term = terms.RECORD_TERM[name]
    assert (term.sources, term.header, term.kind) == (sources, header, kind)


def test_indexed_terms() -> None:
    """D47: the starred terms of §3.2, no more and no fewer."""
    starred = {term.name for term in terms.RECORD_TERMS if term.indexed}
    assert starred == {  # the asterisks of the table
        "barcodevalue",
        "basisofrecord",
        "catalognumber",
        "class",
        "collectioncode",
        "continent",
        "country",
        "county",
        "datecollected",
        "datemodified",
        "family",
        "genus",
        "geopoint",
        "hasImage",
        "institutioncode",
        "kingdom",
        "occurrenceid",
        "order",
        "phylum",
        "recordset",
        "scientificname",
        "specificepithet",
        "stateprovince",
        "taxonid",
        "typestatus",
        "uuid",
    }
    assert {term.name for term in terms.MEDIA_TERMS if term.indexed} == {"datemodified", "recordset", "uuid"}


def test_columns() -> None:
    order = terms.RECORD_TERM["order"]
    assert (order.column, order.shown) == ("t_order", "t_order")
    assert (terms.RECORD_TERM["commonnames"].column, terms.RECORD_TERM["commonnames"].shown) == (
        "t_commonnames",
        "s_commonnames",
    )
    assert terms.RECORD_TERM["datecollected"].shown == "s_datecollected"
    assert terms.MEDIA_TERM["modified"].shown == "s_modified"
    assert [terms.RECORD_TERM[name].column for name in ("uuid", "recordset", "geopoint", "hasImage")] == [
        "uuid",
        "recordset_id",
        "lat",
        "t_hasimage",
    ]


@pytest.mark.parametrize("prefix", list(terms.NAMESPACES))
def test_curie_round_trip(prefix: str) -> None:
    name = f"{prefix}:someTerm"
    assert terms.curie(terms.uri(name)) == name


def test_namespaces_nest() -> None:
    assert terms.curie("http://ns.adobe.com/xap/1.0/rights/UsageTerms") == "xmpRights:UsageTerms"
    assert terms.curie("http://ns.adobe.com/xap/1.0/CreateDate") == "xmp:CreateDate"
    assert terms.curie("http://example.org/odd") == "http://example.org/odd"
    assert terms.curie("http://rs.tdwg.org/dwc/terms/") == "http://rs.tdwg.org/dwc/terms/"
    assert terms.uri("odd:thing") == "odd:thing"
    assert terms.uri("bare") == "bare"


def test_more_namespaces_by_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terms, "NAMESPACES", dict(terms.NAMESPACES))
    terms.register_namespaces({"ex": "http://example.org/t/", "dwc": "http://elsewhere/"})
    assert terms.curie("http://example.org/t/one") == "ex:one"
    assert terms.uri("dwc:genus") == "http://rs.tdwg.org/dwc/terms/genus"
    terms.curie.cache_clear()
