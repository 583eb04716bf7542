"""Paging: whole numbers of a query, and the windows of a list."""

import pytest

from core import errors, paging


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("7", 7), ("000", 0), ("0" * 30 + "12", 12), ("1" + "0" * 15, 10**15)]
)
def test_whole_number(text: str, number: int) -> None:
    """Digits with or without leading zeros are read."""
    assert paging.whole_number(text, field="offset") == number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A valid positive integer is required."),
        ("-1", "A valid positive integer is required."),
        ("1.5", "A valid positive integer is required."),
        ("٣", "A valid positive integer is required."),
        ("0", "A valid positive integer is required."),
        ("51", "Ensure this value is less than or equal to 50."),
        ("9" * 18, "Ensure this value is less than or equal to 50."),
        ("9" * 5000, "Ensure this value is less than or equal to 50."),
    ],
)
def test_refused_number(text: str, message: str) -> None:
    """What cannot be counted with is refused in words for its fault, or in the caller's, and always names its field."""
    for given, said in (("", message), ("must be small", "must be small")):
        with pytest.raises(errors.Invalid) as refusal:
            paging.whole_number(text, field="page", least=1, most=50, message=given)
        assert (refusal.value.field, refusal.value.message) == ("page", said)


def test_largest_number() -> None:
    """Beside the largest number every sum of a page is a bigint; the next one is refused."""
    page, rows = paging.LARGEST, 1000
    assert page * rows + rows < 2**63
    with pytest.raises(errors.Invalid, match=str(paging.LARGEST)):
        paging.whole_number(str(paging.LARGEST + 1), field="page")


@pytest.mark.parametrize(
    ("window", "page", "pages", "before", "after"),
    [
        (paging.Window(0, 3, 7), 1, 3, None, 3),
        (paging.Window(3, 3, 7), 2, 3, 0, 6),
        (paging.Window(6, 3, 7), 3, 3, 3, None),
        (paging.Window(2, 3, 7), 1, 3, 0, 5),
        (paging.Window(paging.LARGEST, 3, 7), paging.LARGEST // 3 + 1, 3, 6, None),
        (paging.Window(0, 3, 0), 1, 1, None, None),
        (paging.Window(0, 0, 7), 1, 1, None, None),
    ],
)
def test_window(window: paging.Window, page: int, pages: int, before: int | None, after: int | None) -> None:
    """A window knows its page and its neighbours; from far past the end the way back is the last page."""
    assert (window.page, window.pages, window.previous_offset, window.next_offset) == (page, pages, before, after)
