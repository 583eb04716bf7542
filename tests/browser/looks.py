"""What a page looks like: accessible and fitting at both widths, and a picture of it for whoever wants to see it."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

from axe_playwright_python.sync_playwright import Axe

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 320, "height": 640}
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


def audit(page: Page, name: str = "") -> None:
    """No violation of WCAG 2.2 A or AA that axe can find, one first heading, at desktop and phone width; nothing
    scrolls sideways. With a name there are pictures of both."""
    for size in (NARROW, WIDE):
        page.set_viewport_size(size)
        found = Axe().run(page, options=RULES)
        told = [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found.response["violations"]]
        assert not told, (page.url, size, told)
        assert page.locator("h1").count() == 1, page.url
        assert_fits(page)
        if name:
            picture(page, f"{name}-{size['width']}")


def assert_fits(page: Page) -> None:
    """Nothing scrolls sideways."""
    overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, (page.url, page.viewport_size, overflow)


def picture(page: Page, name: str) -> None:
    """Keep a screenshot when QUINCUNX_SCREENSHOTS names a folder; names begin with the app's."""
    folder = os.environ.get("QUINCUNX_SCREENSHOTS")
    if folder:
        page.screenshot(path=str(pathlib.Path(folder) / f"{name}.png"), full_page=True)
