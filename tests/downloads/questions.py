"""Random queries about rows that exist: every operator, every kind of field and of value, groups in groups."""

import datetime
import json
import random
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from downloads.formats import terms
from tests.downloads import reference

SIGNS = ["", " ", ", ", "; ", ".", " - ", "!?", "\t", "\n", "🍁", "_", "%", "\\", "'", '"', "\u0301"]
FOREIGN = [
    "東京",
    "京都市",
    "カタカナ",
    "ひらがな",
    "شجرة",
    "ąę",
    "ñandú",
    "ÉRABLE",
    "🦋🌿",
    "ß",
    "İ",
    "zzz",
    "7",
    "a",
    "",
]
PER_METRE = {
    "mm": 1e3,
    "cm": 100,
    "m": 1,
    "km": 1e-3,
    "in": 39.37,
    "ft": 3.28,
    "yd": 1.09,
    "mi": 6.21e-4,
    "nmi": 5.4e-4,
}
PER_METRE["NM"] = PER_METRE["nmi"]


class Asker:
    """Asks about rows of one kind; the same questions for the same seed."""

    def __init__(self, seed: int, rows: Mapping[str, reference.Row], table: Mapping[str, terms.Term]) -> None:
        self.chance = random.Random(seed)
        self.rows = list(rows.values())
        self.table = table
        provider = sorted({f"data.{name}" for _, raw in self.rows for name in raw})
        self.fields = [*table, *provider, "data.x:none"]

    def query(self, depth: int = 3) -> dict[str, Any]:
        """A query of up to three conditions, or groups of queries."""
        made: dict[str, Any] = {}
        for _ in range(self.chance.choice([1, 1, 1, 2, 3])):
            word = self.chance.choice(["", "", "and", "or", "not"]) if depth else ""
            if not word:
                made |= self.condition()
            elif word == "not":
                made[word] = self.query(depth - 1)
            else:
                made[word] = [self.query(depth - 1) for _ in range(self.chance.choice([0, 1, 2, 2, 3]))]
        return made

    def condition(self) -> dict[str, Any]:
        """One condition, most often on a field and a value that some row has."""
        if self.chance.random() < 0.06:
            key, word = self.chance.choice(["data", "anything", "genus"]), self.chance.choice(["value", "text"])
            return {key: {"type": "fulltext", word: self._many_words()}}
        name = self._field()
        kind = "data" if name.startswith("data.") else self.table[name].kind
        if self.chance.random() < 0.06:
            return {name: {"type": self.chance.choice(["exists", "missing"])}}
        if kind == "point":
            return {name: self._place()}
        return {name: self._equals(name, kind) if self.chance.random() < 0.4 else self._operator(name, kind)}

    def _field(self) -> str:
        index, raw = self.chance.choice(self.rows)
        if self.chance.random() < 0.15:
            return self.chance.choice(self.fields)
        places = ["geopoint"] * 4 if "geopoint" in self.table else []
        return self.chance.choice([*index, *(f"data.{name}" for name in raw), *places])

    def _found(self, name: str) -> Any:
        """A value some row has, or None."""
        for _ in range(20):
            if values := reference.values(name, self.chance.choice(self.rows)):
                return self.chance.choice(values)
        return None

    def _equals(self, name: str, kind: str) -> Any:
        if self.chance.random() < 0.3:
            return [self._value(name, kind) for _ in range(self.chance.choice([0, 1, 2, 3]))]
        return self._value(name, kind)

    def _operator(self, name: str, kind: str) -> dict[str, Any]:
        texts = ["prefix", "exact", "keyword", "fuzzy"] if kind in ("text", "word", "list", "data") else []
        if kind == "bool":
            return {"type": self.chance.choice(["exists", "missing"])}
        operator = self.chance.choice([*texts, "range"])
        if operator == "range":
            bounds = [self.chance.choice(pair) for pair in (["gte", "gt"], ["lte", "lt"])]
            bounds = self.chance.choice([bounds, bounds[:1], bounds[1:], ["gt", "gte"], ["lt", "lte", "gt"]])
            return {"type": "range"} | {bound: self._value(name, kind) for bound in bounds}
        return {"type": operator, self.chance.choice(["value", "text"]): self._text(name)}

    def _value(self, name: str, kind: str) -> Any:
        if kind in ("float", "int"):
            return self._number(self._found(name))
        if kind == "bool":
            return self.chance.choice([True, False, "true", "FALSE", " True"])
        if kind == "date":
            return self._date(self._found(name))
        return self._text(name)

    # -- texts -----------------------------------------------------------------------------------------------------

    def _text(self, name: str) -> Any:
        found = self._found(name)
        text = self.chance.choice(FOREIGN) if found is None or self.chance.random() < 0.05 else str(found)
        if text.isdigit() and len(text) < 15 and str(int(text)) == text and self.chance.random() < 0.5:
            return int(text)
        for _ in range(self.chance.choice([0, 0, 1, 1, 2])):
            text = self.chance.choice([self._cased, self._cut, self._worded, self._signed, self._mistyped])(text)
        return text

    def _cased(self, text: str) -> str:
        other = self.chance.choice([str.upper, str.title, str.swapcase])(text)
        other = other if other.lower() == text.lower() else text  # ß, the final sigma and their like
        return unicodedata.normalize(self.chance.choice(["NFC", "NFD"]), other)

    def _cut(self, text: str) -> str:
        start = self.chance.choice([0, 0, self.chance.randrange(len(text) + 1)])
        return text[start : start + self.chance.choice([1, 2, 3, 5, 8, 20])]

    def _worded(self, text: str) -> str:
        found = re.findall(r"\w+", text) or [text]
        start = self.chance.randrange(len(found))
        chosen = found[start : start + self.chance.choice([1, 1, 2, 3])]
        if self.chance.random() < 0.15:
            self.chance.shuffle(chosen)
        return self.chance.choice([" ", ", ", "-"]).join(chosen)

    def _signed(self, text: str) -> str:
        place = self.chance.randrange(len(text) + 1)
        return text[:place] + self.chance.choice(SIGNS) + text[place:]

    def _mistyped(self, text: str) -> str:
        for _ in range(self.chance.choice([1, 1, 2, 3])):
            place = self.chance.randrange(len(text) + 1)
            text = text[:place] + self.chance.choice(["", "x", "e", "京"]) + text[place + self.chance.choice([0, 1]) :]
        return text

    def _many_words(self) -> str:
        index, raw = self.chance.choice(self.rows)
        texts = [str(self._found(self._field()) or "")] if self.chance.random() < 0.3 else []
        for name in self.chance.sample([*index, *(f"data.{name}" for name in raw)], 2):
            texts += [self._worded(str(value)) for value in reference.values(name, (index, raw))[:1]]
        return self.chance.choice([" ", ", ", "\n"]).join(texts)

    # -- numbers and dates -----------------------------------------------------------------------------------------

    def _number(self, found: Any) -> Any:
        number = found if found is not None and self.chance.random() < 0.9 else self.chance.uniform(-500, 3000)
        number = self.chance.choice([number, number, number, number + 0.5, -number, number * 1e12])
        return self.chance.choice([number, str(number), f" {number} ", f"{number:e}", round(number)])

    def _date(self, found: Any) -> Any:
        moment = reference.moment(found or "1987-08-21")
        if self.chance.random() < 0.3:
            moment += datetime.timedelta(hours=self.chance.randrange(-2000, 2000))
        utc = moment.astimezone(datetime.UTC)
        epoch = round(utc.timestamp() * 1000)
        away = utc.astimezone(datetime.timezone(datetime.timedelta(hours=self.chance.randrange(-11, 13))))
        forms = [f"{utc:%Y}", f"{utc:%Y-%m}", f"{utc:%Y-%m-%d}", utc.isoformat(), f"{utc:%Y-%m-%dT%H:%M:%SZ}"]
        forms += [away.isoformat(), utc.replace(tzinfo=None).isoformat()]
        return self.chance.choice([*forms, epoch] + [str(epoch)] * (abs(epoch) > 99_999))

    # -- places ----------------------------------------------------------------------------------------------------

    def _point(self) -> tuple[float, float]:
        """Latitude and longitude, often of a row, or near one."""
        if self.chance.random() < 0.1:
            return self.chance.choice([(90.0, 0.0), (-90.0, 180.0), (0.0, 180.0), (0.0, -180.0), (45.0, 0.0)])
        lat, lon = self._found("geopoint") or (10.0, 10.0)
        if self.chance.random() < 0.5:
            lat = max(-90.0, min(90.0, round(lat + self.chance.gauss(0, 3), 3)))
            lon = (round(lon + self.chance.gauss(0, 6), 3) + 180) % 360 - 180
        return lat, lon

    def _corner(self, place: tuple[float, float]) -> dict[str, Any]:
        return {name: self.chance.choice([x, x, str(x)]) for name, x in zip(("lat", "lon"), place, strict=True)}

    def _place(self) -> dict[str, Any]:
        operator = self.chance.choice(["geo_bounding_box", "geo_distance", "geo_polygon", "geo_shape", "geo_shape"])
        if operator == "geo_bounding_box":
            corners = {name: self._corner(self._point()) for name in ("top_left", "bottom_right")}
            return {"type": operator, **corners}
        if operator == "geo_distance":
            return {"type": operator, "distance": self._distance(), **self._corner(self._point())}
        if operator == "geo_polygon":
            return {"type": operator, "value": [self._corner(each) for each in self._ring()]}
        return {"type": operator, "value": self._shape()}

    def _distance(self) -> Any:
        metres = self.chance.choice([0, 1, 1e4, 1e5, 1e6, 1.5e7, 3e7]) * self.chance.uniform(0.1, 1)
        unit = self.chance.choice(list(PER_METRE))
        return self.chance.choice(
            [metres, f"{metres}", f"{metres * PER_METRE[unit]:.6f}{self.chance.choice(['', ' '])}{unit}"]
        )

    def _ring(self) -> list[tuple[float, float]]:
        """Corners (latitude, longitude) that leave no doubt about which way round an edge goes."""
        while True:
            ring = list(dict.fromkeys(self._point() for _ in range(self.chance.choice([3, 4, 5, 8]))))
            edges = zip(ring, ring[1:] + ring[:1], strict=True)
            doubtful = any(abs(abs(a[1] - b[1]) - 180) < 1e-3 for a, b in edges)
            if len(ring) > 2 and not doubtful and abs(sum(lat for lat, _ in ring)) > 1:
                return ring

    def _shape(self) -> Any:
        kind = self.chance.choice(["Polygon", "MultiPolygon", "envelope", "circle"])
        spelt = self.chance.choice([kind, kind, kind.lower(), kind.upper()])
        if kind == "circle":
            (lat, lon), radius = self._point(), self._distance()
            return {"type": spelt, "coordinates": [lon, lat], "radius": radius}
        if kind == "envelope":
            (north, west), (south, east) = self._point(), self._point()
            if self.chance.random() < 0.3:
                return f"ENVELOPE ({west}, {east}, {north}, {south})"
            return {"type": spelt, "coordinates": [[west, north], [east, south]]}
        polygons = [self._polygon() for _ in range(1 if kind == "Polygon" else self.chance.choice([1, 2]))]
        coordinates: Any = polygons[0] if kind == "Polygon" else polygons
        if self.chance.random() < 0.3:
            return wkt(spelt, coordinates)
        return {"type": spelt, "coordinates": coordinates}

    def _polygon(self) -> list[Any]:
        """A ring, closed or not, and sometimes a hole."""
        rings = []
        for _ in range(self.chance.choice([1, 1, 2])):
            ring = [[lon, lat] for lat, lon in self._ring()]
            rings.append(ring + ring[: self.chance.choice([0, 1, 1])])
        return rings


def wkt(word: str, coordinates: Any) -> str:
    """GeoJSON coordinates of polygons in WKT."""
    text = re.sub(r"\[(-?[0-9.e+-]+), (-?[0-9.e+-]+)\]", r"\1 \2", json.dumps(coordinates))
    return f"{word}{text.replace('[', '(').replace(']', ')')}"
