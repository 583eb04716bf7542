"""A browser as its poorest visitor has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.looks import NARROW

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture
def plain(chromium: BrowserContext) -> Iterator[Page]:
    """A page without scripts and cookies, at phone width."""
    chromium.clear_cookies()
    page = chromium.new_page()
    chromium.new_cdp_session(page).send("Emulation.setScriptExecutionDisabled", {"value": True})
    page.set_viewport_size(NARROW)
    yield page
    page.close()
