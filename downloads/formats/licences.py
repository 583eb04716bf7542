"""Licences as providers write them, to one Creative Commons name and its links (contract §3.3)."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple


class Licence(NamedTuple):
    """What a media record shows of its licence."""

    rights: str
    webstatement: str
    logo: str


def _creative_commons(code: str) -> Licence:
    path = code.lower()
    return Licence(
        code,
        f"http://creativecommons.org/licenses/{path}/4.0/",
        f"https://i.creativecommons.org/l/{path}/4.0/88x31.png",
    )


LICENCES: Final = {
    **{code: _creative_commons(code) for code in ("BY", "BY-SA", "BY-ND", "BY-NC", "BY-NC-SA", "BY-NC-ND")},
    "CC0": Licence(
        "CC0",
        "http://creativecommons.org/publicdomain/zero/1.0/",
        "https://i.creativecommons.org/p/zero/1.0/88x31.png",
    ),
    "Public Domain": Licence(
        "Public Domain",
        "http://creativecommons.org/publicdomain/mark/1.0/",
        "https://i.creativecommons.org/p/mark/1.0/88x31.png",
    ),
}
_ZERO = re.compile(r"\bcc[ -]?(?:0|zero)\b|publicdomain/zero|/p/zero/", re.IGNORECASE)
_PUBLIC = re.compile(r"public[ -]?domain", re.IGNORECASE)
_CODE = re.compile(
    r"(?:licen[sc]es/|/l/|\bcc[ -]+)(by(?:[ -](?:nc|sa|nd))*)\b|^(by(?:-(?:nc|sa|nd))*)(?:\s*\d(?:\.\d)?)?$",
    re.IGNORECASE,
)
_SPELT = re.compile(r"attribution", re.IGNORECASE)
_CLAUSES = (
    ("NC", re.compile(r"non[ -]?commercial", re.IGNORECASE)),
    ("SA", re.compile(r"share[ -]?alike", re.IGNORECASE)),
    ("ND", re.compile(r"no[ -]?deriv", re.IGNORECASE)),
)
_MEMO: dict[str, str] = {}
_MEMO_ENTRIES: Final = 10_000


def code(text: str) -> str:
    """The name of the licence a text speaks of, or ""."""
    known = _MEMO.get(text)
    if known is None:
        if len(_MEMO) >= _MEMO_ENTRIES:
            _MEMO.clear()
        known = _MEMO[text] = _read(text.strip())
    return known


def _read(text: str) -> str:
    if _ZERO.search(text):
        return "CC0"
    if found := _CODE.search(text):
        return _ordered((found[1] or found[2]).upper().replace(" ", "-").split("-"))
    if _SPELT.search(text):
        return _ordered([name for name, pattern in _CLAUSES if pattern.search(text)])
    return "Public Domain" if _PUBLIC.search(text) else ""


def _ordered(clauses: Iterable[str]) -> str:
    given = set(clauses)
    name = "-".join(["BY", *(clause for clause in ("NC", "SA", "ND") if clause in given)])
    return name if name in LICENCES else ""


def majority(texts: Iterable[str]) -> Licence | None:
    """The licence most of the texts speak of, the first one of equals; None if none speaks of any."""
    found = [name for name in map(code, texts) if name]
    return LICENCES[max(found, key=found.count)] if found else None
