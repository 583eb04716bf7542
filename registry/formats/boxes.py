"""Widen bounding boxes that are points or lines, for harvesters whose geometry must have an area (contract 10).

The numbers are changed in the bytes and nothing else is touched, so a document always gives the same copy. A change of
these rules needs a new `validation.VALIDATOR_VERSION`, because the copy's hash is stored with the record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

# Degrees: an extent below this counts as none, and by as much each side is moved outwards (up).
STEP: Final = Decimal("0.00001")
UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
# lower bound, upper bound, and between what both must lie
_AXES: Final = (
    ("westBoundLongitude", "eastBoundLongitude", Decimal(-180), Decimal(360)),
    ("southBoundLatitude", "northBoundLatitude", Decimal(-90), Decimal(90)),
)
_MARK: Final = b"EX_GeographicBoundingBox"
_OPEN = re.compile(rb"<((?:[\w.-]+:)?)" + _MARK + rb"(?=[\s>])[^<>]*>")
_BOUND = re.compile(
    rb"<(?:[\w.-]+:)?(?P<name>(?:west|east)BoundLongitude|(?:south|north)BoundLatitude)(?=[\s>])[^<>]*>\s*"
    rb"(?:<(?:[\w.-]+:)?Decimal(?=[\s>])[^<>]*>\s*)?(?P<number>[-+.0-9]{1,40})\s*<"
)


def widened(document: bytes) -> bytes:
    """The document with its point and line boxes widened; the same object if there are none.

    Works on UTF-8 and all other encodings that hold ASCII, and on UTF-16 with a byte order mark.
    """
    if document.startswith(UTF16_MARKS):
        coding = "utf-16-le" if document.startswith(UTF16_MARKS[0]) else "utf-16-be"
        plain = document[2:].decode(coding).encode()
        copied = document[:2] + _copied(plain).decode().encode(coding)
    else:
        copied = _copied(document)
    return document if copied == document else copied


def _copied(document: bytes) -> bytes:
    """One pass, whatever the document holds: what is no whole box ends it."""
    parts: list[bytes] = []
    done = 0
    while (opening := _OPEN.search(document, done)) is not None:
        end = document.find(b"</" + opening[1] + _MARK, opening.end())
        if end < 0:
            break
        parts += [document[done : opening.end()], _box(document[opening.end() : end])]
        done = end
    return b"".join([*parts, document[done:]])


def _box(box: bytes) -> bytes:
    """What one box holds, as it was or widened."""
    bounds = list(_BOUND.finditer(box))
    numbers = {bound["name"].decode(): _number(bound["number"]) for bound in bounds}
    if len(bounds) != 4 or len(numbers) != 4:
        return box
    moved = _moved({name: value for name, value in numbers.items() if value is not None})
    for bound in reversed(bounds):
        value = moved.get(bound["name"].decode())
        if value is not None:
            box = box[: bound.start("number")] + format(value, "f").encode() + box[bound.end("number") :]
    return box


def _number(text: bytes) -> Decimal | None:
    try:
        return Decimal(text.decode("ascii"))
    except InvalidOperation:
        return None


def _moved(numbers: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The new bounds of each axis that has no extent, within what a coordinate may be."""
    moved: dict[str, Decimal] = {}
    for low, high, least, most in _AXES:
        if low not in numbers or high not in numbers or not all(least <= numbers[name] <= most for name in (low, high)):
            continue
        extent = numbers[high] - numbers[low]
        if extent < 0 and low.startswith("west"):  # across the antimeridian
            extent += 360
        if 0 <= extent < STEP:
            moved[low], moved[high] = max(numbers[low] - STEP, least), min(numbers[high] + STEP, most)
    return moved
