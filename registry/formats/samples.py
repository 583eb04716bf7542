"""Generated ISO records in four standards and eight languages, good and bad, for the demo, the tests and the benchmark.

Deterministic: the same number always gives the same bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Final
from xml.sax.saxutils import escape

LANGUAGES: Final = {
    "eng": ("Surface temperature of the sea, station {n}", "Hourly observations of a moored buoy, quality controlled."),
    "fre": ("Température de surface de la mer, station {n}", "Observations horaires d’une bouée ancrée, contrôlées."),
    "spa": ("Temperatura superficial del mar, estación {n}", "Observaciones horarias de una boya anclada en la bahía."),
    "ger": ("Oberflächentemperatur des Meeres, Station {n}", "Stündliche Messungen einer verankerten Boje, geprüft."),
    "gre": ("Θερμοκρασία επιφάνειας της θάλασσας, σταθμός {n}", "Ωριαίες παρατηρήσεις αγκυροβολημένου πλωτήρα."),
    "jpn": ("海面水温 観測点{n}", "係留ブイによる毎時の観測値。品質管理済み。"),
    "haw": ("Ka mahana o ka ʻilikai, kahua {n}", "Nā ana hola o ka mouo i heleuma ʻia ma Māmala Bay."),
    "ara": ("درجة حرارة سطح البحر، المحطة {n}", "رصدات كل ساعة من عوامة راسية، مضبوطة الجودة."),
}
CODES: Final = "https://standards.iso.org/iso/19139/resources/gmxCodelists.xml"
FIRST_DAY: Final = date(2024, 1, 1)
_SPACES: Final = (
    'xmlns:gmd="http://www.isotc211.org/2005/gmd" xmlns:gco="http://www.isotc211.org/2005/gco" '
    'xmlns:gmx="http://www.isotc211.org/2005/gmx" xmlns:gml="http://www.opengis.net/gml/3.2" '
    'xmlns:srv="http://www.isotc211.org/2005/srv" xmlns:xlink="http://www.w3.org/1999/xlink"'
)


def _text(name: str, value: str) -> str:
    return f"<{name}><gco:CharacterString>{escape(value)}</gco:CharacterString></{name}>\n"


def _code(name: str, kind: str, value: str) -> str:
    return f'<{name}><gmd:{kind} codeList="{CODES}#{kind}" codeListValue="{value}">{value}</gmd:{kind}></{name}>\n'


def _contact(name: str) -> str:
    return (
        f"<{name}><gmd:CI_ResponsibleParty>\n"
        + _text("gmd:organisationName", "Quincunx Ocean Centre")
        + _code("gmd:role", "CI_RoleCode", "pointOfContact")
        + f"</gmd:CI_ResponsibleParty></{name}>\n"
    )


def _title(title: str, titles: Mapping[str, str]) -> str:
    """A title with its translations by language; an empty one is left out."""
    if not titles:
        return _text("gmd:title", title)
    own = f"<gco:CharacterString>{escape(title)}</gco:CharacterString>" if title else ""
    groups = "".join(
        f'<gmd:textGroup><gmd:LocalisedCharacterString locale="#locale-{language}">{escape(words)}'
        "</gmd:LocalisedCharacterString></gmd:textGroup>"
        for language, words in titles.items()
    )
    kind = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="gmd:PT_FreeText_PropertyType"'
    return f"<gmd:title {kind}>{own}<gmd:PT_FreeText>{groups}</gmd:PT_FreeText></gmd:title>\n"


def _locales(titles: Mapping[str, str]) -> str:
    return "".join(
        f'<gmd:locale><gmd:PT_Locale id="locale-{language}">\n'
        + _code("gmd:languageCode", "LanguageCode", language)
        + _code("gmd:characterEncoding", "MD_CharacterSetCode", "utf8")
        + "</gmd:PT_Locale></gmd:locale>\n"
        for language in titles
    )


def _citation(title: str, day: date, titles: Mapping[str, str]) -> str:
    return (
        "<gmd:citation><gmd:CI_Citation>\n"
        + _title(title, titles)
        + f"<gmd:date><gmd:CI_Date><gmd:date><gco:Date>{day}</gco:Date></gmd:date>\n"
        + _code("gmd:dateType", "CI_DateTypeCode", "publication")
        + "</gmd:CI_Date></gmd:date></gmd:CI_Citation></gmd:citation>\n"
    )


def _box(west: float, south: float, east: float, north: float) -> str:
    bounds = {
        "westBoundLongitude": west,
        "eastBoundLongitude": east,
        "southBoundLatitude": south,
        "northBoundLatitude": north,
    }
    inner = "".join(f"<gmd:{name}><gco:Decimal>{value}</gco:Decimal></gmd:{name}>\n" for name, value in bounds.items())
    return (
        "<gmd:EX_Extent><gmd:geographicElement><gmd:EX_GeographicBoundingBox>\n"
        f"{inner}</gmd:EX_GeographicBoundingBox></gmd:geographicElement></gmd:EX_Extent>\n"
    )


@functools.cache
def _keywords(count: int) -> str:
    if not count:
        return ""
    words = "".join(_text("gmd:keyword", f"EARTH SCIENCE > OCEANS > keyword {i:05d}") for i in range(count))
    return f"<gmd:descriptiveKeywords><gmd:MD_Keywords>\n{words}</gmd:MD_Keywords></gmd:descriptiveKeywords>\n"


def _distribution(number: int) -> str:
    return (
        "<gmd:distributionInfo><gmd:MD_Distribution><gmd:transferOptions><gmd:MD_DigitalTransferOptions><gmd:onLine>"
        "<gmd:CI_OnlineResource>\n"
        f"<gmd:linkage><gmd:URL>https://data.example.org/erddap/tabledap/station{number}.html</gmd:URL></gmd:linkage>\n"
        + _text("gmd:protocol", "ERDDAP:tabledap")
        + _text("gmd:name", f"Station {number} data")
        + _code("gmd:function", "CI_OnLineFunctionCode", "download")
        + "</gmd:CI_OnlineResource></gmd:onLine></gmd:MD_DigitalTransferOptions></gmd:transferOptions>"
        "</gmd:MD_Distribution></gmd:distributionInfo>\n"
    )


def language_of(number: int) -> str:
    """The language of the record of that number."""
    return list(LANGUAGES)[number % len(LANGUAGES)]


def identifier(number: int) -> str:
    """The `fileIdentifier` of the record of that number."""
    return f"org.example.station{number:06d}"


def _head(number: int, *, level: str, language: str) -> str:
    return (
        _text("gmd:fileIdentifier", identifier(number))
        + _text("gmd:language", language)
        + _code("gmd:characterSet", "MD_CharacterSetCode", "utf8")
        + _code("gmd:hierarchyLevel", "MD_ScopeCode", level)
        + _contact("gmd:contact")
        + f"<gmd:dateStamp><gco:Date>{FIRST_DAY + timedelta(days=number % 900)}</gco:Date></gmd:dateStamp>\n"
        + _text("gmd:metadataStandardName", "ISO 19115-2")
    )


def _data_identification(
    number: int, *, language: str, keywords: int, box: str, revision: int, titles: Mapping[str, str]
) -> str:
    title, abstract = LANGUAGES[language]
    if revision:
        abstract += f" Revision {revision}."
    return (
        "<gmd:identificationInfo><gmd:MD_DataIdentification>\n"
        + _citation(title.format(n=number), FIRST_DAY, titles)
        + _text("gmd:abstract", abstract)
        + _keywords(keywords)
        + _text("gmd:language", language)
        + "<gmd:topicCategory><gmd:MD_TopicCategoryCode>oceans</gmd:MD_TopicCategoryCode></gmd:topicCategory>\n"
        + (f"<gmd:extent>{box}</gmd:extent>\n" if box else "")
        + "</gmd:MD_DataIdentification></gmd:identificationInfo>\n"
    )


def _usual_box(number: int) -> str:
    west, south = -160 + number % 300, -60 + number % 110
    return _box(west, south, west + 2.5, south + 1.25)


def iso19139(
    number: int,
    *,
    root: str = "gmd",
    keywords: int = 0,
    language: str = "",
    box: str | None = None,
    revision: int = 0,
    encoding: str = "UTF-8",
    titles: Mapping[str, str] | None = None,
) -> bytes:
    """A good data record: `root` is `gmd` or `gmi`; each keyword adds about 110 bytes; `titles` are translations."""
    language = language or language_of(number)
    name = "gmd:MD_Metadata" if root == "gmd" else "gmi:MI_Metadata"
    spaces = _SPACES if root == "gmd" else f'xmlns:gmi="http://www.isotc211.org/2005/gmi" {_SPACES}'
    found = _usual_box(number) if box is None else box
    document = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n<{name} {spaces}>\n'
        + _head(number, level="dataset", language=language)
        + _locales(titles or {})
        + _data_identification(
            number, language=language, keywords=keywords, box=found, revision=revision, titles=titles or {}
        )
        + _distribution(number)
        + f"</{name}>\n"
    )
    return document.encode(encoding, "xmlcharrefreplace")


def service(number: int, *, broken: bool = False) -> bytes:
    """A service record; `broken` leaves out what srv requires."""
    language = language_of(number)
    title, abstract = LANGUAGES[language]
    operation = (
        "<srv:containsOperations><srv:SV_OperationMetadata>\n"
        + _text("srv:operationName", "GetCapabilities")
        + '<srv:DCP><srv:DCPList codeList="" codeListValue="WebServices"/></srv:DCP>\n'
        + "<srv:connectPoint><gmd:CI_OnlineResource><gmd:linkage>"
        + f"<gmd:URL>https://data.example.org/wms/{number}?service=WMS&amp;request=GetCapabilities</gmd:URL>"
        + "</gmd:linkage></gmd:CI_OnlineResource></srv:connectPoint></srv:SV_OperationMetadata>"
        + "</srv:containsOperations>\n"
    )
    document = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<gmd:MD_Metadata {_SPACES}>\n'
        + _head(number, level="service", language=language)
        + "<gmd:identificationInfo><srv:SV_ServiceIdentification>\n"
        + _citation(title.format(n=number), FIRST_DAY, {})
        + _text("gmd:abstract", abstract)
        + "<srv:serviceType><gco:LocalName>OGC:WMS</gco:LocalName></srv:serviceType>\n"
        + f"<srv:extent>{_usual_box(number)}</srv:extent>\n"
        + '<srv:couplingType><srv:SV_CouplingType codeList="" codeListValue="tight"/></srv:couplingType>\n'
        + ("" if broken else operation)
        + "</srv:SV_ServiceIdentification></gmd:identificationInfo>\n</gmd:MD_Metadata>\n"
    )
    return document.encode()


def iso19115_3(number: int, *, version: str = "2.0", without: str = "") -> bytes:
    """An ISO 19115-3 record; `without` names one of its parts to leave out."""
    title, abstract = LANGUAGES[language_of(number)]
    base = "http://standards.iso.org/iso/19115/-3"
    day = FIRST_DAY + timedelta(days=number % 900)
    parts = {
        "metadataIdentifier": "<mdb:metadataIdentifier><mcc:MD_Identifier>"
        + _text("mcc:code", identifier(number))
        + "</mcc:MD_Identifier></mdb:metadataIdentifier>",
        "metadataScope": '<mdb:metadataScope><mdb:MD_MetadataScope><mdb:resourceScope><mcc:MD_ScopeCode codeList="" '
        'codeListValue="dataset"/></mdb:resourceScope></mdb:MD_MetadataScope></mdb:metadataScope>',
        "contact": "<mdb:contact><cit:CI_Responsibility/></mdb:contact>",
        "dateInfo": f"<mdb:dateInfo><cit:CI_Date><cit:date><gco:DateTime>{day}T00:00:00</gco:DateTime></cit:date>"
        '<cit:dateType><cit:CI_DateTypeCode codeList="" codeListValue="revision"/></cit:dateType></cit:CI_Date>'
        "</mdb:dateInfo>",
        "identificationInfo": "<mdb:identificationInfo><mri:MD_DataIdentification><mri:citation><cit:CI_Citation>"
        + _text("cit:title", title.format(n=number))
        + "</cit:CI_Citation></mri:citation>"
        + _text("mri:abstract", abstract)
        + "<mri:extent><gex:EX_Extent><gex:geographicElement><gex:EX_GeographicBoundingBox>"
        "<gex:westBoundLongitude><gco:Decimal>-158</gco:Decimal></gex:westBoundLongitude>"
        "<gex:eastBoundLongitude><gco:Decimal>-157</gco:Decimal></gex:eastBoundLongitude>"
        "<gex:southBoundLatitude><gco:Decimal>21</gco:Decimal></gex:southBoundLatitude>"
        "<gex:northBoundLatitude><gco:Decimal>22</gco:Decimal></gex:northBoundLatitude>"
        "</gex:EX_GeographicBoundingBox></gex:geographicElement></gex:EX_Extent></mri:extent>"
        "</mri:MD_DataIdentification></mdb:identificationInfo>",
    }
    inner = "\n".join(part for name, part in parts.items() if name != without)
    spaces = " ".join(
        f'xmlns:{module}="{base}/{module}/{number_of}"'
        for module, number_of in (
            ("mdb", version),
            ("mcc", "1.0"),
            ("cit", version),
            ("mri", "1.0"),
            ("gex", "1.0"),
            ("gco", "1.0"),
        )
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<mdb:MD_Metadata {spaces}>\n{inner}\n</mdb:MD_Metadata>\n'.encode()


def dtd_bomb() -> bytes:
    """Nested entities that would grow to gigabytes (billion laughs)."""
    entities = "".join(
        f'<!ENTITY lol{n} "{f"&lol{n - 1};" * 10}">\n' if n else '<!ENTITY lol0 "lol">\n' for n in range(10)
    )
    return (
        f'<?xml version="1.0"?>\n<!DOCTYPE gmd:MD_Metadata [\n{entities}]>\n'
        f"<gmd:MD_Metadata {_SPACES}><gmd:fileIdentifier><gco:CharacterString>&lol9;</gco:CharacterString>"
        "</gmd:fileIdentifier></gmd:MD_Metadata>"
    ).encode()


def collection(count: int = 60) -> Iterator[tuple[str, bytes]]:
    """The demo's documents: (file name, bytes). The last four are bad, one of each kind the seed names."""
    for number in range(count - 4):
        if number % 10 == 7:
            yield f"service_{number:03d}.xml", service(number)
        elif number % 10 == 8:
            yield f"iso3_{number:03d}.xml", iso19115_3(number)
        else:
            yield f"station_{number:03d}.xml", iso19139(number, root="gmi" if number % 3 == 0 else "gmd")
    yield "malformed.xml", iso19139(count)[:-40]
    yield "invalid.xml", iso19139(count + 1).replace(b"gmd:dateStamp", b"gmd:dateOfStamp")
    yield "far_east.xml", iso19139(count + 2, box=_box(9999, 0, 9999, 1))
    yield "bomb.xml", dtd_bomb()
