"""How staff come into the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def log_in(page: Page, base: str, name: str, password: str, *, to: str) -> None:
    """Log in at the admin's door, on the way to a page of it."""
    page.goto(f"{base}/admin/login/?next={to}")
    page.fill("#id_username", name)
    page.fill("#id_password", password)
    page.click("input[type=submit]")
