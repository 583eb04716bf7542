"""Folding, word splitting and the searchable `words` text of a record (contract §2.7 rules 1 and 2).

The text is laid out so that PostgreSQL answers every text question by comparing code points, never by its own idea of
letters or case:

    words    = sections ROOM folds                    sections and folds each end in MARK
    sections = (MARK key (SAME | OTHER) " " (word " ")*)* MARK
    folds    = (MARK key WHOLE folded-value)* MARK

`key` is an index term, or `data.` and a provider term. SAME: the folded value is exactly its words joined by single
spaces; OTHER: it is not (punctuation, Han), and then it stands among the folds. Split at spaces, the sections give
the lexemes of the index (`LEXEMES_SQL`): every word, and every marked key, which finds rows holding a rare key.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

MARK: Final = "\x01"
SAME: Final = "\x02"
OTHER: Final = "\x03"
WHOLE: Final = "\x04"
ROOM: Final = "\x05"

LEXEMES_SQL: Final = r"array_to_tsvector(string_to_array(split_part(words, E'\x05', 1), ' '))"
"""Index this expression (GIN); queries use it with the operator @@. Only core functions, all immutable."""

LONGEST_WORD: Final = 200
"""Characters; a longer run is cut into consecutive words, in stored and in sought text alike (a lexeme holds 2 KB)."""

MOST_CHARACTERS: Final = 250_000
"""Words of a record beyond this many characters are not searchable (a tsvector holds 1 MB)."""

_SINGLE = (
    "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"
)  # Han and Kana: each character is a word of its own
_WORD = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]{{1,{LONGEST_WORD}}}")
_ASCII_WORD = re.compile(rf"[a-z0-9A-Z]{{1,{LONGEST_WORD}}}")
_CONTROL = re.compile("[\x01-\x05]")
_SIGNS: Final = b"\x01\x02\x03\x04\x05"
_SPACED: Final = bytes(code if chr(code).isascii() and chr(code).isalnum() else 32 for code in range(256))
_MEMO_ENTRIES = 200_000


def fold(text: str) -> str:
    """Lower-case, stripped, NFC: the one form in which stored and sought text is compared."""
    if text.isascii():
        return text.lower().strip()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).strip()


def split(folded: str) -> list[str]:
    """Words of a folded text: runs of Unicode letters and digits; each Han or Kana character is its own."""
    if not folded.isascii():
        return _WORD.findall(folded)
    if len(folded) > LONGEST_WORD:
        return _ASCII_WORD.findall(folded)
    return folded.encode().translate(_SPACED).decode().split()  # three times as fast as the expression


def safe(text: str) -> str:
    """The text without the five signs that structure a `words` text."""
    if text.isascii() and len(text.encode().translate(None, _SIGNS)) == len(text):
        return text
    return _CONTROL.sub("\ufffd", text)


def safe_key(key: str) -> str:
    """A key as it stands in a `words` text: one lexeme, so without spaces."""
    return safe(key).replace(" ", "\xa0")


class _Tails(dict[str, tuple[str, str]]):
    """Memo: text → (what follows its key among the sections, what follows it among the folds or "")."""

    def __missing__(self, text: str) -> tuple[str, str]:
        folded = safe(fold(text))
        joined = " ".join(split(folded))
        tail = (f"{SAME} {joined} ", "") if joined == folded else (f"{OTHER} {joined} ", f"{WHOLE}{folded}")
        if not joined:
            tail = (f"{OTHER} ", tail[1])
        if len(text) <= 100:
            if len(self) >= _MEMO_ENTRIES:
                self.clear()
            self[text] = tail
        return tail


_tails = _Tails()


def document(provider: Iterable[tuple[str, str]], index: Iterable[tuple[str, str]] = ()) -> str:
    """The `words` text of one record from (key, value) pairs; keys must be `safe_key`s, values in any case.

    Only provider values get folds: the whole values of index terms have columns of their own.
    """
    sections: list[str] = []
    folds: list[str] = []
    for key, value in provider:
        section, folded = _tails[value]
        sections.append(f"{MARK}{key}{section}")
        if folded:
            folds.append(f"{MARK}{key}{folded}")
    sections += [f"{MARK}{key}{_tails[value][0]}" for key, value in index]
    text = "".join(sections)
    if len(text) > MOST_CHARACTERS:
        text = text[: text.rindex(" ", 0, MOST_CHARACTERS) + 1]
    return f"{text}{MARK}{ROOM}{''.join(folds)}{MARK}"


def whole_value(key: str, folded: str) -> str:
    """A string that occurs in a `words` text if and only if the provider term `key` has exactly this folded value.

    The value must not be empty.
    """
    folded, key = safe(folded), safe_key(key)
    joined = " ".join(split(folded))
    if joined == folded:
        return f"{MARK}{key}{SAME} {joined} {MARK}"
    return f"{MARK}{key}{WHOLE}{folded}{MARK}"


def phrase_regex(key: str, phrase: list[str], *, prefix: bool = False) -> str:
    """A POSIX regular expression true of a `words` text if these words stand consecutively in the value of `key`.

    With `prefix` the last word need only be begun. No character class depends on a locale.
    """
    tail = "" if prefix else " "
    return f"{MARK}{escape(safe_key(key))}[{SAME}{OTHER}][^{MARK}]* {' '.join(phrase)}{tail}"


def escape(text: str) -> str:
    """The text as a literal within a POSIX regular expression."""
    return re.sub(r"[][\\.^$*+?(){}|]", r"\\\g<0>", text)
