"""Reading a query's JSON text with limits that hold before anything recurses (contract §2.6)."""

import json
import re
from typing import Any, Final, NoReturn

from core import errors

MOST_LEVELS: Final = 16
MOST_VALUES: Final = 20_000
_PARSER_LEVELS: Final = 100
"""Deeper texts are not parsed at all: the parser recurses."""

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)', re.DOTALL)
_NUMBER = re.compile(r'"(?:[^"\\]|\\.)*"|(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)', re.DOTALL)


class _Pairs(dict[str, Any]):
    """A parsed object that remembers the first key it was given twice."""

    twice: str | None = None


def loads(text: str, *, parameter: str = "query") -> Any:
    """The value of a JSON text.

    Raises `errors.Invalid` for broken JSON, NaN, infinities, duplicate keys, characters PostgreSQL cannot store, and
    more levels or values than a query may have.
    """
    levels = _levels(text)
    if levels > _PARSER_LEVELS:
        raise too_deep(levels)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise _broken(error.msg, error.pos, parameter) from None
    except _UnfitNumber as error:
        raise _broken("a number out of range", _place(_NUMBER, text, error.literal), parameter) from None
    except _Constant as error:
        raise _broken(f"{error.literal} is not JSON", _place(_CONSTANT, text, error.literal), parameter) from None
    return _plain(value)


def check(value: Any) -> None:
    """The limits and characters of a query: `errors.Invalid` beyond them. Iterative: nothing here recurses."""
    values = 0
    level: list[Any] = [value]
    depth = 0
    while level:
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                _storable(each)
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
            if not isinstance(each, (dict, list)) or not each:
                values += 1  # an empty list or object costs as much as a text
                _storable((each,))
        depth += any(isinstance(each, (dict, list)) for each in level)
        level = below
    if depth > MOST_LEVELS:
        raise too_deep(depth)
    if values > MOST_VALUES:
        raise errors.Invalid(f"The query has {values} values; the limit is {MOST_VALUES}.", limit=MOST_VALUES)


def decode(data: bytes, *, parameter: str = "query") -> str:
    """Bytes as UTF-8 text; `errors.Invalid` with the position of the first character that is none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = len(data[: error.start].decode("utf-8", "replace"))
        raise _broken("invalid UTF-8", before, parameter) from None


def too_deep(levels: int) -> errors.Invalid:
    return errors.Invalid(f"The query has {levels} levels; the limit is {MOST_LEVELS}.", limit=MOST_LEVELS)


def _broken(reason: str, place: int, parameter: str) -> errors.Invalid:
    reason = reason[:1].lower() + reason[1:] if not reason.startswith(("NaN", "Infinity")) else reason
    sentence = f"The query is not valid JSON: {reason} at character {place + 1}."
    return errors.Invalid(sentence, code="parse_error", parameter=parameter, position=place + 1)


def _levels(text: str) -> int:
    depth = deepest = 0
    for found in _STRUCTURE.finditer(text):
        sign = found[0]
        if sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "]}":
            depth -= 1
    return deepest


class _Constant(Exception):
    def __init__(self, literal: str) -> None:
        self.literal = literal


class _UnfitNumber(_Constant):
    """A number no float or integer of ours can hold."""


def _refuse(literal: str) -> NoReturn:
    raise _Constant(literal)


def _finite(literal: str) -> float:
    number = float(literal)
    if number in (float("inf"), float("-inf")):
        raise _UnfitNumber(literal)
    return number


def _integer(literal: str) -> int:
    if len(literal) > 300:
        raise _UnfitNumber(literal)
    return int(literal)


def _place(pattern: re.Pattern[str], text: str, literal: str) -> int:
    return next((found.start() for found in pattern.finditer(text) if found[1] == literal), 0)


def _object(pairs: list[tuple[str, Any]]) -> _Pairs:
    made = _Pairs(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        made.twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return made


def _plain(value: Any) -> Any:
    """The value, once no object in it was given a key twice; `errors.Invalid` with the JSON pointer of the first.

    Names and texts are looked at first: a sentence must not repeat what cannot be written.
    """
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        pointer, each = waiting.pop()
        if isinstance(each, str):
            _storable((each,))
        elif isinstance(each, _Pairs):
            _storable(each)
            if each.twice is not None:
                path = f"{pointer}/{_escaped(each.twice)}"
                raise errors.Invalid(f"The key {each.twice} appears twice.", path=path)
            waiting.extend((f"{pointer}/{_escaped(key)}", item) for key, item in each.items())
        elif isinstance(each, list):
            waiting.extend((f"{pointer}/{place}", item) for place, item in enumerate(each))
    return value


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _storable(texts: Any) -> None:
    for text in texts:
        if isinstance(text, str) and ("\0" in text or any("\ud800" <= char <= "\udfff" for char in text)):
            raise errors.Invalid("The query contains a character that cannot be stored.")
