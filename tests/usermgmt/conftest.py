"""Searches run on a connection of their own; within a test's transaction they must share the one that has the data."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _one_connection(settings: Any, request: pytest.FixtureRequest) -> None:
    if "transactional_db" not in request.fixturenames:
        settings.USERMGMT_SEARCH_DATABASE = "default"
