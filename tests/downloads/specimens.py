"""A small, awkward world of specimens for the query tests, put straight into the store's tables."""

import datetime
import itertools
import random
import uuid
from collections.abc import Iterator
from typing import Any, Literal

from downloads import models
from downloads.formats import cells, normalise, terms

SETS = [str(uuid.UUID(int=n << 64, version=4)) for n in (1, 2)]
MODIFIED = "2008-03-29T00:00:00+00:00"
TODAY = "2026-11-22"

GENERA = ["Acer", "ACER", "Puma", "Quercus", "Ácer", "Euphorbia", "", None]
LOCALITIES = [
    "Río Ñandú, near St. Louis",
    "St Louis",
    "st. louis",
    "東京都 near 山",
    "京都",
    "along rio grande; 5 km",
    "İstanbul",
    "a_b%c \\ 'quoted'",
    "شجرة قرب النهر, Río",
    "🦋 Lake\tNorth\nside 🌿",
    "e\u0301tang カタカナ-7b",
    "...",
    None,
]
DATES = ["1987-08-21", "1987-08", "1987", "1987-12-31T23:30:00-05:00", "1988-01-01", "summer", "1900-02-28", None]
PLACES = [
    ("45.12345", "-120.25432"),
    ("10.0000", "179.9000"),
    ("10.0000", "-179.9000"),
    ("0.0000", "180.0000"),
    ("0.5000", "-180.0000"),
    ("90.0000", "12.3456"),
    ("-90.0000", "0.0001"),
    ("89.5000", "100.0000"),
    ("20.0000", "20.0000"),
    ("25.0000", "25.0000"),
    ("15.0000", "15.0000"),
    None,
]
ELEVATIONS = ["100", "ca. 200-300", "-5", "0", "2,050 m", "x", None]


class World:
    """What was stored: index terms and raw rows by uuid, links as (record, media) in link order."""

    def __init__(self) -> None:
        self.records: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.media: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        self.links: list[tuple[str, str]] = []


def raw_record(number: int, chance: random.Random) -> dict[str, Any]:
    """Raw row `number`."""
    place = PLACES[number % len(PLACES)]
    raw: dict[str, Any] = {
        "dwc:occurrenceID": f"urn:x:{number}",
        "dwc:basisOfRecord": chance.choice(["PreservedSpecimen", "Fossil", None]),
        "dwc:genus": GENERA[number % len(GENERA)],
        "dwc:specificEpithet": chance.choice(["rubrum", "concolor", None]),
        "dwc:locality": chance.choice(LOCALITIES),
        "dwc:recordedBy": chance.choice(["J. Smith; Ana María", "smith j", None]),
        "dwc:eventDate": chance.choice(DATES),
        "dwc:minimumElevationInMeters": chance.choice(ELEVATIONS),
        "dwc:decimalLatitude": place[0] if place else None,
        "dwc:decimalLongitude": place[1] if place else None,
        "dwc:vernacularName": chance.choice(["Red Maple", "Érable", None]),
        "dwc:habitat": chance.choice(["Pine Flatwoods", "pine, flatwoods", "bog", None]),
        "dwc:catalogNumber": str(number),
    }
    if number % 7 == 0:
        raw["dwc:Identification"] = [{"dwc:identifiedBy": "Zoë\n", "a": "x,y"}]
    return {key: value for key, value in raw.items() if value}


def raw_media(number: int, chance: random.Random) -> dict[str, Any]:
    """Raw media row `number`."""
    raw = {
        "dcterms:identifier": f"http://media/{number}.JPG",
        "dc:format": chance.choice(["image/jpeg", "audio/wav", None]),
        "dcterms:rights": chance.choice(["CC BY", "CC0", None]),
        "ac:tag": chance.choice(["leaf; whole plant", "flower", None]),
        "exif:PixelXDimension": chance.choice(["640", "1024", None]),
    }
    return {key: value for key, value in raw.items() if value}


def build(records: int = 120, media: int = 40, *, version: int = 1) -> World:
    """Store and return a world; the same one every time."""
    chance = random.Random(7)
    world = World()
    for number in range(records):
        key, raw = str(uuid.UUID(int=chance.getrandbits(128), version=4)), raw_record(number, chance)
        terms_of = normalise.record(
            raw, uuid=key, recordset=SETS[number % 2], modified=MODIFIED, record_ids=[f"urn:x:{number}"], today=TODAY
        )
        world.records[key] = (terms_of, raw)
    for number in range(media):
        key, raw = str(uuid.UUID(int=chance.getrandbits(128), version=4)), raw_media(number, chance)
        world.media[key] = (normalise.media(raw, uuid=key, recordset=SETS[number % 2], modified=MODIFIED), raw)
    keys = list(world.records)
    for number, key in enumerate(world.media):
        for record in chance.sample(keys, number % 3):
            world.links.append((record, key))
    _link(world)
    save(world, version=version)
    return world


def _link(world: World) -> None:
    for key, (index, raw) in world.records.items():
        world.records[key] = (normalise.with_media(index, [m for r, m in world.links if r == key]), raw)
    for key, (index, raw) in world.media.items():
        world.media[key] = (normalise.with_records(index, [r for r, m in world.links if m == key]), raw)


def raw_columns(world: World, kind: str) -> list[str]:
    """The raw column set of a world."""
    rows = world.records if kind == "records" else world.media
    return cells.raw_columns(itertools.chain.from_iterable(raw for _, raw in rows.values()))


def save(world: World, *, version: int = 1) -> None:
    """Write a world into the tables, as one store version."""
    models.StoreVersion.objects.create(number=version, reason="test")
    for key in SETS:
        models.Recordset.objects.get_or_create(uuid=key, defaults={"name": f"Set {key[-1]}"})
    models.Record.objects.bulk_create(models.Record(**row) for row in _rows(world, "records", version))
    models.MediaRecord.objects.bulk_create(models.MediaRecord(**row) for row in _rows(world, "media", version))
    models.RecordMedia.objects.bulk_create(
        models.RecordMedia(record=record, media=medium, position=place, v_from=version)
        for place, (record, medium) in enumerate(world.links)
    )


def _rows(world: World, kind: Literal["records", "media"], version: int) -> Iterator[dict[str, Any]]:
    """The columns of every row of a table; the names of the raw ones are stored before."""
    table = terms.RECORD_TERMS if kind == "records" else terms.MEDIA_TERMS
    names = raw_columns(world, kind)
    models.RawColumnSet.objects.create(kind=kind, version=version, names=names)
    for key, (index, raw) in (world.records if kind == "records" else world.media).items():
        yield {
            "uuid": key,
            "recordset_id": index["recordset"],
            "v_from": version,
            "line_version": version,
            "line_index": cells.index_line(kind, index),
            "line_raw": cells.raw_line(raw, cells.places(names)),
            "words": normalise.words_text(index, raw),
            "raw": raw,
            "etag": index["etag"],
            **_columns(index, table),
        }


def _columns(index: dict[str, Any], table: tuple[terms.Term, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for term in table:
        value = index.get(term.name)
        if value is None or term.column in ("uuid", "recordset_id"):
            continue
        if term.kind == "point":
            found["lat"], found["lon"] = value
            continue
        found[term.shown] = value
        found[term.column] = _searched(term, value)
    return found


def _searched(term: terms.Term, value: Any) -> Any:
    if term.kind == "date":
        moment = datetime.datetime.fromisoformat(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    if term.name in terms.CASED:
        return [item.lower() for item in value] if isinstance(value, list) else value.lower()
    return value
