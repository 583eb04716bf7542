"""One normaliser for index and query, and the reader's words to search terms (contract section 9, "traps").

`plain` is what filters, look-ups and sorting compare: case, accents and width folded, punctuation kept.
`words` is what the search index holds: `plain`, punctuation to spaces, Han and kana runs split into characters.
"""

import dataclasses
import re
import unicodedata

from core import errors
from nnels.formats import isbn

MAX_KEYWORDS = 500
MAX_TERMS = 32

# Letters that have no decomposition but a customary spelling without the stroke or ligature.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ŧ": "t"}
)
_ASCII_LETTERS = re.compile(r"[øłđħıæœþðŧ]")
# Combining marks of Latin, Greek, Cyrillic, Hebrew and Arabic; other scripts' (kana, Devanagari) are letters.
_MARKS = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0640\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
)
_CJK = "\u3005\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
_CJK += "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_CJK_CHARACTER = re.compile(f"([{_CJK}])")
_CJK_RUN = re.compile(f"([{_CJK}]+)")
_TERM = re.compile(r'(?P<minus>(?<!\S)-)?"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+)')


def plain(text: str) -> str:
    """Case, accents and width folded, white space collapsed; NUL and other control characters become spaces."""
    if text.isascii():
        return " ".join(_visible(text).lower().split())
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    bare = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", folded)))
    return " ".join(_visible(_ASCII_LETTERS.sub(lambda match: match[0].translate(_LETTERS), bare)).split())


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        " "
        if unicodedata.category(mark) in ("Cc", "Cs", "Cn", "Co")
        else ""
        if unicodedata.category(mark) == "Cf"
        else mark
        for mark in text
    )


def words(text: str) -> str:
    """Space-separated index words of a text: letters, digits and the marks of scripts that need them."""
    spaced = "".join(mark if mark.isalnum() or unicodedata.category(mark)[0] == "M" else " " for mark in plain(text))
    return " ".join(_CJK_CHARACTER.sub(r" \1 ", spaced).split())


@dataclasses.dataclass(frozen=True)
class Query:
    """What a reader asked: texts for `websearch_to_tsquery`, each term quoted so that no word is an operator."""

    positive: str
    negative: str
    isbn: str | None
    title: str

    @property
    def is_empty(self) -> bool:
        return not self.positive and not self.isbn


def query(keywords: str) -> Query:
    """Parse `keywords` (decoded path text). Raises `errors.Invalid` when they are missing, too long or hold NUL."""
    if "\0" in keywords:
        raise errors.Invalid("Search keywords are malformed.")
    if not keywords.strip():
        raise errors.Invalid("Search keywords are required.")
    if len(keywords) > MAX_KEYWORDS:
        raise errors.Invalid("Search keywords are too long.")
    text = unicodedata.normalize("NFKC", re.sub(r"[+/,;]", " ", keywords))
    positive, negative = _terms(text)
    if sum(unit != "or" for unit in positive) + len(negative) > MAX_TERMS:
        raise errors.Invalid("Search keywords are too long.")
    return Query(
        positive=" ".join(positive),
        negative=" or ".join(negative),
        isbn=isbn.to_13(text),
        title=plain(text.replace('"', " ")),
    )


def _terms(text: str) -> tuple[list[str], list[str]]:
    positive: list[str] = []
    negative: list[str] = []
    alternate = False
    for match in _TERM.finditer(text):
        word = match["word"]
        if word is not None and word.lower() == "or":
            alternate = bool(positive)
            continue
        excluded = bool(match["minus"]) or (word is not None and word.startswith("-"))
        units = _units(match["phrase"] if word is None else word, whole=word is None or excluded)
        if not units:
            continue
        if excluded:
            negative += units
            continue
        positive += ["or", *units] if alternate else units
        alternate = False
    return positive, negative


def _units(text: str, *, whole: bool) -> list[str]:
    """Quoted search units of one term: a phrase as a whole, else word by word with each Han/kana run as a phrase."""
    if whole:
        phrase = words(text)
        return [f'"{phrase}"'] if phrase else []
    return [f'"{part}"' for piece in _CJK_RUN.split(plain(text)) for part in _parts(piece)]


def _parts(piece: str) -> list[str]:
    spaced = words(piece)
    if _CJK_RUN.match(piece):
        return [spaced] if spaced else []
    return spaced.split()
