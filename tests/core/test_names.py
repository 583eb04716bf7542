"""The normalisation and the search columns (user management contract, 2.3 and 9)."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import names

LETTERS = st.text(
    alphabet=st.sampled_from("aAeEzZéÉß ij.@_-+'王小明张金김민준かカだйиάΣς\u0301\u0308\u093e"), max_size=12
)


@pytest.mark.parametrize(
    ("term", "stored"),
    [
        ("jose", "José"),
        ("MULLER", "Müller"),
        ("ist", "İstanbul"),
        ("αλφ", "ΆΛΦΑ"),
        ("strasse", "straße"),
        ("ABC", "\uff41\uff42\uff43"),
        ("o\u0308zil", "Özil"),
        ("soren", "Søren"),
        ("lukasz", "Łukasz"),
        ("dorde", "Đorđe"),
        ("isik", "Işık"),
        ("aesop oe", "Æsop œ"),
        ("thor", "Þór"),
        ("gudrun", "Guðrún"),
        ("nguyen van", "Nguyễn  Văn"),
        ("σοφος", "ΣΟΦΌΣ"),
    ],
)
def test_term_is_found(term: str, stored: str) -> None:
    """UM15: the examples under Normalisation match."""
    assert names.normalise(term) in names.normalise(stored)


@pytest.mark.parametrize(("term", "stored"), [("и", "Андрей"), ("हन", "हिन्दी"), ("กน", "กิน")])
def test_marks_of_other_scripts_stay(term: str, stored: str) -> None:
    """UM15: й does not match и; Devanagari vowels stay."""
    assert names.normalise(term) not in names.normalise(stored)


def test_devanagari_is_kept_whole() -> None:
    assert names.normalise("हिन्दी") == unicodedata.normalize("NFC", "हिन्दी")


def test_whitespace_collapses_and_the_joiner_cannot_be_typed() -> None:
    assert names.normalise(" a\n\tb\u00a0\u3000c ") == "a b c"


def test_name_column_triples_characters_without_trigrams() -> None:
    assert names.name_column("小明", "王") == "小小小明明明\n王王王"
    assert names.name_column("민", "Kim") == "민민민\nkim"
    assert names.name_part("さくらー") == "さささくくくらららーーー"


def test_search_columns_of_an_account() -> None:
    assert names.search_columns("Mgatto", "José", "王") == {
        "username_n": "mgatto",
        "first_n": "jose",
        "last_n": "王",
        "name_n": "jose\n王王王",
    }


def test_columns_follow_the_fields_they_are_made_from() -> None:
    assert names.columns_following(["first_name", "institution"]) == {"first_n", "name_n"}
    assert names.columns_following({"username"}) == {"username_n"}


def test_address_column_maps_the_five_signs() -> None:
    assert names.search_address("A.b_c-d+e@X.org") == "a\ua725b\ua727c\ua729d\ua72be\ua723x\ua725org"


def test_reserved_letters_match_nothing() -> None:
    assert names.has_reserved_letter("a\ua723b")
    assert names.has_reserved_letter("a\ua722b")  # the capital folds to the small letter
    assert not names.has_reserved_letter("a@b")
    assert names.search_address("a\ua723b") != names.search_address("a@b")


def test_like_literal_escapes_wildcards() -> None:
    assert names.like_literal("50%_a\\b") == "50\\%\\_a\\\\b"


@given(LETTERS, LETTERS)
def test_tripling_keeps_substrings(part: str, whole: str) -> None:
    assert (names.name_part(part) in names.name_part(whole)) == (names.normalise(part) in names.normalise(whole))


@given(LETTERS, LETTERS)
def test_address_map_keeps_substrings(part: str, whole: str) -> None:
    assert (names.search_address(part) in names.search_address(whole)) == (
        names.normalise(part) in names.normalise(whole)
    )


@given(st.text())
def test_any_text_normalises_alike_composed_or_not(text: str) -> None:
    assert names.normalise(unicodedata.normalize("NFC", text)) == names.normalise(unicodedata.normalize("NFD", text))


@given(st.text())
def test_no_joiner_and_no_edges(text: str) -> None:
    normal = names.normalise(text)
    assert names.NAME_JOINER not in normal
    assert normal == " ".join(normal.split())
