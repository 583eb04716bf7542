"""People and titles of the accessible library's tests."""

from __future__ import annotations

import base64
import datetime
import hashlib
import uuid as uuids
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from django.db import transaction
from django.test import Client

from core import blobs
from core.models import User
from nnels import models
from nnels.formats import recognise
from nnels.jobs import catalogue
from nnels.selectors import facets, items
from nnels.services import callers

LogIn: TypeAlias = Callable[..., dict[str, Any]]
MOBY_UUID = uuids.UUID("2b2532ea-0000-4000-8000-000000006804")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Caches of one test must not reach the next: versions start again with every test database state."""
    yield
    items._anchors.clear()
    items._counts.clear()
    facets._counted.clear()
    callers._remembered.clear()


def basic(name: str, password: str) -> str:
    """An Authorization header."""
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def make_user(name: str, *, verified: bool = False, password: str = "notReal", **fields: Any) -> User:
    """An account; `verified` makes it a verified reader."""
    user = User.objects.create_user(name, f"{name}@example.org", password, **fields)
    if verified:
        models.Reader.objects.create(user=user, print_disability_verified=True)
    return user


def make_item(label: str = "Moby-Dick", *, files: dict[str, bytes] | None = None, **fields: Any) -> models.Item:
    """A title through the catalogue's own functions; `files`: format → content, stored as blobs."""
    nid = fields.pop("nid", None)
    uuid = fields.pop("uuid", None) or uuids.uuid4()
    with transaction.atomic():
        item = catalogue.create(uuid, {"label": label, **fields}, nid=nid)
        for name, content in (files or {}).items():
            code, _, part = name.partition(":")
            digest = hashlib.sha256(content).hexdigest()
            media_type, extension = recognise.MEDIA_TYPES[code], recognise.EXTENSIONS[code]
            key = catalogue.blob_key(item.uuid, digest, extension)
            blobs.put(key, content, media_type)
            catalogue.place_file(
                item,
                format_code=code,
                part=int(part or 1),
                media_type=media_type,
                size=len(content),
                sha256=digest,
                key=key,
            )
        catalogue.settle(item, was_published=False)
    item.refresh_from_db()
    return item


def moby(**fields: Any) -> models.Item:
    """The document's item."""
    return make_item(
        **{
            "label": "Moby-Dick",
            "nid": 6804,
            "uuid": MOBY_UUID,
            "creators": ["Melville, Herman"],
            "isbn": ["9780142437247"],
            "published_date": "1851",
            "subjects": ["Whaling"],
            "files": {"epub": b"an epub, as far as the store can tell"},
            **fields,
        }
    )


@pytest.fixture
def reader(db: None) -> User:
    """A verified reader."""
    return make_user("test-account", verified=True)


@pytest.fixture
def staff(db: None) -> User:
    """An administrator."""
    return make_user("keeper", is_staff=True)


@pytest.fixture
def operator(client: Client, db: None) -> User:
    """A superuser, logged in to the pages."""
    user = make_user("operator", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


@pytest.fixture
def log_in(client: Client) -> LogIn:
    """`log_in("name")` → the login-token body."""

    def do(name: str = "test-account", password: str = "notReal") -> dict[str, Any]:
        response = client.get("/api/login-token", HTTP_AUTHORIZATION=basic(name, password))
        assert response.status_code == 200, response.content
        body: dict[str, Any] = response.json()
        return body

    return do


@pytest.fixture
def token(reader: User, log_in: Callable[..., dict[str, Any]]) -> str:
    """The verified reader's access token."""
    return str(log_in()["access_token"])


def ago(**span: float) -> datetime.datetime:
    """An instant in the past."""
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(**span)
