"""Who owns which path on the one host (contracts, common ground), and that no path redirects for its slash."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import resolve

OWNERS = {
    "core": [
        "/docs",
        "/docs/",
        "/accounts",
        "/accounts/login",
        "/livez",
        "/readyz",
        "/metrics",
        "/nothing/here",
        "/api.txt",
    ],
    "downloads": [
        "/",
        "/status/0b6a1b7e-6f4c-4a52-a1bd-0f8f2b9a5a11",
        "/v2/download",
        "/v2/download/0b6a1b7e-6f4c-4a52-a1bd-0f8f2b9a5a11",
        "/v2/downloads",
        "/downloads",
        "/downloads/x.zip",
        "/downloads/no/such",
    ],
    "registry": [
        "/api/v1/Harvests",
        "/api/v1/Harvests/abc123",
        "/api/v1/login",
        "/api/v1/logout",
        "/api/v1/harvests",
        "/api/v1/nosuch",
        "/api/v2/login",
        "/api/v2/harvest/abc123/harvest",
        "/api/v2",
        "/api/v2/nosuch",
        "/registry",
        "/registry/api/harvests",
        "/registry/nosuch",
        "/waf",
        "/waf/PacIOOS/x.xml",
    ],
    "usermgmt": [
        "/api/v1/users/username/mgatto",
        "/api/v1/users/name/john+adams",
        "/api/v1/users/email/@example.org",
        "/api/v1/users/username",
        "/api/v1/users/any/thing",
        "/api/v1/service/coge/add/mgatto",
        "/api/v1/service/nosuch",
        "/oauth2/token",
        "/oauth2/nosuch",
        "/portal",
        "/portal/api-clients",
        "/portal/nosuch",
    ],
    "nnels": [
        "/api",
        "/api/login-token",
        "/api/refresh-token/abc",
        "/api/users/me",
        "/api/v1/users",
        "/api/v1/users/me",
        "/api/v1/users/117",
        "/api/v1/users/1,2",
        "/api/v1.0/repo_items/6804",
        "/api/v1.1/basic_search/whale",
        "/api/v1.7/repo_items",
        "/api/v1/repo_items",
        "/api/repo-items",
        "/api/nosuch",
        "/repo-items",
        "/repo-items/6804",
        "/nnels",
        "/nnels/titles/6804",
        "/nnels/nosuch",
        "/opds",
        "/opds/nosuch",
    ],
    "exports": [
        "/orgs",
        "/orgs/CIEL/sources/CIEL/v1/export",
        "/users",
        "/users/login",
        "/user",
        "/user/sources",
        "/sources",
        "/collections",
        "/importers/bulk-import",
        "/exports",
        "/exports/dl/abc/x.tgz",
        "/orgs/a/b/c/d/e/f/g",
    ],
}


def owner_of(path: str) -> str:
    """The app that answers: of an API view the one whose dialect it speaks, else the one it stands in."""
    view: Any = resolve(path).func
    view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
    dialect = getattr(view_class, "dialect", None)
    speaker = type(dialect) if dialect is not None else view_class or view
    return str(speaker.__module__).partition(".")[0]


@pytest.mark.parametrize(("owner", "path"), [(owner, path) for owner, paths in OWNERS.items() for path in paths])
def test_a_path_belongs_to_its_owner_with_and_without_slash(owner: str, path: str) -> None:
    for spelling in {path.rstrip("/") or "/", path.rstrip("/") + "/"}:
        assert owner_of(spelling) == owner, spelling


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path", [path for paths in OWNERS.values() for path in paths if not path.startswith("/portal")]
)
def test_no_path_redirects_for_its_slash(client: Client, path: str) -> None:
    bare = path.rstrip("/") or "/"
    for spelling in {bare, bare.rstrip("/") + "/"}:
        location = client.get(spelling).headers.get("Location", "")
        assert location.rstrip("/") != bare.rstrip("/") or not location
