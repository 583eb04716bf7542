"""The original's recursive SHA-1 and our canonical SHA-256 (contract §2.8, §3.1).

The SHA-1 collides by design (a string that spells a digest stands for what has that digest), so it is printed and
never used as a key.
"""

import hashlib
from typing import Any

import orjson


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def query_hash(value: Any) -> str:
    """Recursive SHA-1 hex of a JSON value as the original computes it: keys and lists in any order, case counts."""
    if isinstance(value, dict):
        return _sha1("".join(key + query_hash(value[key]) for key in sorted(value)))
    if isinstance(value, list):
        return _sha1("".join(sorted(query_hash(item) for item in value)))
    if value is None:
        return _sha1("")
    return _sha1(str(value))  # iDigBio: Python 2 unicode(value), so True, 2 and 1.0


def canonical(value: Any) -> Any:
    """The value with every list sorted by its canonical JSON; keys are sorted when it is dumped."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((canonical(item) for item in value), key=_dump)
    return value


def digest(value: Any) -> str:
    """SHA-256 hex of the canonical JSON of a value: equal for equal values, whatever the order of keys."""
    return hashlib.sha256(_dump(value)).hexdigest()


def _dump(value: Any) -> bytes:
    return orjson.dumps(_plain(value), option=orjson.OPT_SORT_KEYS)


def _plain(value: Any) -> Any:
    """Integers beyond 64 bits, which orjson refuses, as tagged text; booleans and floats stay what they are."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return {"integer": str(value)}
    return value
