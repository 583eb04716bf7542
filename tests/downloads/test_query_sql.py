"""The query language on the store, against the plain-Python reference (contract §2.7, D17-D22)."""

import itertools
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker

from downloads.formats import terms
from downloads.jobs.build import selection as build_selection
from downloads.selectors import geo, jsontext, nodes, normal, parse, request, sql
from tests.downloads import questions, reference, specimens


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[specimens.World]:
    """One world for all tests of the module, taken away afterwards."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield specimens.build()
        transaction.set_rollback(True)


pytestmark = pytest.mark.django_db  # each test is a savepoint within the transaction that holds the world


def fetch(piece: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(piece.text, piece.params)
        return list(cursor.fetchall())


def select(query: dict[str, Any], kind: nodes.Kind = "records") -> set[str]:
    jsontext.check(query)
    node = parse.query(query, parse.Known(kind))
    found = _uuids(node, kind)
    normalised = normal.query(node)
    again = parse.query(normalised, parse.Known(kind))
    assert normal.query(again) == normalised
    assert _uuids(again, kind) == found, "the normal form selects the same rows"
    return found


def _uuids(node: nodes.Node, kind: nodes.Kind) -> set[str]:
    table = sql.RECORDS if kind == "records" else sql.MEDIA
    where = sql.condition(node, "x")
    return {str(key) for (key,) in fetch(sql.Sql(f"SELECT uuid FROM {table} x WHERE {where.text}", where.params))}


def expected(query: dict[str, Any], world: specimens.World, kind: str = "records") -> set[str]:
    table = dict(terms.RECORD_TERM if kind == "records" else terms.MEDIA_TERM)
    held = world.records if kind == "records" else world.media
    return {key for key, row in held.items() if reference.selects(query, row, table)}


PERIODS = ["1987", "1987-08", "1987-08-21", "1987-08-21T00:00:00Z", "1988-01-01T04:30:00+00:00", 567993600000]
BOUNDS = [("gte", "gt"), ("lt", "lte")]
TEXTS: list[dict[str, Any]] = [
    {"genus": "acer"},
    {"genus": "ACER "},
    {"genus": "A\u0301cer"},
    {"genus": ["acer", "Puma", "nothing"]},
    {"genus": []},
    {"genus": ""},
    {"genus": 5},
    {"catalognumber": 7},
    {"catalognumber": ["7", 8]},
    {"locality": "st louis"},
    {"locality": "st. louis"},
    {"locality": "louis st"},
    {"locality": ["rio grande", "京都"]},
    {"locality": "東京"},
    {"locality": "京"},
    {"locality": "京東"},
    {"locality": "İSTANBUL"},
    {"locality": "a_b%c"},
    {"locality": "..."},
    {"locality": "?"},
    {"collector": "smith"},
    {"collector": "j smith"},
    {"collector": "Ana María"},
    {"data.dwc:habitat": "pine flatwoods"},
    {"data.dwc:habitat": "pine, flatwoods"},
    {"data.dwc:habitat": "flatwoods pine"},
    {"data.dwc:recordedBy": "smith j"},
    {"data.dwc:Identification": "zoë"},
    {"data.dwc:Identification": "x y"},
    {"data.x:none": "a"},
    {"commonnames": "red maple"},
    {"commonnames": "ÉRABLE"},
    {"flags": "geopoint_datum_missing"},
    {"flags": ["geopoint_0_coord", "geopoint_similar_coord"]},
    {"recordset": specimens.SETS[0]},
    {"recordset": specimens.SETS[1].upper()},
    {"uuid": "not a uuid"},
    {"recordids": "urn:x:3"},
]
NUMBERS: list[dict[str, Any]] = [
    {"minelevation": 100},
    {"minelevation": "2050.0"},
    {"minelevation": [-5, 0]},
    {"startdayofyear": 233},
    {"startdayofyear": "233.5"},
    {"minelevation": {"type": "range", "gte": 0, "lt": 200}},
    {"minelevation": {"type": "range", "gt": "0"}},
    {"startdayofyear": {"type": "range", "gt": 1.5, "lte": 233.5}},
    {"startdayofyear": {"type": "range", "gte": 1.5, "lt": 233.5}},
    {"hasImage": True},
    {"hasImage": "False"},
    {"hasMedia": [True, False]},
]
STATES = ["exists", "missing"]
FIELDS_OF_ALL_KINDS = ["genus", "geopoint", "flags", "datecollected", "data.dwc:habitat", "data.dwc:Identification"]
OPERATORS: list[dict[str, Any]] = [
    *({name: {"type": state}} for name in FIELDS_OF_ALL_KINDS for state in STATES),
    {"genus": {"type": "range", "gte": "b", "lt": "q"}},
    {"genus": {"type": "range", "gt": "puma"}},
    {"commonnames": {"type": "range", "gte": "s"}},
    {"flags": {"type": "range", "gt": "geopoint_datum_missing", "lt": "geopoint_similar_coord"}},
    {"flags": {"type": "range", "gt": "dwc_basisofrecord_invalid", "lte": "dwc_basisofrecord_removed"}},
    {"data.dwc:Identification": {"type": "range", "gt": "x,y", "lt": "zoë"}},
    {"data.dwc:habitat": {"type": "range", "gte": "pine", "lt": "pine,!"}},
    {"data.dwc:catalogNumber": {"type": "range", "gte": "5", "lte": "7"}},
    {"uuid": {"type": "range", "lt": "8"}},
    *({"genus": {"type": "prefix", "value": text}} for text in ("ac", "AC", "ác", "", "x", "acer")),
    *({"locality": {"type": "prefix", "value": text}} for text in ("st lou", "lou", "東", "río ñ", "", "...")),
    {"flags": {"type": "prefix", "text": "geopoint_"}},
    {"recordset": {"type": "prefix", "value": specimens.SETS[0][:9]}},
    {"data.dwc:habitat": {"type": "prefix", "value": "pine f"}},
    {"data.dwc:catalogNumber": {"type": "prefix", "value": "11"}},
    *({"data": {"type": "fulltext", "value": text}} for text in ("acer smith", "Pine", "東", "zoë", "fossilspecimen")),
    {"data": {"type": "fulltext", "value": "acer"}, "else": {"type": "fulltext", "text": "pine flatwoods"}},
    {"data": {"type": "fulltext", "value": "don't find'this"}},
    *(
        {"locality": {"type": "exact", "text": text}}
        for text in ("st louis", "St. Louis", "st. louis ", "東京都 near 山")
    ),
    {"genus": {"type": "keyword", "value": "Ácer"}},
    {"commonnames": {"type": "exact", "text": "Red maple"}},
    *({"data.dwc:locality": {"type": "exact", "text": text}} for text in ("st louis", "St. Louis", "...")),
    {"data.dwc:locality": {"type": "exact", "text": "A_B%C \\ 'QUOTED'"}},
    *({"locality": {"type": "fuzzy", "text": text}} for text in ("sr", "st", "s", "nea", "ner")),
    *({"genus": {"type": "fuzzy", "text": text}} for text in ("acer", "acre", "eacer", "puna", "quercsu", "xx")),
    *({"locality": {"type": "fuzzy", "text": text}} for text in ("st luois", "grnde", "東 山", "...", "louis saint")),
    {"data.dwc:habitat": {"type": "fuzzy", "value": "flatwods"}},
    {"commonnames": {"type": "fuzzy", "text": "rod mapel"}},
    {"mediarecords": {"type": "missing"}},
]
DATES: list[dict[str, Any]] = [
    *({"datecollected": period} for period in PERIODS),
    *({"datecollected": {"type": "range", name: period}} for period in PERIODS for pair in BOUNDS for name in pair),
    {"datecollected": ["1987-08", "1900"]},
    {"datecollected": {"type": "range", "gte": "1987-08", "lte": "1987"}},
    {"datemodified": "2008-03-29"},
    {"eventdate": "1987-08"},
]


@pytest.mark.parametrize("query", [*TEXTS, *NUMBERS, *OPERATORS], ids=str)
def test_operators(query: dict[str, Any], world: specimens.World) -> None:
    """D17: every operator selects the same uuids as the reference."""
    assert select(query) == expected(query, world)


def test_the_queries_tell_rows_apart(world: specimens.World) -> None:
    """D17: most of the queries above select some rows and not others, or they would prove little."""
    sizes = [len(expected(query, world)) for query in [*TEXTS, *NUMBERS, *OPERATORS, *DATES]]
    assert sum(0 < size < len(world.records) for size in sizes) > 0.7 * len(sizes)


@pytest.mark.parametrize("query", DATES, ids=str)
def test_dates(query: dict[str, Any], world: specimens.World) -> None:
    """D20: a partial date is its whole period."""
    assert select(query) == expected(query, world)


def test_phrases(world: specimens.World) -> None:
    """D21: words stand consecutively; Han by character; exact is the whole value; also on provider terms."""
    for field in ("locality", "data.dwc:locality"):
        found = {text: select({field: text}) for text in ("St. Louis", "ñandú near", "東京", "京都", "near 山")}
        assert all(found.values())
        assert found["東京"] < found["京都"]
        assert select({field: {"type": "exact", "text": "st. louis"}}) < found["St. Louis"]
        assert select({field: "louis st"}) == set()
        assert select({field: {"type": "prefix", "value": "st lou"}}) == found["St. Louis"]


def point(**operator: Any) -> dict[str, Any]:
    return {"geopoint": operator}


def bounds(north: Any, west: Any, south: Any, east: Any) -> dict[str, Any]:
    return point(
        type="geo_bounding_box", top_left={"lat": north, "lon": west}, bottom_right={"lat": south, "lon": east}
    )


def polygon(*corners: tuple[float, float]) -> dict[str, Any]:
    return point(type="geo_polygon", value=[{"lat": lat, "lon": lon} for lat, lon in corners])


def shape(kind: str, coordinates: Any, **more: Any) -> dict[str, Any]:
    return point(type="geo_shape", value={"type": kind, "coordinates": coordinates, **more})


SQUARE = [[10, 10], [30, 10], [30, 30], [10, 30], [10, 10]]
HOLE = [[15, 15], [25, 15], [25, 25], [15, 25], [15, 15]]
CROSSING = [[170, 0], [-170, 0], [-170, 20], [170, 20], [170, 0]]
PLACES: list[tuple[dict[str, Any], int]] = [
    (bounds(50, -130, 40, -110), 1),
    (bounds(40, -130, 50, -110), 1),
    (bounds("45.12345", "-120.25432", "45.12345", "-120.25432"), 1),
    (bounds(20, 170, -10, -170), 4),
    (bounds(20, 170, -10, 180), 3),
    (bounds(20, -180, -10, -175), 3),
    (bounds(90, -180, -90, 180), 11),
    (bounds(90, 0, 89, 120), 2),
    (point(type="geo_distance", distance="100km", lat=45.1, lon=-120.2), 1),
    (point(type="geo_distance", distance="25km", lat="10", lon="-179.99"), 2),
    (point(type="geo_distance", distance=60000, lat=90, lon=0), 2),
    (point(type="geo_distance", distance="61 nmi", lat=89.5, lon=-80), 2),
    (point(type="geo_distance", distance="20015.2km", lat=0, lon=0), 11),
    (point(type="geo_distance", distance="0", lat=20, lon=20), 1),
    (polygon((10, 10), (10, 30), (30, 30), (30, 10)), 3),
    (polygon((15, 15), (15, 25), (25, 25), (25, 15)), 3),
    (polygon((20, 20), (25, 25), (25, 20)), 2),
    (polygon((0, 170), (0, -170), (20, -170), (20, 170)), 4),
    (polygon((80, 0), (80, 120), (80, -120)), 2),
    (polygon((-80, 0), (-80, 120), (-80, -120)), 1),
    (shape("Polygon", [SQUARE]), 3),
    (shape("Polygon", [SQUARE, HOLE]), 2),
    (shape("polygon", [SQUARE, [[16, 16], [24, 16], [24, 24], [16, 24], [16, 16]]]), 2),
    (shape("MultiPolygon", [[SQUARE, HOLE], [CROSSING]]), 6),
    (shape("MultiPolygon", [[SQUARE], [HOLE]]), 3),
    (shape("Polygon", [CROSSING, [[179, 9], [-179, 9], [-179, 11], [179, 11], [179, 9]]]), 2),
    (shape("envelope", [[170, 20], [-170, -10]]), 4),
    (shape("circle", [20, 20], radius="1km"), 1),
]


@pytest.mark.parametrize(("query", "kinds"), PLACES, ids=[str(query) for query, _ in PLACES])
def test_places(query: dict[str, Any], kinds: int, world: specimens.World) -> None:
    """D18: boxes, circles and polygons across ±180°, holes, edges and poles."""
    found = select(query)
    assert found == expected(query, world)
    assert len({world.records[key][0]["geopoint"] for key in found}) == kinds


def test_edges_across_the_date_line() -> None:
    """D18: points on the edges of a box across ±180° are in it, whatever their longitudes round to."""
    chance = random.Random(5)
    for _ in range(100):
        east, west = sorted(round(chance.uniform(-180, 180), 3) for _ in range(2))
        where = sql.condition(parse.query(bounds(1, west, 0, east), parse.Known()), "x")
        inside = [east, west, 180.0, -180.0, (west + 180) / 2, (east - 180) / 2]
        text = f"SELECT x.lon FROM (SELECT 0.5::float8 AS lat, unnest(%s::float8[]) AS lon) x WHERE {where.text}"
        assert fetch(sql.Sql(text, ([*inside, (west + east) / 2], *where.params))) == [(lon,) for lon in inside]


@pytest.mark.parametrize(
    ("spelt", "metres"),
    [
        ("1500mm", 1.5),
        ("150 cm", 1.5),
        ("2m", 2),
        ("0.5km", 500),
        ("100in", 2.54),
        ("10ft", 3.048),
        ("10yd", 9.144),
        ("1mi", 1609.344),
        ("1nmi", 1852),
        ("1NM", 1852),
        ("7", 7),
        (7.5, 7.5),
    ],
)
def test_units(spelt: Any, metres: float) -> None:
    """D17: every unit of a distance; a bare number is metres."""
    assert geo.distance(spelt) == pytest.approx(metres, rel=1e-12)


@pytest.mark.parametrize(
    ("wkt", "kinds"),
    [
        ("POLYGON((10 10, 30 10, 30 30, 10 30, 10 10), (15 15, 25 15, 25 25, 15 25, 15 15))", 2),
        ("multipolygon (((10 10, 30 10, 30 30, 10 30, 10 10)), ((170 0, -170 0, -170 20, 170 20, 170 0)))", 7),
        ("ENVELOPE(170, -170, 20, -10)", 4),
    ],
)
def test_wkt(wkt: str, kinds: int, world: specimens.World) -> None:
    """D18: the same in WKT."""
    found = select(point(type="geo_shape", value=wkt))
    assert len({world.records[key][0]["geopoint"] for key in found}) == kinds


RANDOM_POINT = st.tuples(st.floats(-85, 85).map(lambda x: round(x, 2)), st.floats(-180, 180).map(lambda x: round(x, 2)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example([(0.0, 15.0), (17.0, 0.0), (0.0, 152.0), (0.0, -29.0)])
@given(st.lists(RANDOM_POINT, min_size=3, max_size=8, unique=True))
def test_any_polygon(world: specimens.World, corners: list[tuple[float, float]]) -> None:
    """D18: any polygon, self-crossing or around a pole, is what the reference says it is."""
    spans = [abs(a[1] - b[1]) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)]
    if any(abs(span - 180) < 1e-6 for span in spans) or abs(sum(lat for lat, _ in corners)) < 1:
        return  # an edge of half the globe has no short way, nor such a ring a nearer pole
    where = sql.condition(parse.query(polygon(*corners), parse.Known()), "r")
    text = f"SELECT DISTINCT lat, lon FROM {sql.RECORDS} r WHERE {where.text}"
    rings = [[(lon, lat) for lat, lon in corners]]
    places = {index["geopoint"] for index, _ in world.records.values() if "geopoint" in index}
    assert set(fetch(sql.Sql(text, where.params))) == {place for place in places if reference.in_rings(rings, *place)}


def _flat_queries() -> list[dict[str, Any]]:
    return [*TEXTS, *NUMBERS, *OPERATORS, *DATES, *(query for query, _ in PLACES)]


def _combined(chance: random.Random, depth: int) -> dict[str, Any]:
    if not depth or chance.random() < 0.2:
        return chance.choice(_flat_queries())
    word = chance.choice(["and", "or", "not", "beside"])
    if word == "not":
        return {"not": _combined(chance, depth - 1)}
    if word == "beside":
        return {**chance.choice(_flat_queries()), "not": _combined(chance, depth - 1)}
    return {word: [_combined(chance, depth - 1) for _ in range(chance.randrange(4))]}


@pytest.mark.parametrize("seed", range(60))
def test_groups(seed: int, world: specimens.World) -> None:
    """D19: nested groups equal set algebra."""
    query = _combined(random.Random(seed), 4)
    assert select(query) == expected(query, world)


@pytest.mark.parametrize("kind", ["records", "media"])
@pytest.mark.parametrize("seed", range(24))
def test_any_question(seed: int, kind: Any, world: specimens.World) -> None:
    """D17: whatever is asked, of whatever field and in whatever group, selects the same uuids as the reference."""
    held, table = (world.records, terms.RECORD_TERM) if kind == "records" else (world.media, terms.MEDIA_TERM)
    asker = questions.Asker(seed, held, table)
    for _ in range(15):
        query = asker.query(depth=seed % 3)
        assert select(query, kind) == expected(query, world, kind), query


@pytest.mark.parametrize("kind", ["records", "media"])
def test_questions_tell_rows_apart(kind: Any, world: specimens.World) -> None:
    """D17: a good part of the random queries select some rows and not others; all operators and fields occur."""
    held, table = (world.records, terms.RECORD_TERM) if kind == "records" else (world.media, terms.MEDIA_TERM)
    asker = questions.Asker(0, held, table)
    asked = [asker.condition() for _ in range(600)]
    sizes = [len(expected(query, world, kind)) for query in asked]
    assert sum(0 < size < len(held) for size in sizes) > 0.4 * len(sizes)
    operators = {value["type"] for query in asked for value in query.values() if isinstance(value, dict)}
    assert operators == {name for name in parse.OPERATORS if kind == "records" or not name.startswith("geo_")}
    assert {name for name in table if any(name in index for index, _ in held.values())} <= {*itertools.chain(*asked)}


SAME = [
    [{"genus": "acer"}, {"genus": ["ACER ", "acer"]}, {"and": [{"genus": "acer"}]}, {"or": [{"genus": "acer"}] * 2}],
    [{}, {"and": []}, {"and": [{}, {"and": []}]}, {"not": {"not": {}}}, {"data": {"type": "fulltext", "value": "!"}}],
    [{"or": []}, {"or": [{"or": []}, {"or": []}]}],
    [{"not": {"not": {"genus": "acer"}, "and": []}}, {"genus": "acer"}],
    [
        {"not": {"genus": {"type": "missing"}}},
        {"genus": {"type": "exists"}},
        {"genus": {"type": "prefix", "value": ""}},
    ],
    [
        {"or": [{"genus": "a"}, {"or": [{"genus": "b"}, {"genus": "a"}]}]},
        {"or": [{"genus": "b"}, {"and": [{"genus": "A"}]}]},
    ],
    [
        {"a": {"type": "fulltext", "value": "x y"}, "b": {"type": "fulltext", "text": "Z"}},
        {"and": [{"data": {"type": "fulltext", "value": "z, y"}}, {"data": {"type": "fulltext", "value": "x"}}]},
    ],
    [{"locality": "St. Louis"}, {"locality": ["st louis", "ST-LOUIS"]}],
    [{"minelevation": [1, "2.0"]}, {"minelevation": [2, 1.0, 2]}],
]


@pytest.mark.parametrize("queries", SAME, ids=str)
def test_one_normal_form(queries: list[dict[str, Any]], world: specimens.World) -> None:
    """D7: equivalent spellings have one normal form, so that they share a build."""
    forms = [normal.query(parse.query(query, parse.Known())) for query in queries]
    assert all(form == forms[0] for form in forms), forms
    assert {frozenset(select(query)) for query in queries} == {frozenset(select(forms[0]))}


def test_not_keeps_rows_without_the_field(world: specimens.World) -> None:
    """D19: `not` is two-valued, whatever the field."""
    everything = set(world.records)
    without = {key for key, (index, _) in world.records.items() if "genus" not in index}
    assert without
    assert without <= select({"not": {"genus": "acer"}})
    for query in _flat_queries():
        assert select({"not": query}) == everything - select(query), query
    assert select({"and": []}) == select({}) == everything
    assert select({"or": []}) == set()


MEDIA = [
    {},
    {"format": "image/jpeg"},
    {"mediatype": ["images", "sounds"]},
    {"accessuri": "HTTP://media/3.jpg"},
    {"rights": "by"},
    {"tag": "whole plant"},
    {"xpixels": {"type": "range", "gt": 700}},
    {"data.ac:tag": {"type": "exact", "text": "leaf; whole plant"}},
    {"hasSpecimen": False},
    {"licenselogourl": {"type": "prefix", "value": "HTTPS://i."}},
    {"records": {"type": "exists"}},
]


@pytest.mark.parametrize("query", MEDIA, ids=str)
def test_media(query: dict[str, Any], world: specimens.World) -> None:
    """D17: the same language on media terms; terms stored with case compare without it."""
    assert select(query, "media") == expected(query, world, "media")


def selection(rq: Any, mq: Any, *, version: int = 1, hidden: Any = (), **options: Any) -> build_selection.Selection:
    queries: dict[str, Any] = {"rq": rq, "mq": mq}
    for name, kind in (("rq", "records"), ("mq", "media")):
        given = queries[name]
        node = None if given is None else parse.query(given, parse.Known(kind))  # type: ignore[arg-type]
        queries[f"normal_{name}"] = None if node is None else normal.query(node)
    asked = request.DownloadRequest(face="v2", **queries, **options)
    return build_selection.Selection(asked, version, [uuid.UUID(str(key)) for key in hidden])


def pairs(piece: Any) -> list[tuple[Any, ...]]:
    return [tuple(map(str, row)) for row in fetch(piece)]


@pytest.mark.parametrize("rq", [None, {}, {"genus": "acer"}], ids=str)
@pytest.mark.parametrize("mq", [None, {}, {"format": "image/jpeg"}], ids=str)
def test_records_and_media(rq: Any, mq: Any, world: specimens.World) -> None:
    """D22: `rq`, `mq` and both select by rule 7."""
    records, media = expected(rq or {}, world), expected(mq or {}, world, "media")
    links = [(r, m) for r, m in world.links if r in records and m in media]
    chosen = selection(rq, mq)
    found_records = {key for (key,) in pairs(chosen.rows("records", "r.uuid"))}
    assert found_records == (records if mq is None else {r for r, _ in links})
    keyed: dict[str, str] = dict(pairs(chosen.rows("media", "m.uuid, m.carrier")))
    assert keyed == {m: next(r for r, other in links if other == m) for _, m in links}


@pytest.mark.parametrize("seed", range(20))
def test_any_records_and_media(seed: int, world: specimens.World) -> None:
    """D22, D33, D39: whatever both queries are, in each core: which rows are selected, and what carries them."""
    chance = random.Random(seed)
    rq = chance.choice([None, questions.Asker(seed, world.records, terms.RECORD_TERM).query(1), {"hasMedia": True}])
    mq = chance.choice([None, {}, questions.Asker(seed, world.media, terms.MEDIA_TERM).query(1), {"hasSpecimen": True}])
    mq = {} if rq is mq is None else mq
    for core_type in request.CORE_TYPES:
        grouped = {"uniquenames": "scientificname", "uniquelocality": "locality"}.get(core_type, "uuid")
        records = {key for key in expected(rq or {}, world) if grouped in world.records[key][0]}
        media = expected(mq or {}, world, "media")
        links = [(record, medium) for record, medium in world.links if record in records and medium in media]
        first_medium = dict(reversed(links))
        carriers = {key: key for key in records if mq is None or key in first_medium}
        of_media = {medium: record for record, medium in reversed(links)}
        if core_type == "mediarecords":
            carriers, of_media = first_medium, {medium: medium for medium in of_media}
        chosen = selection(rq, mq, core_type=core_type)
        assert dict(pairs(chosen.rows("records", "r.uuid, r.carrier"))) == carriers, (rq, mq, core_type)
        assert dict(pairs(chosen.rows("media", "m.uuid, m.carrier"))) == of_media, (rq, mq, core_type)
        assert fetch(chosen.media_without_record()) == [(len(media - {medium for _, medium in links}),)]
        if grouped != "uuid":
            values = [world.records[key][0][grouped] for key in carriers]
            assert fetch(chosen.groups()) == sorted(Counter(values).items())


@pytest.mark.parametrize("mq", [None, {"format": "image/jpeg"}], ids=str)
def test_records_of_a_media_core(mq: Any, world: specimens.World) -> None:
    """D33: where media rows are the core, a record carries its first selected media uuid in link order."""
    media = expected(mq or {}, world, "media")
    first: dict[str, str] = {}
    for record, medium in world.links:
        if medium in media:
            first.setdefault(record, medium)
    chosen = selection(None, mq, core_type="mediarecords")
    assert dict(pairs(chosen.rows("records", "r.uuid, r.carrier"))) == first
    linked = {record: [m for other, m in world.links if other == record] for record, _ in world.links}
    assert any(each[0] != min(each) for each in linked.values()), "the order of the links is not that of the uuids"


def test_media_without_a_record_are_counted(world: specimens.World) -> None:
    """D36: media that match and belong to no record."""
    lonely = set(world.media) - {m for _, m in world.links}
    assert fetch(selection(None, {}).media_without_record()) == [(len(lonely),)]
    images = lonely & expected({"format": "image/jpeg"}, world, "media")
    assert fetch(selection({}, {"format": "image/jpeg"}).media_without_record()) == [(len(images),)]


def test_versions_and_hidden_recordsets(world: specimens.World) -> None:
    """D37: a selection reads the store as of its version."""
    assert fetch(selection({}, None, version=0).rows("records", "r.uuid")) == []
    assert len(fetch(selection({}, None, version=2).rows("records", "r.uuid"))) == len(world.records)
    shown = selection({}, None, hidden=[specimens.SETS[0]])
    assert {key for (key,) in pairs(shown.rows("records", "r.recordset_id"))} == {specimens.SETS[1]}


def test_groups_of_values(world: specimens.World) -> None:
    """D39: values and their counts, by value; records without one are left out."""
    chosen = selection({}, None, core_type="uniquelocality")
    counts: dict[str, int] = {}
    for index, _ in world.records.values():
        if "locality" in index:
            counts[index["locality"]] = counts.get(index["locality"], 0) + 1
    assert fetch(chosen.groups()) == sorted(counts.items())
    assert len(fetch(chosen.rows("records", "r.uuid"))) == sum(counts.values())


def test_a_part_reads_its_media_only(world: specimens.World) -> None:
    """D47: the bounds of a part are asked of the media rows too, else each part would read them all."""
    low, high = uuid.UUID(int=1 << 126), uuid.UUID(int=1 << 127)
    piece = selection({}, None).rows("media", "m.uuid", (low, high))
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(f"EXPLAIN {piece.text}", piece.params)
        lines = [line for (line,) in cursor.fetchall()]
    scans = [number for number, line in enumerate(lines) if "on downloads_mediarecord m" in line]
    assert scans
    for number in scans:
        assert f"uuid >= '{low}'" in "".join(lines[number : number + 3]), lines
    inside = {key for key in world.media if low <= uuid.UUID(key) < high}
    linked = {m for _, m in world.links}
    assert {str(key) for (key,) in fetch(piece)} == inside & linked


INDEXED = [
    ({"genus": "acer"}, "dl_rec_genus"),
    ({"genus": {"type": "prefix", "value": "ace"}}, "dl_rec_genus"),
    ({"scientificname": ["acer rubrum", "puma concolor"]}, "dl_rec_scientificname"),
    ({"datecollected": "1987-08"}, "dl_rec_datecollected"),
    ({"datecollected": {"type": "range", "gte": "2001", "lt": "2002"}}, "dl_rec_datecollected"),
    (bounds(46, -121, 45, -120), "downloads_record_place"),
    (point(type="geo_distance", distance="1km", lat=45, lon=-120), "downloads_record_place"),
    (polygon((45, -120), (45, -119), (46, -119)), "downloads_record_place"),
    ({"startdayofyear": 233}, "downloads_record_day"),
    ({"startdayofyear": {"type": "range", "gte": 10, "lt": 11}}, "downloads_record_day"),
    ({"flags": "odd"}, "dl_rec_lists"),
    ({"data": {"type": "fulltext", "value": "pine flatwoods"}}, "downloads_record_words"),
    ({"locality": "rio grande"}, "downloads_record_words"),
    ({"data.dwc:habitat": {"type": "prefix", "value": "pine f"}}, "downloads_record_words"),
    ({"data.dwc:habitat": {"type": "exact", "text": "pine flatwoods"}}, "downloads_record_words"),
    ({"recordset": specimens.SETS[0]}, "downloads_record_set"),
]


@pytest.mark.parametrize(("query", "index"), INDEXED, ids=[str(query) for query, _ in INDEXED])
def test_indexes_serve(query: dict[str, Any], index: str, world: specimens.World) -> None:
    """D47: starred-term, date and box filters can be answered by an index, in any version."""
    piece = selection(query, None).rows("records", "r.uuid")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("DROP INDEX downloads_record_closed")  # in a table this small it would serve just as well
        cursor.execute("ALTER TABLE downloads_record DROP CONSTRAINT downloads_record_version")
        cursor.execute("DROP INDEX downloads_record_open")
        if index != "downloads_record_set":
            cursor.execute("DROP INDEX downloads_record_set")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {piece.text}", piece.params)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert index in plan
    condition = plan.partition("Index Cond")[2]
    assert condition, plan
