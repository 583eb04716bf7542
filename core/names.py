"""How names, usernames and e-mail addresses are normalised for searching.

One function, `normalise` (N in the user management contract, 2.3), is used for stored values and for search terms
alike, so that "is a substring of" means the same on both sides. On top of it, three column encoders (contract, 9)
write values so that PostgreSQL's trigram index can serve terms it would otherwise have to scan for.

Everything here is pure: text in, text out, no errors, any code point accepted.
"""

import functools
import unicodedata
from collections.abc import Iterable

NAME_JOINER = "\n"
"""Stands between given and family name in `name_n`. `normalise` never yields it, so no term can match across."""

_FOLDS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"})

# pg_trgm cuts words at these signs; as letters they take part in trigrams. The letters (Egyptological alef, ain,
# heng, tz, tresillo) occur in no address; one that is typed anyway becomes U+FFFD and finds nothing.
_ADDRESS_SIGNS = {"@": "\ua723", ".": "\ua725", "_": "\ua727", "-": "\ua729", "+": "\ua72b"}
_ADDRESS_MAP = str.maketrans(_ADDRESS_SIGNS | dict.fromkeys(_ADDRESS_SIGNS.values(), "\ufffd"))
_RESERVED = frozenset(_ADDRESS_SIGNS.values())

_FOLLOWING = {
    "username": ("username_n",),
    "first_name": ("first_n", "name_n"),
    "last_name": ("last_n", "name_n"),
}

_TRIPLED_SCRIPTS = ("CJK UNIFIED", "CJK COMPATIBILITY", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")
_TRIPLED_SIGNS = frozenset("々〆〇ー")


def normalise(text: str) -> str:
    """Return N(text): NFKC, case folded, accents of Latin and Greek letters dropped, whitespace collapsed.

    Marks of other scripts stay, or Devanagari and Thai would lose their vowels and й would become и.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = "".join(_without_accents(unicodedata.normalize("NFD", folded)))
    return " ".join(unicodedata.normalize("NFC", bare.translate(_FOLDS)).split())


def collapse(text: str) -> str:
    """Return the text in NFC, trimmed, with each run of whitespace as one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def name_part(text: str) -> str:
    """Return N(text) as `name_n` holds it: each Han, kana and Hangul character three times.

    A given or family name of one or two such characters would give no trigram; tripled it does, and "is a substring
    of" keeps its meaning because every run has a multiple of three.
    """
    plain = normalise(text)
    if plain.isascii():
        return plain
    return "".join(char * 3 if _is_tripled(char) else char for char in plain)


def name_column(first: str, last: str) -> str:
    """Return `name_n`: both names in their tripled form with `NAME_JOINER` between them."""
    return name_part(first) + NAME_JOINER + name_part(last)


def search_columns(username: str, first_name: str, last_name: str) -> dict[str, str]:
    """Return the search columns of an account, by column name: `username_n`, `first_n`, `last_n`, `name_n`."""
    return {
        "username_n": normalise(username),
        "first_n": normalise(first_name),
        "last_n": normalise(last_name),
        "name_n": name_column(first_name, last_name),
    }


def columns_following(fields: Iterable[str]) -> set[str]:
    """Return the search columns that must be written when these account fields are."""
    return {column for field in fields for column in _FOLLOWING.get(field, ())}


def search_address(address: str) -> str:
    """Return `address_n`: N(address) with `@ . _ - +` as the letters U+A723, A725, A727, A729, A72B."""
    return normalise(address).translate(_ADDRESS_MAP)


def has_reserved_letter(text: str) -> bool:
    """Tell whether an e-mail search term holds a letter that stands for a sign in `address_n`: it matches nothing."""
    return not _RESERVED.isdisjoint(normalise(text))


def like_literal(text: str) -> str:
    r"""Return the text with `%`, `_` and `\` escaped, so that LIKE takes them as themselves."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _without_accents(decomposed: str) -> list[str]:
    kept: list[str] = []
    drops = False
    for char in decomposed:
        if "\u0300" <= char <= "\u036f":
            if not drops:
                kept.append(char)
            continue
        if not unicodedata.category(char).startswith("M"):
            drops = _is_latin_or_greek(char)
        kept.append(char)
    return kept


@functools.lru_cache(maxsize=4096)
def _is_latin_or_greek(char: str) -> bool:
    return unicodedata.name(char, "").startswith(("LATIN ", "GREEK "))


@functools.lru_cache(maxsize=65536)
def _is_tripled(char: str) -> bool:
    return char in _TRIPLED_SIGNS or unicodedata.name(char, "").startswith(_TRIPLED_SCRIPTS)
