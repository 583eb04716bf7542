"""Coordinates as providers write them, shifted to WGS84 (contract §3.3)."""

import functools
import math
import re
from typing import Final, NamedTuple

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.(\d*))?|\.(\d+))(?:e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)", re.ASCII | re.IGNORECASE)

WGS84_AXIS: Final = 6378137.0
WGS84_FLATTENING: Final = 1 / 298.257223563


class Datum(NamedTuple):
    """A geodetic datum: its ellipsoid, and the mean shift of its centre to WGS84.

    Ellipsoids and shifts are those of NIMA TR8350.2 (3rd edition), appendices A and B; metres.
    """

    axis: float
    flattening: float
    dx: float
    dy: float
    dz: float


_CLARKE_1866 = (6378206.4, 1 / 294.9786982)
_INTERNATIONAL = (6378388.0, 1 / 297.0)
_BESSEL = (6377397.155, 1 / 299.1528128)
_AIRY = (6377563.396, 1 / 299.3249646)
_KRASSOVSKY = (6378245.0, 1 / 298.3)
_AUSTRALIAN = (6378160.0, 1 / 298.25)

_SHIFTED: Final = {
    "nad27": Datum(*_CLARKE_1866, -8, 160, 176),
    "old hawaiian": Datum(*_CLARKE_1866, 61, -285, -181),
    "ed50": Datum(*_INTERNATIONAL, -87, -98, -121),
    "psad56": Datum(*_INTERNATIONAL, -288, 175, -376),
    "nzgd49": Datum(*_INTERNATIONAL, 84, -22, 209),
    "sad69": Datum(6378160.0, 1 / 298.25, -57, 1, -41),
    "agd66": Datum(*_AUSTRALIAN, -133, -48, 148),
    "agd84": Datum(*_AUSTRALIAN, -134, -48, 149),
    "tokyo": Datum(*_BESSEL, -148, 507, 685),
    "osgb36": Datum(*_AIRY, 375, -111, 431),
    "pulkovo 1942": Datum(*_KRASSOVSKY, 28, -130, -95),
    "wgs72": Datum(6378135.0, 1 / 298.26, 0, 0, 4.5),
}
_SAME: Final = frozenset({"wgs84", "nad83", "gda94", "gda2020", "etrs89", "itrf", "nzgd2000", "jgd2000", "sirgas2000"})

_SPELLINGS: Final = {
    "worldgeodeticsystem1984": "wgs84",
    "wgs1984": "wgs84",
    "epsg4326": "wgs84",
    "4326": "wgs84",
    "epsg4979": "wgs84",
    "wgs84epsg4326": "wgs84",
    "epsg4326wgs84": "wgs84",
    "gps": "wgs84",
    "northamericandatum1983": "nad83",
    "nad1983": "nad83",
    "northamerican1983": "nad83",
    "epsg4269": "nad83",
    "northamericandatum1927": "nad27",
    "nad1927": "nad27",
    "northamerican1927": "nad27",
    "epsg4267": "nad27",
    "nad27conus": "nad27",
    "europeandatum1950": "ed50",
    "european1950": "ed50",
    "epsg4230": "ed50",
    "worldgeodeticsystem1972": "wgs72",
    "wgs1972": "wgs72",
    "epsg4322": "wgs72",
    "oldhawaiian": "old hawaiian",
    "provisionalsouthamericandatum1956": "psad56",
    "southamericandatum1969": "sad69",
    "epsg4618": "sad69",
    "australiangeodeticdatum1966": "agd66",
    "australiangeodeticdatum1984": "agd84",
    "geocentricdatumofaustralia1994": "gda94",
    "epsg4283": "gda94",
    "newzealandgeodeticdatum1949": "nzgd49",
    "tokyodatum": "tokyo",
    "epsg4301": "tokyo",
    "osgb1936": "osgb36",
    "epsg4277": "osgb36",
    "pulkovo1942": "pulkovo 1942",
    "epsg4258": "etrs89",
}


def parse(text: str) -> tuple[float, int] | None:
    """Degrees and count of written decimals; NaN and infinities as NaN; None if the text is no number."""
    text = text.strip()
    found = _NUMBER.fullmatch(text)
    if not found:
        return (math.nan, 0) if _NOT_FINITE.fullmatch(text) else None
    value = float(text)
    return (value if math.isfinite(value) else math.nan), len(found[1] or found[2] or "")


def point(lat_text: str, lon_text: str, datum: str = "") -> tuple[tuple[float, float] | None, list[str]]:
    """(latitude, longitude) in degrees on WGS84, or None; and the flags it earned (contract §3.3)."""
    lat, lon = parse(lat_text), parse(lon_text)
    if lat is None or lon is None:
        return None, []
    place, flags = (lat[0], lon[0]), []
    if not _within(*place):
        if not (90 < abs(place[0]) <= 180 and abs(place[1]) <= 90):
            return None, ["geopoint_bounds"]
        place = (place[1], place[0])
        flags.append("geopoint_pre_flip")
    if min(lat[1], lon[1]) <= 2:
        flags.append("geopoint_low_precision")
    if 0 in place:
        flags.append("geopoint_0_coord")
    if abs(place[0]) == abs(place[1]):
        flags.append("geopoint_similar_coord")
    shifted, flag = _on_wgs84(place, datum)
    return shifted, [*flags, flag] if flag else flags


def _within(lat: float, lon: float) -> bool:
    return -90 <= lat <= 90 and -180 <= lon <= 180  # false for NaN


def _on_wgs84(place: tuple[float, float], datum: str) -> tuple[tuple[float, float], str]:
    name = _datum(datum)
    if not name:
        return place, "geopoint_datum_missing"
    if name in _SAME:
        return place, ""
    known = _SHIFTED.get(name)
    return (molodensky(*place, known), "") if known else (place, "geopoint_datum_error")


@functools.lru_cache(10_000)
def _datum(text: str) -> str:
    """The name under which a datum is known, or the text's letters and digits."""
    plain = "".join(letter for letter in text.lower() if letter.isalnum())
    return _SPELLINGS.get(plain, plain)


def molodensky(lat: float, lon: float, datum: Datum) -> tuple[float, float]:
    """Abridged Molodensky transformation to WGS84, degrees in and out, some 10 m exact (NIMA TR8350.2, §7.3.3)."""
    phi, lam = math.radians(lat), math.radians(lon)
    da, df = WGS84_AXIS - datum.axis, WGS84_FLATTENING - datum.flattening
    e2 = datum.flattening * (2 - datum.flattening)
    root = 1 - e2 * math.sin(phi) ** 2
    meridian = datum.axis * (1 - e2) / root**1.5
    normal = datum.axis / math.sqrt(root)
    inward = datum.dx * math.cos(lam) + datum.dy * math.sin(lam)
    bulge = (datum.axis * df + datum.flattening * da) * math.sin(2 * phi)
    dphi = (-math.sin(phi) * inward + datum.dz * math.cos(phi) + bulge) / meridian
    around = normal * math.cos(phi)
    dlam = (-datum.dx * math.sin(lam) + datum.dy * math.cos(lam)) / around if around > 1 else 0.0
    new_lon = (lon + math.degrees(dlam) + 180) % 360 - 180
    return round(max(-90.0, min(90.0, lat + math.degrees(dphi))), 7), round(new_lon, 7)
