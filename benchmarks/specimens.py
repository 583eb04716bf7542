"""An archive of specimens as wide as aggregated ones are: about 5 kB of CSV for a record and its share of media.

Most of the text repeats from row to row (collection, rights, classification), the rest (places, remarks) does not:
ISA-L leaves about a quarter. Deterministic.
"""

from __future__ import annotations

import csv
import io
import pathlib
import random
import zipfile
from typing import Final
from xml.sax.saxutils import quoteattr

from downloads.formats import terms
from downloads.formats.samples import vocabulary

MEDIA_SHARE: Final = 0.35

# Term → words of its own per row; 0: one phrase for the whole collection; a negative number: phrases from a short list.
_TEXTS: Final = {
    "dwc:locality": 22, "dwc:verbatimLocality": 16, "dwc:occurrenceRemarks": 24, "dwc:habitat": 20,
    "dwc:fieldNotes": 18, "dwc:associatedTaxa": 10, "dwc:georeferenceRemarks": 10, "dwc:dynamicProperties": 12,
    "dwc:higherGeography": -6, "dwc:identificationRemarks": 6, "dwc:preparations": -3, "dwc:samplingProtocol": -4,
    "dwc:institutionID": 0, "dwc:collectionID": 0, "dwc:datasetName": 0, "dwc:datasetID": 0, "dcterms:rights": 0,
    "dcterms:accessRights": 0, "dcterms:rightsHolder": 0, "dcterms:license": 0, "dcterms:bibliographicCitation": 0,
    "dwc:informationWithheld": 0, "dwc:ownerInstitutionCode": 0, "dwc:nomenclaturalCode": 0, "dcterms:language": 0,
    "dwc:recordedBy": -4, "dwc:identifiedBy": -2, "dwc:scientificNameAuthorship": -2, "dwc:municipality": -2,
    "dwc:waterBody": -2, "dwc:island": -1, "dwc:disposition": -1, "dwc:establishmentMeans": -1, "dwc:lifeStage": -1,
    "dwc:sex": -1, "dwc:georeferencedBy": -2, "dwc:georeferenceProtocol": 0, "dwc:georeferenceSources": -3,
    "dwc:verbatimCoordinates": 3, "dwc:verbatimElevation": 2, "dwc:verbatimEventDate": 3, "dwc:formation": -2,
    "dwc:group": -2, "dwc:member": -2, "dwc:bed": -1, "dwc:lithostratigraphicTerms": -4,
    "dwc:earliestAgeOrLowestStage": -1,
    "dwc:latestAgeOrHighestStage": -1, "dwc:earliestEpochOrLowestSeries": -1, "dwc:earliestPeriodOrLowestSystem": -1,
    "dwc:geologicalContextID": 2, "dwc:associatedReferences": -8, "dwc:otherCatalogNumbers": 3, "dwc:eventID": 2,
    "dwc:fieldNumber": 1, "dwc:recordNumber": 1, "dwc:nameAccordingTo": -5, "dwc:vernacularName": -2,
    "dwc:typeStatus": -1, "dwc:taxonomicStatus": -1, "dwc:taxonRemarks": -4, "dwc:infraspecificEpithet": -1,
    "dwc:taxonID": 1, "dwc:stateProvince": -1, "dwc:county": -1, "dwc:collectionCode": 0, "dwc:institutionCode": 0,
}  # fmt: skip
_MEDIA_TEXTS: Final = {
    "ac:tag": 8, "ac:caption": 14, "dcterms:description": 16, "dcterms:title": 6, "dcterms:creator": -2,
    "dcterms:rights": 0, "xmpRights:UsageTerms": 0, "xmpRights:Owner": 0, "ac:licenseLogoURL": 0, "ac:credit": 0,
    "ac:metadataLanguage": 0, "dcterms:source": 3, "ac:captureDevice": -3, "ac:resourceCreationTechnique": -5,
    "ac:subjectPart": -2, "ac:derivedFrom": 3, "photoshop:Credit": 0, "dc:type": 0,
}  # fmt: skip
_EXACT: Final = (
    "dwc:occurrenceID", "dwc:catalogNumber", "dwc:basisOfRecord", "dwc:eventDate", "dwc:year", "dwc:month", "dwc:day",
    "dwc:continent", "dwc:country", "dwc:countryCode", "dwc:decimalLatitude", "dwc:decimalLongitude",
    "dwc:geodeticDatum", "dwc:coordinateUncertaintyInMeters", "dwc:minimumElevationInMeters",
    "dwc:maximumElevationInMeters", "dwc:kingdom", "dwc:phylum", "dwc:class", "dwc:order", "dwc:family", "dwc:genus",
    "dwc:specificEpithet", "dwc:scientificName", "dwc:taxonRank", "dwc:higherClassification", "dwc:individualCount",
    "dcterms:modified",
)  # fmt: skip
_EXACT_MEDIA: Final = (
    "dcterms:identifier", "ac:accessURI", "dcterms:format", "xmpRights:WebStatement", "exif:PixelXDimension",
    "exif:PixelYDimension", "ac:providerManagedID",
)  # fmt: skip


def write(path: pathlib.Path, *, records: int, seed: int = 1) -> None:
    """Write a zipped archive of `records` occurrences; MEDIA_SHARE of them have an image."""
    words = _Words(random.Random(seed))
    core, media = (io.StringIO(), io.StringIO())
    occurrences, images = csv.writer(core), csv.writer(media)
    for number in range(records):
        ident = f"collection-{number:07d}"
        occurrences.writerow([ident, *_specimen(words, number, ident), *words.row(_TEXTS)])
        if words.chance.random() < MEDIA_SHARE:
            images.writerow([ident, *_image(number), *words.row(_MEDIA_TEXTS)])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as target:
        target.writestr("meta.xml", _meta())
        target.writestr("occurrence.csv", core.getvalue())
        target.writestr("media.csv", media.getvalue())


class _Words:
    """Phrases of made-up words, some long, some short."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        syllables = [a + b for a in "bcdfglmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "is", "or", "um")]
        self._all = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 4)))) for _ in range(4000)]
        self._lists = {count: [self._phrase(-count) for _ in range(40)] for count in range(-8, 0)}
        self._fixed = {term: self._phrase(9) for term in [*_TEXTS, *_MEDIA_TEXTS]}

    def _phrase(self, count: int) -> str:
        return " ".join(self.chance.choices(self._all, k=count)).capitalize()

    def row(self, texts: dict[str, int]) -> list[str]:
        """A value for each term."""
        return [
            self._fixed[term] if count == 0 else self._phrase(count) if count > 0 else self._listed(count)
            for term, count in texts.items()
        ]

    def _listed(self, count: int) -> str:
        return self.chance.choice(self._lists[count])


def _specimen(words: _Words, number: int, ident: str) -> list[str]:
    chance = words.chance
    taxon, place = chance.choice(vocabulary.TAXA), chance.choice(vocabulary.SPANISH)
    year, month, day = chance.randint(1821, 2024), chance.randint(1, 12), chance.randint(1, 28)
    lat, lon = place.lat + chance.gauss(0, 0.4), place.lon + chance.gauss(0, 0.4)
    low = chance.randint(0, 3000)
    return [
        f"urn:catalog:herbarium:{ident}", f"H {number}", "PreservedSpecimen", f"{year:04d}-{month:02d}-{day:02d}",
        str(year), str(month), str(day), place.continent, place.country, place.code, f"{lat:.5f}", f"{lon:.5f}",
        "WGS84", str(chance.choice((10, 30, 500))), str(low), str(low + 50), taxon.kingdom, taxon.phylum, taxon.class_,
        taxon.order, taxon.family, taxon.genus, taxon.epithet, f"{taxon.genus} {taxon.epithet}", "species",
        f"{taxon.kingdom}; {taxon.phylum}; {taxon.class_}; {taxon.order}; {taxon.family}", "1", "2024-03-15",
    ]  # fmt: skip


def _image(number: int) -> list[str]:
    address = f"https://media.example.org/collections/herbarium/specimens/{number:07d}/full/original.jpg"
    licence = "http://creativecommons.org/licenses/by/4.0/"
    return [address, address, "image/jpeg", licence, "4000", "3000", f"urn:media:{number}"]


def _meta() -> str:
    occurrence = _table("core", "id", "http://rs.tdwg.org/dwc/terms/Occurrence", "occurrence.csv", [*_EXACT, *_TEXTS])
    images = [*_EXACT_MEDIA, *_MEDIA_TEXTS]
    media = _table("extension", "coreid", "http://rs.gbif.org/terms/1.0/Multimedia", "media.csv", images)
    return f'<archive xmlns="http://rs.tdwg.org/dwc/text/">{occurrence}{media}</archive>'


def _table(tag: str, key: str, row_type: str, file: str, columns: list[str]) -> str:
    fields = "".join(
        f"<field index={quoteattr(str(place))} term={quoteattr(terms.uri(column))}/>"
        for place, column in enumerate(columns, start=1)
    )
    return (
        f'<{tag} encoding="UTF-8" fieldsTerminatedBy="," linesTerminatedBy="\\r\\n" fieldsEnclosedBy="&quot;" '
        f'rowType="{row_type}"><files><location>{file}</location></files><{key} index="0"/>{fields}</{tag}>'
    )
