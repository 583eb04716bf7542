"""Folding, word splitting and the searchable `words` text of a record (contract §2.7 rules 1 and 2).

The text is laid out so that PostgreSQL answers every text question by comparing code points, never by its own idea of
letters or case:

    words    = sections MARK ROOM folds sections MARK
    sections = (MARK key (SAME | OTHER) " " (word " ")*)*
    folds    = (MARK key WHOLE folded-value)*

First come the sections of provider terms, `key` being `data.` and the term; then, without a key, the words that only
index terms have; behind ROOM, where nothing is indexed, the folds and the sections of index terms. SAME: the folded
value is exactly its words joined by single spaces; OTHER: it is not (punctuation, Han), and then it stands among the
folds. Split at spaces, what is before ROOM gives the lexemes of the index (`LEXEMES_SQL`): every word, and every marked
provider term, which finds rows holding a rare one. Whether a row has an index term is asked of its column.

Rows written before had the sections of index terms before ROOM too. Every question has the same answer for them.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
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

LARGEST_VECTOR: Final = 1_040_000
"""Bytes of the different words of a record, a little less than a tsvector holds.

More only fit into a row (1 MiB, and a quarter attached to it) that hardly says a word twice; of such a row the words
beyond are not searchable.
"""
_SURE_TO_FIT: Final = LARGEST_VECTOR // 4
"""Characters."""

_SINGLE = (
    "\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"
)  # Han and Kana: each character is a word of its own
WORD: Final = re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]{{1,{LONGEST_WORD}}}")
"""A word."""
_CONTROL = re.compile("[\x01-\x05]")
_SIGNS: Final = b"\x01\x02\x03\x04\x05"
_SPACED: Final = bytes(code if chr(code).isalnum() else 32 for code in range(256))
"""Of Latin-1, which has no signs that are words of their own."""
_STRUCTURE: Final = _SIGNS + b"\0"
_NUL: Final = "\0"
"""Between texts; no stored text can hold it."""
_SPACED_NUL: Final = bytes(code if chr(code).isalnum() or not code else 32 for code in range(256))
_MEMO_TEXTS: Final = 40_000


def fold(text: str) -> str:
    """Lower-case, stripped, NFC: the one form in which stored and sought text is compared."""
    if text.isascii():
        return text.lower().strip()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower()).strip()


def split(folded: str) -> list[str]:
    """Words of a folded text: runs of Unicode letters and digits; each Han or Kana character is its own."""
    try:
        found = folded.encode("latin-1").translate(_SPACED).decode("latin-1").split()  # much faster than the expression
    except UnicodeEncodeError:
        return WORD.findall(folded)
    if len(folded) > LONGEST_WORD and max(map(len, found), default=0) > LONGEST_WORD:
        return WORD.findall(folded)
    return found


def safe(text: str) -> str:
    """The text without the five signs that structure a `words` text."""
    if text.isascii() and len(text.encode().translate(None, _SIGNS)) == len(text):
        return text
    return _CONTROL.sub("\ufffd", text)


def safe_key(key: str) -> str:
    """A key as it stands in a `words` text: one lexeme, so without spaces."""
    return safe(key).replace(" ", "\xa0")


Tail = tuple[str, str]
"""What follows a key among the sections, and what follows it among the folds or ""."""
Values = tuple[Sequence[str], Sequence[str]]
"""How sections begin (`start`), and as many values in any case."""

_tails: dict[str, Tail] = {}


def start(key: str) -> str:
    """How sections and folds of a key begin."""
    return f"{MARK}{safe_key(key)}"


def _tail(folded: str, joined: str) -> Tail:
    if not joined:
        return f"{OTHER} ", (f"{WHOLE}{folded}" if folded else "")
    return (f"{SAME} {joined} ", "") if joined == folded else (f"{OTHER} {joined} ", f"{WHOLE}{folded}")


def _learn(texts: set[str]) -> None:
    """Know the tails of these texts. What is known does not grow for ever."""
    if len(_tails) > _MEMO_TEXTS:
        _tails.clear()
    fresh = texts.difference(_tails)
    if not fresh:
        return
    plain = [text for text in fresh if text.isascii()]
    together = _NUL.join(plain).encode()
    if len(together.translate(None, _STRUCTURE)) == len(together) - len(plain) + 1:
        fresh.difference_update(plain)
        fresh.update(_learn_ascii(plain, together))
    for text in fresh:
        folded = safe(fold(text))
        _tails[text] = _tail(folded, " ".join(split(folded)))


def _learn_ascii(texts: list[str], together: bytes) -> list[str]:
    """Fold and split many texts at once, at a fraction of the cost of one by one; returns those that could be."""
    lowered = together.lower()
    spaced = lowered.translate(_SPACED_NUL)
    while b"  " in spaced:
        spaced = spaced.replace(b"  ", b" ")
    folded = [*map(str.strip, lowered.decode().split(_NUL))]
    joined = [*map(str.strip, spaced.decode().split(_NUL))]
    tails = [*map(_tail, folded, joined)]
    _tails.update(zip(folded, tails, strict=True))  # what index terms mostly have
    _tails.update(zip(texts, tails, strict=True))
    long = [place for place, parts in enumerate(joined) if len(parts) > LONGEST_WORD and _has_long_word(parts)]
    for place in long:
        _tails.pop(folded[place], None)
    return [texts[place] for place in long]


def _has_long_word(joined: str) -> bool:
    return max(map(len, joined.split())) > LONGEST_WORD


def documents(rows: Sequence[tuple[Values, Values]]) -> list[str]:
    """The `words` texts of records, each from the values of its provider terms and of its index terms.

    Only provider values get folds: the whole values of index terms have columns of their own.
    """
    _learn({text for both in rows for _starts, texts in both for text in texts})
    return [*itertools.starmap(_document, rows)]


def _document(provider: Values, index: Values) -> str:
    sections, folds = zip(*map(_tails.__getitem__, provider[1]), strict=True) if provider[1] else ((), ())
    others = [_tails[text][0] for text in index[1]]
    seen = set(sections)
    alone = [section[len(f"{OTHER} ") :] for section in others if section not in seen]
    behind = [begin + fold for begin, fold in zip(provider[0], folds, strict=True) if fold]
    text = f"{_alternating(provider[0], sections)}{MARK}{OTHER} {''.join(alone)}"
    if len(text) > _SURE_TO_FIT:
        text = _fitting(text)
    return f"{text}{MARK}{ROOM}{''.join(behind)}{_alternating(index[0], others)}{MARK}"


def _fitting(text: str) -> str:
    """As many of the sections as a tsvector holds, which has every word once."""
    room, kept, seen = LARGEST_VECTOR, 0, set[str]()
    for word in text.split(" "):
        if word not in seen:
            seen.add(word)
            room -= len(word.encode())
            if room < 0:
                return text[:kept]
        kept += len(word) + 1
    return text


def _alternating(starts: Sequence[str], sections: Sequence[str]) -> str:
    return "".join(itertools.chain.from_iterable(zip(starts, sections, strict=True)))


def document(provider: Iterable[tuple[str, str]], index: Iterable[tuple[str, str]] = ()) -> str:
    """The `words` text of one record from (key, value) pairs."""
    (made,) = documents([(_values(provider), _values(index))])
    return made


def _values(pairs: Iterable[tuple[str, str]]) -> Values:
    found = list(pairs)
    return [start(key) for key, _value in found], [value for _key, value in found]


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
