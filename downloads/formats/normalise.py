"""Raw provider row to index terms (contract §3.3). Pure; a value that is absent has no key.

Types of the values, by `Term.kind`: text and word `str`, list `list[str]`, float `float`, int `int`, bool `bool`,
date `str` (the printed form: a bare ISO date, or ISO 8601 with offset), point `tuple[float, float]` (lat, lon; WGS84).

The terms that depend on links (`hasImage`, `hasMedia`, `mediarecords`; `hasSpecimen`, `records`) are added by
`with_media` and `with_records`, because links change without the row changing.
"""

import datetime
import functools
import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from downloads.formats import countries, dates, licences, points, terms, words

Raw = Mapping[str, Any]
Index = dict[str, Any]

_PLAIN_RECORD: Final = {
    term.sources[0]: term.name
    for term in terms.RECORD_TERMS
    if term.kind in ("text", "word")
    and len(term.sources) == 1
    and term.name not in ("basisofrecord", "taxonrank", "etag")
}
_FLOATS: Final = {term.sources[0]: term.name for term in terms.RECORD_TERMS if term.kind == "float" and term.sources}
_FIELDS: Final = {source: (name, False) for source, name in _PLAIN_RECORD.items()} | {
    source: (name, True) for source, name in _FLOATS.items()
}
"""Source → term, and whether it is a number."""
_PLAIN_MEDIA: Final = {"ac:tag": "tag", "dc:type": "type"}
_INTEGERS: Final = {"exif:PixelXDimension": "xpixels", "exif:PixelYDimension": "ypixels"}
_SCORED_RECORD: Final = frozenset(term.name for term in terms.RECORD_TERMS if term.scored)
_SCORED_MEDIA: Final = frozenset(term.name for term in terms.MEDIA_TERMS if term.scored)
_ALWAYS_COUNTED: Final = ("associatedsequences", "commonnames")  # iDigBio: empty lists counted as filled

_BASES: Final = (
    (("preserved",), "preservedspecimen"),
    (("fossil",), "fossilspecimen"),
    (("living",), "livingspecimen"),
    (("material",), "materialsample"),
    (("specimen",), "preservedspecimen"),
    (("machine", "observation"), "machineobservation"),
    (("observation",), "humanobservation"),
    (("occurrence",), "occurrence"),
)
_RANKS: Final = frozenset(
    "domain superkingdom kingdom subkingdom infrakingdom superphylum phylum subphylum infraphylum superclass class "  # noqa: SIM905
    "subclass infraclass superorder order suborder infraorder superfamily family subfamily supertribe tribe subtribe "
    "genus subgenus section subsection series subseries species subspecies variety subvariety form subform cultivar "
    "hybrid superspecies infraspecies cohort".split()
)
_RANK_SPELLINGS: Final = {
    "sp": "species",
    "spp": "species",
    "ssp": "subspecies",
    "subsp": "subspecies",
    "subspec": "subspecies",
    "division": "phylum",
    "subdivision": "subphylum",
    "superdivision": "superphylum",
    "var": "variety",
    "varietas": "variety",
    "subvar": "subvariety",
    "f": "form",
    "fo": "form",
    "forma": "form",
    "subf": "subform",
    "gen": "genus",
    "subg": "subgenus",
    "subgen": "subgenus",
    "sect": "section",
    "ser": "series",
    "fam": "family",
    "subfam": "subfamily",
    "ord": "order",
    "cl": "class",
    "phyl": "phylum",
    "regn": "kingdom",
    "cv": "cultivar",
}
_SIGNED = re.compile(
    r"(?:(?<![^\s(,;:~=<>])[-+\u2212])?"
    r"(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?",
    re.ASCII | re.IGNORECASE,
)
_ACCESSION = re.compile(r"\b(?:[A-Z]{2}\d{6}(?:\d{2})?|[A-Z]\d{5}|[A-Z]{2}_\d{6,9})(?:\.\d+)?\b", re.ASCII)
_BINOMIAL = re.compile(r"([^\W\d_]{2,})\s+([^\W\d_]+(?:-[^\W\d_]+)*)(?![\w.])")
_NO_EPITHET: Final = frozenset(
    {"sp", "spp", "cf", "aff", "nov", "indet", "ined", "var", "ssp", "subsp", "ex", "et", "de", "von"}
)
_MEDIA_KINDS: Final = {"image": "images", "audio": "sounds", "video": "video"}
_LARGEST_INTEGER: Final = 2**31 - 1
_MEMO_ENTRIES: Final = 50_000


@functools.lru_cache(_MEMO_ENTRIES)
def _moment(text: str) -> str | None:
    return dates.moment(text)


@functools.lru_cache(_MEMO_ENTRIES)
def _from_parts(year: str, month: str, day: str) -> str | None:
    return dates.from_parts(year, month, day)


_day_of_year = functools.lru_cache(_MEMO_ENTRIES)(dates.day_of_year)


@functools.lru_cache(_MEMO_ENTRIES)
def number(text: str) -> float | None:
    """The first number of a text, as a finite float; None if there is none."""
    found = _SIGNED.search(text)
    if not found:
        return None
    value = float(found[0].replace(",", "").replace("\u2212", "-"))
    return value if math.isfinite(value) else None


@functools.lru_cache(_MEMO_ENTRIES)
def _basis(text: str) -> str:
    folded = words.fold(text)
    return next((name for parts, name in _BASES if all(part in folded for part in parts)), "")


@functools.lru_cache(_MEMO_ENTRIES)
def _rank(text: str) -> str:
    folded = words.fold(text).rstrip(".")
    return folded if folded in _RANKS else _RANK_SPELLINGS.get(folded, "")


def etag(raw: Raw) -> str:
    """SHA-1 hex of the compact JSON array key, value, … of the row by sorted key."""
    keys = sorted(raw)
    flat: list[Any] = [*keys, *keys]
    flat[::2] = keys
    flat[1::2] = map(raw.__getitem__, keys)
    return hashlib.sha1(orjson.dumps(flat), usedforsecurity=False).hexdigest()


def record(
    raw: Raw,
    *,
    uuid: str,
    recordset: str,
    modified: str,
    record_ids: Iterable[str] = (),
    today: str = "",
    fingerprint: str = "",
) -> Index:
    """Index terms of a record row, all but those of its links.

    `modified` is the printed row time; `today` (ISO date, default the current day) decides what lies in the future;
    `fingerprint` is the row's `etag`, where it is known already.
    """
    out: Index = {"uuid": uuid, "recordset": recordset, "datemodified": modified, "etag": fingerprint or etag(raw)}
    flags = _provider_flags(raw)
    for source, value in raw.items():
        if (field := _FIELDS.get(source)) is None or type(value) is not str:
            continue
        name, is_number = field
        if is_number:
            if (found := number(value)) is not None:
                out[name] = found
        elif folded := value.lower().strip() if value.isascii() else words.fold(value):
            out[name] = folded
    _add_vocabularies(raw, out, flags)
    _add_names(raw, out, flags)
    _add_date(raw, out, flags, today or datetime.datetime.now(datetime.UTC).date().isoformat())
    _add_point(raw, out, flags)
    _add_lists(raw, out, record_ids)
    if flags:
        out["flags"] = sorted(set(flags))
    filled = len(_SCORED_RECORD & out.keys()) + sum(name not in out for name in _ALWAYS_COUNTED)
    out["dqs"] = (filled - len(out.get("flags", ()))) / 69
    return out


def _text(raw: Raw, source: str) -> str:
    value = raw.get(source, "")
    return value if isinstance(value, str) else ""


def _provider_flags(raw: Raw) -> list[str]:
    """iDigBio: a raw key `flag_x` is the flag `x` (for example `flag_encoding_error`, set while reading)."""
    return [key[5:].lower() for key in raw if key.startswith("flag_") and len(key) > 5]


def _add_vocabularies(raw: Raw, out: Index, flags: list[str]) -> None:
    given = raw.get("dwc:basisOfRecord")
    if basis := _basis(given) if isinstance(given, str) else "":
        out["basisofrecord"] = basis
    else:
        flags.append("dwc_basisofrecord_invalid")
        if given is not None:
            flags.append("dwc_basisofrecord_removed")
    if rank_text := _text(raw, "dwc:taxonRank"):
        _add_rank(rank_text, out, flags)
    if "countrycode" not in out and (country := countries.three_letters(_text(raw, "dwc:countryCode"))):
        out["countrycode"] = country
        flags.append("idigbio_isocountrycode_added")


def _add_rank(text: str, out: Index, flags: list[str]) -> None:
    rank = _rank(text)
    if not rank:
        flags += ["dwc_taxonrank_removed", "dwc_taxonrank_invalid"]
        return
    out["taxonrank"] = rank
    if rank != words.fold(text):
        flags.append("dwc_taxonrank_replaced")


def _add_names(raw: Raw, out: Index, flags: list[str]) -> None:
    genus, epithet = out.get("genus"), out.get("specificepithet")
    if "scientificname" not in out:
        if genus and epithet:
            out["scientificname"] = f"{genus} {epithet}"
            flags.append("scientificname_added")
        return
    if genus or epithet:
        return
    found = _BINOMIAL.match(_text(raw, "dwc:scientificName").strip())
    if not found or found[2] != found[2].lower() or found[2] in _NO_EPITHET:
        return
    out["genus"], out["specificepithet"] = words.fold(found[1]), words.fold(found[2])
    flags += ["genus_added", "specificepithet_added"]


def _add_date(raw: Raw, out: Index, flags: list[str], today: str) -> None:
    given = _text(raw, "dwc:eventDate")
    date = _moment(given) if given else None
    if date is None and (year := _text(raw, "dwc:year")):
        date = _from_parts(year, _text(raw, "dwc:month"), _text(raw, "dwc:day"))
    if date is None:
        return
    out["datecollected"] = date
    out["startdayofyear"] = _day_of_year(date[:10])
    if not dates.EARLIEST <= date[:10] <= today:
        flags.append("datecollected_bounds")


def _add_point(raw: Raw, out: Index, flags: list[str]) -> None:
    lat, lon = _text(raw, "dwc:decimalLatitude"), _text(raw, "dwc:decimalLongitude")
    if not lat or not lon:
        return
    place, earned = points.point(lat, lon, _text(raw, "dwc:geodeticDatum"))
    flags += earned
    if place is not None:
        out["geopoint"] = place


def _add_lists(raw: Raw, out: Index, record_ids: Iterable[str]) -> None:
    if common := _text(raw, "dwc:vernacularName").strip():
        out["commonnames"] = [unicodedata.normalize("NFC", common)]
    sequences = _text(raw, "dwc:associatedSequences")
    if sequences and (found := list(dict.fromkeys(_ACCESSION.findall(sequences)))):
        out["associatedsequences"] = found
    if identifiers := list(record_ids):
        out["recordids"] = identifiers


def media(
    raw: Raw, *, uuid: str, recordset: str, modified: str, record_ids: Iterable[str] = (), fingerprint: str = ""
) -> Index:
    """Index terms of a media row, all but those of its links; arguments as for `record`."""
    out: Index = {"uuid": uuid, "recordset": recordset, "datemodified": modified, "etag": fingerprint or etag(raw)}
    for source, name in _PLAIN_MEDIA.items():
        if folded := words.fold(_text(raw, source)):
            out[name] = folded
    for source, name in _INTEGERS.items():
        found = number(_text(raw, source))
        if found is not None and abs(found) <= _LARGEST_INTEGER:
            out[name] = int(found)
    _add_access(raw, out)
    if (changed := _text(raw, "dcterms:modified")) and (date := _moment(changed)):
        out["modified"] = date
    if licence := licences.majority(_text(raw, source) for source in terms.LICENCE_SOURCES):
        out["rights"], out["webstatement"], out["licenselogourl"] = licence
    if identifiers := list(record_ids):
        out["recordids"] = identifiers
    if flags := _provider_flags(raw):
        out["flags"] = sorted(set(flags))
    out["dqs"] = (len(_SCORED_MEDIA & out.keys()) - len(out.get("flags", ()))) / 11
    return out


def _add_access(raw: Raw, out: Index) -> None:
    sources = list(terms.MEDIA_TERM["accessuri"].sources)
    if any(key.startswith("ac:") for key in raw):
        sources.remove("dcterms:identifier")  # iDigBio: an Audubon Core row says itself where its file is
    if access := next(filter(None, (_text(raw, source).strip() for source in sources)), ""):
        out["accessuri"] = access
    formats = (words.fold(_text(raw, source)) for source in terms.MEDIA_TERM["format"].sources)
    if form := next(filter(None, formats), ""):
        out["format"] = form
        if kind := _MEDIA_KINDS.get(form.partition("/")[0]):
            out["mediatype"] = kind


def with_media(index: Index, media_uuids: Iterable[str]) -> Index:
    """A record's terms with those of its linked media, given in link order."""
    linked = list(media_uuids)
    links: Index = {"hasImage": bool(linked), "hasMedia": bool(linked)}
    return {**index, **links, "mediarecords": linked} if linked else {**index, **links}


def with_records(index: Index, record_uuids: Iterable[str]) -> Index:
    """A media record's terms with those of its linked records, given in link order."""
    linked = list(record_uuids)
    return {**index, "hasSpecimen": bool(linked), **({"records": linked} if linked else {})}


class _Starts(dict[str, str]):
    """Memo: provider term → how its sections in a `words` text begin."""

    def __missing__(self, key: str) -> str:
        made = self[key] = words.start(f"data.{key}")
        return made


_starts = _Starts()
_TEXT_ONLY: Final = frozenset({str})
_INDEX_STARTS: Final = {
    term.name: words.start(term.name)
    for term in (*terms.RECORD_TERMS, *terms.MEDIA_TERMS)
    if term.name
    not in {"hasImage", "hasMedia", "mediarecords", "hasSpecimen", "records", "dqs", "etag", "datemodified"}
}
"""Of the terms left out some change without the row changing, the others are no words about the specimen."""


def words_text(index: Index, raw: Raw) -> str:
    """The `words` text of a row: its index terms by name, its provider terms as `data.<term>`."""
    (made,) = words_texts([(index, raw)])
    return made


def words_texts(rows: Iterable[tuple[Index, Raw]]) -> list[str]:
    """The `words` texts of many rows, in order; together they cost much less."""
    return words.documents([(_provider_values(raw), _index_values(index)) for index, raw in rows])


def _provider_values(raw: Raw) -> words.Values:
    if set(map(type, raw.values())) <= _TEXT_ONLY:
        return [*map(_starts.__getitem__, raw)], [*raw.values()]
    pairs = [(_starts[key], leaf) for key, value in raw.items() for leaf in leaves(value)]
    return [begin for begin, _leaf in pairs], [leaf for _begin, leaf in pairs]


def _index_values(index: Index) -> words.Values:
    starts: list[str] = []
    texts: list[str] = []
    for name, value in index.items():
        begin = _INDEX_STARTS.get(name)
        if begin is None:
            continue
        if type(value) is list:
            starts += [begin] * len(value)
            texts += value
            continue
        starts.append(begin)
        texts.append(value if type(value) is str else _as_text(value))
    return starts, texts


def _as_text(value: Any) -> str:
    return f"{value[0]} {value[1]}" if type(value) is tuple else str(value)


def leaves(value: Any) -> Iterator[str]:
    """Every scalar within a raw value as text: attached extension rows are lists of objects."""
    if isinstance(value, Mapping):
        value = value.values()
    if isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, bool):
        yield "true" if value else "false"
    elif value is not None:
        yield str(value)
