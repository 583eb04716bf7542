"""One request end to end: log in, read the document's item, fetch its file from the store."""

from __future__ import annotations

import hashlib
import urllib.request

import pytest
from django.test import Client

from tests.nnels import conftest as house


@pytest.mark.django_db
def test_from_password_to_bytes(client: Client, token: str) -> None:
    """N27: keys and types of an item; the link delivers the file."""
    house.moby()
    response = client.get("/api/v1.0/repo_items/6804", headers={"access-token": token})
    assert response.status_code == 200, response.content
    body = response.json()
    (row,) = body["data"]
    assert row["id"] == 6804
    (url,) = row["file_resources"]
    with urllib.request.urlopen(url) as answer:
        data = answer.read()
    assert hashlib.sha256(data).hexdigest() == row["files"][0]["sha256"]
