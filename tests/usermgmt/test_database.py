"""What the search needs of the database: indexes that are used, a timeout that bites, letters it knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from django.conf import settings
from django.db import connection, connections, transaction
from pytest_django import DjangoDbBlocker, Settings

from tests import house
from tests.usermgmt import world
from usermgmt import checks
from usermgmt.selectors import directory
from usermgmt.services import crowd, doctor


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("kind", "term", "index"),
    [
        ("username", "jsmith1", "core_user_username_trgm"),
        ("username", "احمدصفيان", "core_user_username_trgm"),
        ("name", "quintanilha", "core_user_name_trgm"),
        ("name", "صفيان", "core_user_name_trgm"),
        ("name", "kowalski", "core_user_last_start"),
        ("name", "المنصور", "core_user_last_start"),
        ("name", "john adams", "core_user_name_trgm"),
        ("name", "احمد صفيان", "core_user_name_trgm"),
        ("name", "小明 王", "core_user_name_trgm"),
        ("email", "smith.12@univ", "core_email_trgm"),
        ("email", "احمد@صفيان", "core_email_trgm"),
    ],
)
def test_plans(crowded: None, kind: str, term: str, index: str) -> None:
    """UM25: EXPLAIN shows an index for each type in Latin and Arabic, and for `小明+王` (1 M rows: the benchmark)."""
    statement = directory.STATEMENTS[kind](term, 0, 100)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + statement.sql, statement.params)
        plan = "\n".join(row[0] for row in cursor.fetchall())
    assert index in plan
    assert "Seq Scan on core_user u" not in plan
    assert "Seq Scan on core_emailaddress" not in plan


@pytest.mark.django_db
def test_a_page_of_a_popular_name_reads_that_page(crowded: None) -> None:
    """UM25: the first hundred of a popular name come from the index in order, without the rest of the name."""
    statement = directory.STATEMENTS["name"]("kowalski", 0, 100)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN (ANALYZE, FORMAT json) " + statement.sql, statement.params)
        ((document,),) = cursor.fetchall()
        cursor.execute("SELECT count(*) FROM core_user WHERE last_n = 'kowalski'")
        ((bearers,),) = cursor.fetchall()
    assert bearers > 200
    assert all(scan["Actual Rows"] * scan["Actual Loops"] <= 101 for scan in scans(document[0]["Plan"]))
    assert all(not scan.get("Rows Removed by Filter") for scan in scans(document[0]["Plan"]))


def scans(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """The nodes of a plan that read the table of people."""
    below = [scan for child in plan.get("Plans", []) for scan in scans(child)]
    return [*below, plan] if plan.get("Relation Name") == "core_user" else below


@pytest.fixture(scope="module")
def crowded(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Any:
    """A directory large enough for the planner to care."""
    with django_db_blocker.unblock():
        crowd.grow(30_000)
        yield
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE core_user CASCADE")


@pytest.mark.django_db(transaction=True, databases=["default", "directory"])
def test_statement_timeout(monkeypatch: pytest.MonkeyPatch, transactional_db: None) -> None:
    """UM27: Statement timeout gives 503 JSON."""
    program = world.program()
    alias = connections[settings.USERMGMT_SEARCH_DATABASE]
    alias.close()
    changed = {**alias.settings_dict["OPTIONS"], "options": "-c statement_timeout=100"}
    monkeypatch.setitem(alias.settings_dict, "OPTIONS", changed)
    slow = directory.Statement("SELECT pg_sleep(20)", {})
    monkeypatch.setitem(directory.STATEMENTS, "username", lambda *_: slow)
    response = program.get("/api/v1/users/username/mgatto")
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert response.json() == {"error": {"Exception": {"code": 0, "message": "Service Unavailable"}}}
    alias.close()


@pytest.mark.django_db(transaction=True)
def test_a_web_process_keeps_the_search_timeout(start_web: Callable[..., house.Web]) -> None:
    """UM27: a search that waits for PostgreSQL is 503 after its own timeout, not that of all web statements."""
    world.seed_people()
    program = world.program(world.person("owner"))
    web = start_web(USERMGMT_STATEMENT_TIMEOUT_MS="300")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE core_emailaddress IN ACCESS EXCLUSIVE MODE")
        url = f"{web.base_url}/api/v1/users/email/@example.org"
        answer = requests.get(url, auth=(program.key, program.secret), timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_the_search_connection_has_its_timeout() -> None:
    """UM27: the search connection is opened with the configured limit."""
    options = settings.DATABASES[settings.USERMGMT_SEARCH_DATABASE or "directory"]
    assert settings.USERMGMT_STATEMENT_TIMEOUT_MS == 2_000
    assert "OPTIONS" in options
    assert "statement_timeout=2000" in settings.DATABASES["directory"]["OPTIONS"]["options"]


@pytest.mark.django_db(transaction=True)
def test_a_database_without_letters(transactional_db: None) -> None:
    """UM27: the start-up check fails on a `LC_CTYPE=C` database."""
    assert checks.trigrams(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP DATABASE IF EXISTS um_ctype_c")
        cursor.execute(
            "CREATE DATABASE um_ctype_c TEMPLATE template0 ENCODING UTF8 "
            "LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    usual = connection.settings_dict["NAME"]
    try:
        connection.close()
        connection.settings_dict["NAME"] = "um_ctype_c"
        assert checks.trigrams(databases=["default"]) == []  # before the first migration
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION pg_trgm")
        found = checks.trigrams(databases=["default"])
        assert [message.id for message in found] == ["usermgmt.E001"]
    finally:
        connection.close()
        connection.settings_dict["NAME"] = usual
        with connection.cursor() as cursor:
            cursor.execute("DROP DATABASE um_ctype_c")


@pytest.mark.django_db
def test_doctor() -> None:
    found = {finding.what: finding.is_fine for finding in doctor.findings()}
    assert found == dict.fromkeys(("extension", "collation", "indexes", "peppers", "secrets", "proxies", "mail"), True)
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX core_user_name_trgm")
    assert not {finding.what: finding.is_fine for finding in doctor.findings()}["indexes"]


def test_pepper_checks(settings: Settings) -> None:
    settings.USERMGMT_SECRET_PEPPERS = [("a", "x" * 32), ("b", "y" * 32)]
    assert checks.peppers() == []
    settings.USERMGMT_SECRET_PEPPERS = [("a", "x" * 32), ("a", "short")]
    assert [message.id for message in checks.peppers()] == ["usermgmt.E002", "usermgmt.E003"]
