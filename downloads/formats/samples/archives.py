"""Writes the sample archives: four providers, four ways of laying out a Darwin Core Archive."""

from __future__ import annotations

import bisect
import contextlib
import csv
import itertools
import random
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

from downloads.formats import terms
from downloads.formats.samples import vocabulary
from downloads.formats.samples.vocabulary import Place, Taxon

_NAMESPACE = uuid.UUID("6f1d7d0e-6c0a-5b67-9a50-4d0d0a3b7c11")
_WITHOUT_PLACE, _WITH_MEDIA, _SHARED_MEDIA, _FREE_MEDIA = 0.22, 0.35, 0.04, 0.03
_REJECT_EVERY = 700

CORE: Final = (
    "dwc:occurrenceID", "dwc:basisOfRecord", "dwc:institutionCode", "dwc:collectionCode", "dwc:catalogNumber",
    "dwc:recordedBy", "dwc:recordNumber", "dwc:eventDate", "dwc:year", "dwc:month", "dwc:day", "dwc:verbatimEventDate",
    "dwc:continent", "dwc:country", "dwc:countryCode", "dwc:stateProvince", "dwc:county", "dwc:locality",
    "dwc:decimalLatitude", "dwc:decimalLongitude", "dwc:geodeticDatum", "dwc:coordinateUncertaintyInMeters",
    "dwc:minimumElevationInMeters", "dwc:maximumElevationInMeters", "dwc:kingdom", "dwc:phylum", "dwc:class",
    "dwc:order", "dwc:family", "dwc:genus", "dwc:specificEpithet", "dwc:scientificName", "dwc:taxonRank",
    "dwc:vernacularName", "dwc:higherClassification", "dwc:typeStatus", "dwc:individualCount", "dwc:occurrenceRemarks",
    "dcterms:modified", "idigbio:uuid",
)  # fmt: skip
MEDIA: Final = (
    "dcterms:identifier", "ac:accessURI", "dcterms:format", "dc:type", "ac:tag", "dcterms:rights",
    "xmpRights:WebStatement", "exif:PixelXDimension", "exif:PixelYDimension", "ac:associatedSpecimenReference",
)  # fmt: skip
_IDENTIFICATION = ("dwc:identifiedBy", "dwc:dateIdentified", "dwc:identificationRemarks")


@dataclass(frozen=True, kw_only=True)
class Provider:
    """One collection: how it writes, where it collects, and its share of all records."""

    code: str
    title: str
    licence: str
    places: list[Place]
    tongue: str
    share: float
    file: str
    delimiter: str = ","
    encoding: str = "UTF-8"
    has_names_only: bool = False
    has_identifications: bool = False

    @property
    def uuid(self) -> uuid.UUID:
        return uuid.uuid5(_NAMESPACE, self.code)


PROVIDERS: Final = (
    Provider(
        code="HNA",
        title="Herbario Nanay, colección de plantas y animales",
        licence=vocabulary.LICENCES[0],
        places=vocabulary.SPANISH,
        tongue="es",
        share=0.35,
        file="herbario-nanay.zip",
    ),
    Provider(
        code="PRM",
        title="Prairie Museum, general collection",
        licence=vocabulary.LICENCES[2],
        places=vocabulary.ENGLISH,
        tongue="en",
        share=0.3,
        file="prairie-museum.tar.gz",
        delimiter="\t",
        has_identifications=True,
    ),
    Provider(
        code="ZPB",
        title="Zielnik Puszczy i Oazy",
        licence=vocabulary.LICENCES[1],
        places=vocabulary.POLISH_ARABIC,
        tongue="pl",
        share=0.2,
        file="zielnik-puszczy",
        delimiter=";",
        has_names_only=True,
    ),
    Provider(
        code="TKM",
        title="高尾自然史標本館",
        licence=vocabulary.LICENCES[4],
        places=vocabulary.EAST_ASIAN,
        tongue="ja",
        share=0.15,
        file="takao.zip",
        delimiter="|",
        encoding="UTF-16",
    ),
)


def write_all(folder: Path, *, records: int, seed: int = 1) -> list[tuple[Provider, Path]]:
    """Write the four archives, `records` good rows among them; returns where each lies."""
    counts = [int(records * provider.share) for provider in PROVIDERS]
    counts[0] += records - sum(counts)
    made = []
    for provider, count in zip(PROVIDERS, counts, strict=True):
        path = folder / provider.file
        write(provider, path, records=count, seed=seed)
        made.append((provider, path))
    return made


def write(provider: Provider, path: Path, *, records: int, seed: int = 1) -> None:
    """Write one provider's archive."""
    chance = random.Random(f"{seed}/{provider.code}")  # noqa: S311 - samples, not secrets
    _Writer(provider, records, chance).write(path)


class _Writer:
    """Writes one provider's archive."""

    def __init__(self, provider: Provider, count: int, chance: random.Random) -> None:
        self.provider = provider
        self.count = count
        self.chance = chance
        # Zipf: the n-th most common species is 1/n as common as the first.
        weights = [1 / rank for rank in range(1, len(vocabulary.TAXA) + 1)]
        self._cumulative = list(itertools.accumulate(weights))

    def write(self, path: Path) -> None:
        with _package(path) as folder:
            (folder / "meta.xml").write_text(self._meta(), "utf-8")
            (folder / "eml.xml").write_text(self._eml(), "utf-8")
            with contextlib.ExitStack() as stack:
                tables = {name: stack.enter_context(_table(folder / name, self.provider)) for name in self._tables()}
                self._rows(tables)

    def _tables(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        """File → row type and columns behind the id."""
        tables = {
            "occurrence.txt": ("http://rs.tdwg.org/dwc/terms/Occurrence", CORE),
            "media.txt": ("http://rs.gbif.org/terms/1.0/Multimedia", MEDIA),
        }
        if self.provider.has_identifications:
            tables["identification.txt"] = ("http://rs.tdwg.org/dwc/terms/Identification", _IDENTIFICATION)
        return tables

    def _rows(self, tables: dict[str, Any]) -> None:
        for name, (_row_type, columns) in self._tables().items():
            tables[name].writerow(["id" if name == "occurrence.txt" else "coreid", *map(terms.uri, columns)])
        previous = ""
        for number in range(self.count):
            ident, uuid_ = f"{self.provider.code}-{number:07d}", str(uuid.uuid5(self.provider.uuid, str(number)))
            row = self._specimen(number, ident, uuid_)
            tables["occurrence.txt"].writerow(row)
            self._media(tables["media.txt"], number, ident, previous)
            if self.provider.has_identifications and number % 5 == 0:
                tables["identification.txt"].writerow(
                    [ident, "Ch. Mañana", str(1950 + number % 70), "cf. «typus» 標本"]
                )
            if number % _REJECT_EVERY == _REJECT_EVERY - 1:
                self._faults(tables, number, row)
            previous = uuid_

    def _faults(self, tables: dict[str, Any], number: int, row: list[str]) -> None:
        """Rows every provider has a few of."""
        core = tables["occurrence.txt"]
        [
            lambda: core.writerow(row),
            lambda: core.writerow(row[:7]),
            lambda: core.writerow(["", "", *row[2:-1], ""]),
            lambda: tables["media.txt"].writerow(["nowhere", f"x{number}", *[""] * (len(MEDIA) - 1)]),
        ][number // _REJECT_EVERY % 4]()

    def _taxon(self) -> Taxon:
        return vocabulary.TAXA[bisect.bisect(self._cumulative, self.chance.random() * self._cumulative[-1])]

    def _specimen(self, number: int, ident: str, uuid_: str) -> list[str]:
        chance, taxon, place = self.chance, self._taxon(), self.chance.choice(self.provider.places)
        lat, lon = self._point(place)
        year, month, day = chance.randint(1821, 2024), chance.randint(1, 12), chance.randint(1, 28)
        elevation = chance.randint(0, 4200)
        names_only = self.provider.has_names_only
        values = {
            "dwc:occurrenceID": f"urn:catalog:{ident}",
            "dwc:basisOfRecord": vocabulary.BASES[min(int(chance.expovariate(1.2)), len(vocabulary.BASES) - 1)],
            "dwc:institutionCode": self.provider.code,
            "dwc:collectionCode": "Plants" if taxon.kingdom == "Plantae" else "Animals",
            "dwc:catalogNumber": f"{self.provider.code} {number}",
            "dwc:recordedBy": chance.choice(vocabulary.COLLECTORS[self.provider.tongue]),
            "dwc:recordNumber": str(number % 997),
            "dwc:continent": place.continent,
            "dwc:country": place.country,
            "dwc:countryCode": place.code,
            "dwc:stateProvince": place.state,
            "dwc:county": place.county,
            "dwc:locality": place.locality,
            "dwc:decimalLatitude": lat,
            "dwc:decimalLongitude": lon,
            "dwc:geodeticDatum": chance.choice(["WGS84", "WGS84", "NAD27", ""]) if lat else "",
            "dwc:coordinateUncertaintyInMeters": chance.choice(["", "30", "ca. 1,500 m"]) if lat else "",
            "dwc:minimumElevationInMeters": str(elevation) if elevation > 400 else "",
            "dwc:maximumElevationInMeters": f"{elevation + 50} m" if elevation > 2000 else "",
            "dwc:kingdom": taxon.kingdom,
            "dwc:phylum": taxon.phylum,
            "dwc:class": taxon.class_,
            "dwc:order": taxon.order,
            "dwc:family": taxon.family,
            "dwc:genus": "" if names_only else taxon.genus,
            "dwc:specificEpithet": "" if names_only else taxon.epithet,
            "dwc:scientificName": f"{taxon.genus} {taxon.epithet}" if names_only or number % 3 else "",
            "dwc:taxonRank": chance.choice(["species", "sp.", "", "ssp."]),
            "dwc:vernacularName": taxon.common,
            "dwc:higherClassification": f"{taxon.kingdom}; {taxon.phylum}; {taxon.class_}",
            "dwc:typeStatus": "holotype" if number % 211 == 0 else "",
            "dwc:individualCount": chance.choice(["", "1", "2 males, 1 female"]),
            "dwc:occurrenceRemarks": chance.choice(vocabulary.REMARKS),
            "dcterms:modified": f"20{number % 25:02d}-0{1 + number % 9}-15",
            "idigbio:uuid": uuid_ if number % 2 else "",
        } | self._date(year, month, day)
        return [ident, *(values[column] for column in CORE)]

    def _date(self, year: int, month: int, day: int) -> dict[str, str]:
        """An event date as labels have it: exact, partial, in words, in parts or not at all."""
        iso = f"{year:04d}-{month:02d}-{day:02d}"
        given = self.chance.choice([iso, iso, iso[:7], iso[:4], f"{iso}/{iso[:8]}28", f"summer {year}", ""])
        in_parts = given == "" or self.chance.random() < 0.5
        return {
            "dwc:eventDate": given,
            "dwc:verbatimEventDate": f"{day}.{month}.{year}" if in_parts else "",
            "dwc:year": str(year) if in_parts else "",
            "dwc:month": str(month) if in_parts else "",
            "dwc:day": str(day) if in_parts else "",
        }

    def _point(self, place: Place) -> tuple[str, str]:
        if self.chance.random() < _WITHOUT_PLACE:
            return "", ""
        lat = max(-90.0, min(90.0, place.lat + self.chance.gauss(0, 0.4)))
        lon = (place.lon + self.chance.gauss(0, 0.4) + 180) % 360 - 180
        places = self.chance.choice([1, 3, 5])
        return f"{lat:.{places}f}", f"{lon:.{places}f}"

    def _media(self, table: Any, number: int, ident: str, previous: str) -> None:
        if self.chance.random() >= _WITH_MEDIA:
            return
        for image in range(1 + (number % 7 == 0)):
            name = f"https://media.example.org/{self.provider.code}/{number}-{image}.jpg"
            licence = self.chance.choice(vocabulary.LICENCES)
            is_free = self.chance.random() < _FREE_MEDIA
            is_shared = previous and self.chance.random() < _SHARED_MEDIA
            values = {
                "dcterms:identifier": name,
                "ac:accessURI": name,
                "dcterms:format": self.chance.choice(["image/jpeg", "image/jpeg", "audio/mpeg", ""]),
                "dc:type": "StillImage",
                "ac:tag": self.chance.choice(["", "habit, leaf", "标本 全形", "etykieta"]),
                "dcterms:rights": licence,
                "xmpRights:WebStatement": licence if licence.startswith("http") else "",
                "exif:PixelXDimension": "4000",
                "exif:PixelYDimension": "3000",
                "ac:associatedSpecimenReference": previous if is_shared and number % 2 == 0 else "",
            }
            table.writerow(["" if is_free else ident, *(values[column] for column in MEDIA)])

    def _meta(self) -> str:
        parts = []
        for name, (row_type, columns) in self._tables().items():
            tag, key = ("core", "id") if name == "occurrence.txt" else ("extension", "coreid")
            fields = "".join(
                f'<field index="{place}" term={quoteattr(terms.uri(column))}/>'
                for place, column in enumerate(columns, start=1)
            )
            delimiter = {"\t": "\\t"}.get(self.provider.delimiter, self.provider.delimiter)
            parts.append(
                f'<{tag} encoding="{self.provider.encoding}" fieldsTerminatedBy="{delimiter}" '
                f'linesTerminatedBy="\\n" fieldsEnclosedBy="&quot;" ignoreHeaderLines="1" rowType="{row_type}">'
                f'<files><location>{name}</location></files><{key} index="0"/>{fields}</{tag}>'
            )
        body = "".join(parts)
        return f'<archive xmlns="http://rs.tdwg.org/dwc/text/" metadata="eml.xml">{body}</archive>'

    def _eml(self) -> str:
        return (
            f'<eml packageId="{self.provider.uuid}/v1.0" system="http://gbif.org"><dataset>'
            f"<title>{escape(self.provider.title)}</title>"
            f"<intellectualRights><para>{escape(self.provider.licence)}</para></intellectualRights></dataset></eml>"
        )


@contextlib.contextmanager
def _table(path: Path, provider: Provider) -> Iterator[Any]:
    """A csv writer of a member."""
    with path.open("w", encoding=provider.encoding, newline="") as text:
        yield csv.writer(text, delimiter=provider.delimiter, lineterminator="\n")


@contextlib.contextmanager
def _package(path: Path) -> Iterator[Path]:
    """A folder, or one that is packed into a zip or tar.gz afterwards: two members cannot be written at once there."""
    folder = path if path.suffix == "" else path.with_name(f"{path.name}.d")
    folder.mkdir(parents=True, exist_ok=True)
    yield folder
    if folder == path:
        return
    files = sorted(folder.iterdir())
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
            for file in files:
                target.write(file, f"dwca/{file.name}")
    else:
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            for file in files:
                tar.add(file, file.name)
    for file in files:
        file.unlink()
    folder.rmdir()
