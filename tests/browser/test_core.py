"""The core's own pages on a narrow screen."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.django_db(transaction=True)

# Rows whose cells are squeezed to a word a line, as a table made to fit does, are far taller than their text asks for.
TALLEST_ROW = "Math.max(0, ...[...document.querySelectorAll('tr')].map(row => row.offsetHeight))"


@pytest.mark.parametrize("path", ["/", "/docs/", "/accounts/login", "/accounts/password/forgot", "/nosuch"])
def test_pages_fit_a_narrow_screen(web: Any, browser: Any, path: str) -> None:
    browser.set_viewport_size({"width": 320, "height": 640})
    browser.goto(web.base_url + path)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 320
    assert browser.evaluate(TALLEST_ROW) < 500
