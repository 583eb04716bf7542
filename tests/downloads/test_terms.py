"""The index term tables of contract §3.2."""

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
