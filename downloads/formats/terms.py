"""The index terms of the store and the namespaces of provider terms (contract §3.2).

A *term* is a name a query may use (`genus`); a *source* is the provider term it is computed from, as a CURIE
(`dwc:genus`); a *header* is its column name in the CSV files. `RECORD_TERMS` (81) and `MEDIA_TERMS` (21) are in
column order, which is the ASCII order of the term.

Columns of the store, for every term:

* `Term.column` holds the value in the form that is **searched**: folded text (`COLLATE "C"`), `double precision`,
  `integer`, `timestamptz`, `boolean`, `text[]`. The term `geopoint` has `lat` here (a record has a point if and only
  if `lat` is not null; `lon` stands beside it). `uuid` and `recordset` live in the entity's own columns of type uuid.
* `Term.shown` holds the value in the form that is **printed**, where that differs: dates (text, offset kept) and the
  six terms stored with case. Everywhere else it equals `column`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

Kind = Literal["text", "word", "list", "float", "int", "date", "bool", "point"]

NAMESPACES: Final[dict[str, str]] = {
    "dwc": "http://rs.tdwg.org/dwc/terms/",
    "dc": "http://purl.org/dc/elements/1.1/",
    "dcterms": "http://purl.org/dc/terms/",
    "ac": "http://rs.tdwg.org/ac/terms/",
    "gbif": "http://rs.gbif.org/terms/1.0/",
    "idigbio": "http://portal.idigbio.org/terms/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "abcd": "http://rs.tdwg.org/abcd/terms/",
    "aec": "http://purl.org/NET/aec/",
    "ala": "http://rs.ala.org.au/terms/1.0/",
    "chrono": "http://rs.tdwg.org/chrono/terms/",
    "obis": "http://rs.iobis.org/obis/terms/",
    "symbiota": "https://symbiota.org/terms/",
    "zan": "http://zooarchnet.org/dwc/terms/",
}

CASED: Final = frozenset(
    {"rights", "licenselogourl", "webstatement", "accessuri", "commonnames", "associatedsequences"}
)
"""Terms stored with the provider's case, compared without it (contract §2.7 rule 1)."""

LICENCE_SOURCES: Final = (
    "dcterms:license",
    "dcterms:rights",
    "dc:rights",
    "xmpRights:UsageTerms",
    "xmpRights:WebStatement",
    "ac:licenseLogoURL",
)
"""The rights fields of a media row; the majority licence among them wins (contract §3.3)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One index term: where it comes from, how it is searched, how it is printed."""

    name: str
    sources: tuple[str, ...]
    header: str
    kind: Kind = "text"
    indexed: bool = False
    scored: bool = True

    @property
    def column(self) -> str:
        """Database column of the searched form."""
        if self.name in ("uuid", "geopoint", "recordset"):
            return {"uuid": "uuid", "geopoint": "lat", "recordset": "recordset_id"}[self.name]
        return f"t_{self.name.lower()}"  # prefixed: order, group and class are reserved words

    @property
    def shown(self) -> str:
        """Database column of the printed form."""
        return f"s_{self.name}" if self.kind == "date" or self.name in CASED else self.column

    @property
    def is_text(self) -> bool:
        """True where a string is looked for by words or by whole value (operators prefix, exact, fuzzy)."""
        return self.kind in ("text", "word", "list")


def _source(name: str) -> str:
    return name if ":" in name else f"dwc:{name}"


def _term(
    name: str,
    kind: Kind = "text",
    *,
    term: str = "",
    sources: Iterable[str] | None = None,
    header: str = "",
    indexed: bool = False,
    scored: bool = True,
) -> Term:
    """A row of the table: `name` is source and header, its lower-case local part the term, unless said otherwise."""
    source = _source(name)
    return Term(
        name=term or source.partition(":")[2].lower(),
        sources=(source,) if sources is None else tuple(_source(each) for each in sources),
        header=_source(header) if header else source,
        kind=kind,
        indexed=indexed,
        scored=scored,
    )


def _computed(term: str, header: str, kind: Kind = "text", *, indexed: bool = False, scored: bool = False) -> Term:
    return _term(header, kind, term=term, sources=(), indexed=indexed, scored=scored)


RECORD_TERMS: Final[tuple[Term, ...]] = (
    _term("associatedSequences", "list", header="idigbio:associatedsequences"),
    _term("idigbio:barcodeValue", indexed=True),
    _term("basisOfRecord", indexed=True),
    _term("bed"),
    _term("gbif:canonicalName"),
    _term("catalogNumber", indexed=True),
    _term("class", indexed=True),
    _term("collectionCode", indexed=True),
    _term("collectionID"),
    _term("idigbio:collectionName"),
    _term("recordedBy", "word", term="collector"),
    _term("vernacularName", term="commonname"),
    _term("vernacularName", "list", term="commonnames", header="idigbio:commonnames"),
    _term("continent", indexed=True),
    _term("coordinateUncertaintyInMeters", "float", term="coordinateuncertainty"),
    _term("country", indexed=True),
    _term("idigbio:isoCountryCode", term="countrycode"),
    _term("county", indexed=True),
    _term("datasetID"),
    _term(
        "idigbio:eventDate",
        "date",
        term="datecollected",
        sources=("eventDate", "year", "month", "day"),
        indexed=True,
    ),
    _computed("datemodified", "idigbio:dateModified", "date", indexed=True),
    _computed("dqs", "idigbio:dataQualityScore", "float"),
    _term("earliestAgeOrLowestStage"),
    _term("earliestEonOrLowestEonothem"),
    _term("earliestEpochOrLowestSeries"),
    _term("earliestEraOrLowestErathem"),
    _term("earliestPeriodOrLowestSystem"),
    _term("idigbio:etag", scored=False),
    _term("eventDate"),
    _term("family", indexed=True),
    _term("fieldNumber"),
    _computed("flags", "idigbio:flags", "list"),
    _term("formation"),
    _term("genus", indexed=True),
    _term("geologicalContextID"),
    _term(
        "idigbio:geoPoint",
        "point",
        term="geopoint",
        sources=("decimalLatitude", "decimalLongitude", "geodeticDatum"),
        indexed=True,
    ),
    _term("group"),
    _computed("hasImage", "idigbio:hasImage", "bool", indexed=True),
    _computed("hasMedia", "idigbio:hasMedia", "bool"),
    _term("higherClassification", "word", term="highertaxon"),
    _term("highestBiostratigraphicZone"),
    _term("individualCount", "float", scored=False),
    _term("infraspecificEpithet"),
    _term("institutionCode", indexed=True),
    _term("institutionID"),
    _term("idigbio:institutionName"),
    _term("kingdom", indexed=True),
    _term("latestAgeOrHighestStage"),
    _term("latestEonOrHighestEonothem"),
    _term("latestEpochOrHighestSeries"),
    _term("latestEraOrHighestErathem"),
    _term("latestPeriodOrHighestSystem"),
    _term("lithostratigraphicTerms"),
    _term("locality", "word"),
    _term("lowestBiostratigraphicZone"),
    _term("maximumDepthInMeters", "float", term="maxdepth"),
    _term("maximumElevationInMeters", "float", term="maxelevation"),
    _computed("mediarecords", "idigbio:mediarecords", "list"),
    _term("member"),
    _term("minimumDepthInMeters", "float", term="mindepth"),
    _term("minimumElevationInMeters", "float", term="minelevation"),
    _term("municipality"),
    _term("occurrenceID", indexed=True),
    _term("order", indexed=True),
    _term("phylum", indexed=True),
    _term("idigbio:recordIds", "list", scored=False),
    _term("recordNumber"),
    _computed("recordset", "idigbio:recordset", indexed=True),
    _term("scientificName", indexed=True),
    _term("specificEpithet", indexed=True),
    _computed("startdayofyear", "startDayOfYear", "int", scored=True),
    _term("stateProvince", indexed=True),
    _term("taxonID", indexed=True),
    _term("taxonomicStatus"),
    _term("taxonRank"),
    _term("typeStatus", indexed=True),
    _term("idigbio:uuid", indexed=True, scored=False),
    _term("verbatimEventDate"),
    _term("verbatimLocality", "word"),
    _computed("version", "idigbio:version", "int"),
    _term("waterBody"),
)

MEDIA_TERMS: Final[tuple[Term, ...]] = (
    _term("ac:accessURI", term="accessuri", sources=("ac:accessURI", "ac:bestQualityAccessURI", "dcterms:identifier")),
    _computed("datemodified", "idigbio:dateModified", "date", indexed=True),
    _computed("dqs", "idigbio:dataQualityScore", "float"),
    _term("idigbio:etag", scored=False),
    _computed("flags", "idigbio:flags", "list"),
    _term("dcterms:format", sources=("dcterms:format", "dc:format", "ac:bestQualityFormat")),
    _computed("hasSpecimen", "idigbio:hasSpecimen", "bool"),
    _term("ac:licenseLogoURL", term="licenselogourl", sources=LICENCE_SOURCES),
    _computed("mediatype", "idigbio:mediaType", scored=True),
    _term("dcterms:modified", "date"),
    _term("idigbio:recordIds", "list", scored=False),
    _computed("records", "idigbio:records", "list"),
    _computed("recordset", "idigbio:recordsets", indexed=True),
    _term("dcterms:rights", term="rights", sources=LICENCE_SOURCES),
    _term("ac:tag", "word"),
    _term("dc:type"),
    _term("idigbio:uuid", indexed=True, scored=False),
    _computed("version", "idigbio:version", "int"),
    _term("xmpRights:WebStatement", term="webstatement", sources=LICENCE_SOURCES),
    _term("exif:PixelXDimension", "int", term="xpixels"),
    _term("exif:PixelYDimension", "int", term="ypixels"),
)

RECORD_TERM: Final[Mapping[str, Term]] = {term.name: term for term in RECORD_TERMS}
MEDIA_TERM: Final[Mapping[str, Term]] = {term.name: term for term in MEDIA_TERMS}
RECORD_SOURCES: Final = frozenset(source for term in RECORD_TERMS for source in term.sources)
MEDIA_SOURCES: Final = frozenset(source for term in MEDIA_TERMS for source in term.sources)


def register_namespaces(extra: Mapping[str, str]) -> None:
    """Add namespaces (prefix to URI) to the known ones; a prefix of §3.2 cannot be redefined."""
    for prefix, namespace in extra.items():
        NAMESPACES.setdefault(prefix, namespace)
    curie.cache_clear()
    uri.cache_clear()


@lru_cache(maxsize=4096)
def curie(uri: str) -> str:
    """Term URI to CURIE by its longest known namespace; an unknown URI is returned whole (contract §6.2)."""
    matches = [(len(start), prefix) for prefix, start in NAMESPACES.items() if uri.startswith(start) and uri != start]
    if not matches:
        return uri
    length, prefix = max(matches)
    return f"{prefix}:{uri[length:]}"


@lru_cache(maxsize=4096)
def uri(name: str) -> str:
    """CURIE to term URI; a name without a known prefix stays bare (contract §3.2)."""
    prefix, colon, local = name.partition(":")
    return f"{NAMESPACES[prefix]}{local}" if colon and prefix in NAMESPACES else name
