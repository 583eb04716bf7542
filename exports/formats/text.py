"""JSON as the export file speaks it, and the checks every incoming text passes."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 50


def dumps(value: Any) -> str:
    """One ASCII line with ``", "`` and ``": "`` between things (contract §5)."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def digest(value: Any) -> str:
    """MD5 hex of canonical JSON: keys sorted, and neither nulls nor empty things in it (contract §5, checksums)."""
    canonical = json.dumps(pruned(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.md5(canonical.encode(), usedforsecurity=False).hexdigest()


def pruned(value: Any) -> Any:
    """The value without nulls, empty strings, lists and objects, at every depth."""
    if isinstance(value, dict):
        return {key: inner for key, item in value.items() if not _blank(inner := pruned(item))}
    if isinstance(value, list):
        return [inner for item in value if not _blank(inner := pruned(item))]
    return value


def _blank(value: Any) -> bool:
    return value is None or value in ("", [], {})


def fault(value: Any, depth: int = 0) -> str:
    """Why a decoded JSON value cannot be stored ("" when it can): NUL, lone surrogate, too deep, not finite."""
    if depth > MAX_DEPTH:
        return f"More than {MAX_DEPTH} levels of nesting."
    check = _FAULTS.get(type(value))
    return check(value, depth) if check else ""


def _text_fault(value: str, _: int) -> str:
    if "\0" in value:
        return "Null characters are not allowed."
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        return "Lone surrogates are not allowed."
    return ""


def _float_fault(value: float, _: int) -> str:
    return "" if value - value == 0 else "Only finite numbers are allowed."


def _list_fault(value: list[Any], depth: int) -> str:
    return next((found for item in value if (found := fault(item, depth + 1))), "")


def _dict_fault(value: dict[str, Any], depth: int) -> str:
    return next(
        (found for key, item in value.items() if (found := _text_fault(key, depth) or fault(item, depth + 1))), ""
    )


_FAULTS: dict[type, Callable[[Any, int], str]] = {
    str: _text_fault,
    float: _float_fault,
    list: _list_fault,
    dict: _dict_fault,
}


def too_deep(raw: bytes) -> bool:
    """Whether JSON text nests deeper than we store, told before a parser recurses into it."""
    depth, inside, escaped = 0, False, False
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    for byte in raw:
        if inside:
            inside, escaped = (escaped or byte != 0x22), (byte == 0x5C and not escaped)
        elif byte == 0x22:
            inside = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif byte in b"]}":
            depth -= 1
    return False


def loads(raw: str) -> Any:
    """Read JSON strictly: no NaN or Infinity, no number beyond a double."""
    return json.loads(raw, parse_constant=no_constant)


def no_constant(name: str) -> Any:
    """For ``parse_constant``: NaN and the infinities are Python's, not JSON's."""
    raise ValueError(f"{name} is not JSON")
