"""Folding, words and the searchable text (contract §2.7 rules 1 and 2)."""

import re

from hypothesis import given
from hypothesis import strategies as st

from downloads.formats import words

PLAIN = st.text(st.characters(exclude_characters="\x01\x02\x03\x04\x05", exclude_categories=["Cs"]), max_size=60)


def test_fold() -> None:
    """D40: the first row of §3.3."""
    assert words.fold("İSTANBUL") == "i̇stanbul"
    assert words.fold("ẞ") == "ß"
    assert words.fold("  Cafe\u0301 ") == "café"


def test_split() -> None:
    """D21: a word is a run of letters and digits; each Han or Kana character is its own."""
    assert words.split("río ñandú-2, st. louis_mo") == ["río", "ñandú", "2", "st", "louis", "mo"]
    assert words.split("東京 tokyoのメープル") == ["東", "京", "tokyo", "の", "メ", "ー", "プ", "ル"]
    assert words.split("𠮷野家") == ["𠮷", "野", "家"]
    assert words.split("...") == []


@given(st.one_of(st.text(), st.text(st.characters(max_codepoint=255), max_size=450)))
def test_the_short_way_splits_as_the_expression_does(text: str) -> None:
    """D21: what a word is does not depend on the letters beside it."""
    assert words.split(text) == words.WORD.findall(text)


def test_long_runs_are_cut_alike() -> None:
    assert [len(word) for word in words.split("a" * 450)] == [200, 200, 50]


@given(PLAIN)
def test_fold_is_idempotent(text: str) -> None:
    assert words.fold(words.fold(text)) == words.fold(text)


@given(st.lists(st.tuples(st.sampled_from(["a", "data.dwc:b", "c.d"]), PLAIN), max_size=5), PLAIN)
def test_whole_values(pairs: list[tuple[str, str]], sought: str) -> None:
    """D21: `exact` finds the keys holding the value, and only those."""
    document = words.document(pairs)
    for candidate in [sought, *(value for _, value in pairs)]:
        folded = words.fold(candidate)
        if not folded:
            continue
        for key in ("a", "data.dwc:b", "c.d"):
            expected = any(k == key and words.fold(v) == folded for k, v in pairs)
            assert (words.whole_value(key, folded) in document) == expected


@given(st.lists(st.tuples(st.sampled_from(["a", "data.dwc:b"]), PLAIN), max_size=4), PLAIN, st.booleans())
def test_phrases(pairs: list[tuple[str, str]], sought: str, prefix: bool) -> None:
    """D21: words must stand consecutively in one value; with prefix the last need only be begun."""
    document = words.document(pairs)
    for candidate in [sought, *(value[:9] for _, value in pairs)]:
        phrase = words.split(words.fold(candidate))
        if not phrase:
            continue
        for key in ("a", "data.dwc:b"):
            values = [words.split(words.fold(value)) for k, value in pairs if k == key]
            expected = any(_stands_in(phrase, value, prefix) for value in values)
            found = re.search(words.phrase_regex(key, phrase, prefix=prefix), document) is not None
            assert found == expected, (candidate, key)


def _stands_in(phrase: list[str], value: list[str], prefix: bool) -> bool:
    size = len(phrase)
    for start in range(len(value) - size + 1):
        window = value[start : start + size]
        last = window[-1].startswith(phrase[-1]) if prefix else window[-1] == phrase[-1]
        if window[:-1] == phrase[:-1] and last:
            return True
    return False


@given(st.lists(st.tuples(st.sampled_from(["a", "b c"]), PLAIN), max_size=5))
def test_lexemes_are_never_empty(pairs: list[tuple[str, str]]) -> None:
    sections = words.document([], [(words.safe_key(key), value) for key, value in pairs]).split(words.ROOM)[0]
    assert all(sections.split(" "))


def test_limit() -> None:
    """D21: a word said again takes no room; different words are taken as far as they fit, and no word in part."""
    often = words.document([("k", "once and again and again " * 40_000 + "lastly")])
    assert often.split(words.ROOM)[0].endswith(f"again lastly {words.MARK}{words.OTHER} {words.MARK}")
    document = words.document(("k", f"wörd{n}") for n in range(150_000))
    lexemes = set(document.split(words.ROOM)[0].split(" "))
    size = sum(len(lexeme.encode()) for lexeme in lexemes)
    assert words.LARGEST_VECTOR - 20 < size <= words.LARGEST_VECTOR
    assert {lexeme for lexeme in lexemes if lexeme[0] != words.MARK} == {f"wörd{n}" for n in range(len(lexemes) - 2)}
    assert document.endswith(words.MARK)


@given(
    st.lists(st.tuples(st.just("data.dwc:b"), PLAIN), max_size=4), st.lists(st.tuples(st.just("b"), PLAIN), max_size=4)
)
def test_every_word_is_a_lexeme_and_of_keys_only_the_provider_terms(
    provider: list[tuple[str, str]], index: list[tuple[str, str]]
) -> None:
    """D21: fulltext finds index terms and provider text alike; only provider terms are asked for by their mark."""
    lexemes = set(words.document(provider, index).split(words.ROOM)[0].split(" "))
    wanted = {word for _, value in [*provider, *index] for word in words.split(words.fold(value))}
    assert wanted == {lexeme for lexeme in lexemes if not lexeme.startswith(words.MARK)}
    marked = {lexeme[1:-1] for lexeme in lexemes if lexeme.startswith(words.MARK)}
    assert marked - {""} == {key for key, _ in provider}


@given(st.lists(st.tuples(st.just("b"), PLAIN), max_size=4), PLAIN)
def test_phrases_of_index_terms(pairs: list[tuple[str, str]], sought: str) -> None:
    """D21: index terms behind the indexed part are found by phrase as provider terms are."""
    document = words.document([("data.dwc:b", "elsewhere")], pairs)
    for phrase in filter(None, (words.split(words.fold(text)) for text in [sought, *(value for _, value in pairs)])):
        wanted = any(_stands_in(phrase, words.split(words.fold(value)), False) for _, value in pairs)
        assert (re.search(words.phrase_regex("b", phrase), document) is not None) == wanted
