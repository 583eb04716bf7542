"""Sources that are told to obey robots.txt (contract 10, item 12; RFC 9309)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry.demo import source as demo_source
from registry.models import Harvest
from tests.registry.conftest import run

pytestmark = pytest.mark.django_db(transaction=True)

Add = Callable[..., Harvest]
RULES = "User-agent: *\nAllow: /\n\nUser-agent: quincunx-registry\nDisallow: /nginx/station_000.xml\n"


def asked(source: demo_source.Source, path: str) -> int:
    return source.paths().count(path)


@pytest.mark.parametrize("obey", [True, False])
def test_forbidden_document(add_harvest: Add, source: demo_source.Source, *, obey: bool) -> None:
    """X23: a forbidden document is not asked for and counts as bad; the file is read once; off, nothing is asked."""
    source.robots = RULES
    made = run(add_harvest(obey_robots=obey))
    assert (made.state, made.good, made.bad) == (("ok", 5, 1) if obey else ("ok", 6, 0))
    assert asked(source, "/nginx/station_000.xml") == (0 if obey else 1)
    assert asked(source, "/robots.txt") == (1 if obey else 0)
    assert made.issues.filter(code="robots").count() == (1 if obey else 0)


def test_forbidden_listing(add_harvest: Add, source: demo_source.Source) -> None:
    """X24: a forbidden listing fails the run and is not asked for."""
    source.robots = "User-agent: *\nDisallow: /nginx/\n"
    made = run(add_harvest(obey_robots=True))
    assert (made.state, made.failure_code) == ("fail", "listing_failed")
    assert "robots.txt forbids" in made.failure_message
    assert asked(source, "/nginx/") == 0


def test_no_rules(add_harvest: Add, source: demo_source.Source) -> None:
    """X24: without the file all is allowed; while it cannot be had nothing is asked."""
    harvest = add_harvest(obey_robots=True)
    assert run(harvest).good == 6
    source.redirects["/robots.txt"] = "/nginx/rules.txt"
    source.put("rules.txt", b"User-agent: *\nDisallow: /nginx/moored/\n")
    assert run(harvest).failure_code == "listing_failed"
    assert asked(source, "/nginx/rules.txt") == 1
    del source.redirects["/robots.txt"]
    source.faults["/robots.txt"] = "500"
    source.requests.clear()
    assert run(harvest).failure_code == "listing_failed"
    assert asked(source, "/nginx/") == 0
