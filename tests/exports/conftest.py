"""A small terminology world, and a client that speaks to it in process."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client
from django.test.client import Client as DjangoClient

from core import jobs
from core.models import User
from exports.models import Organization, Repo, RepoVersion
from exports.services import content, owners, references, repos, tokens
from tests import house


@dataclass
class Api:
    """Requests as a client sends them: JSON in, token along."""

    token: str = ""
    client: DjangoClient = field(default_factory=Client)

    def __call__(self, method: str, path: str, data: Any = None, **headers: str) -> Any:
        if self.token:
            headers.setdefault("Authorization", f"Token {self.token}")
        body = data if isinstance(data, bytes | str) else json.dumps(data)
        kind = "application/json"
        return self.client.generic(method, path, "" if data is None else body, content_type=kind, headers=headers)

    def get(self, path: str, **headers: str) -> Any:
        return self("GET", path, **headers)

    def head(self, path: str, **headers: str) -> Any:
        return self("HEAD", path, **headers)

    def post(self, path: str, data: Any = None, **headers: str) -> Any:
        return self("POST", path, data, **headers)

    def put(self, path: str, data: Any = None, **headers: str) -> Any:
        return self("PUT", path, data, **headers)

    def delete(self, path: str, data: Any = None, **headers: str) -> Any:
        return self("DELETE", path, data, **headers)


@dataclass
class World:
    """Who and what there is."""

    editor: User
    outsider: User
    staff: User
    org: Organization
    source: Repo
    anonymous: Api
    api: Api  # the editor's
    stranger: Api
    boss: Api

    @property
    def path(self) -> str:
        return self.source.uri

    def concept(self, mnemonic: str, name: str = "", **more: Any) -> str:
        data = {
            "id": mnemonic,
            "concept_class": "Diagnosis",
            "datatype": "N/A",
            "names": [{"name": name or f"Name of {mnemonic}", "locale": "en", "locale_preferred": True,
                       "name_type": "FULLY_SPECIFIED"}],
            **more,
        }  # fmt: skip
        return content.create_concept(more.pop("source", self.source), data=data, user=self.editor)

    def mapping(self, origin: str, target: str, **more: Any) -> str:
        data = {"map_type": "SAME-AS", "from_concept_url": origin, "to_concept_url": target, **more}
        return content.create_mapping(self.source, data=data, user=self.editor)

    def cut(self, name: str = "v1", *, repo: Repo | None = None, **more: Any) -> RepoVersion:
        return repos.cut(repo or self.source, data={"id": name, **more}, user=self.editor)

    def repo(self, mnemonic: str, *, kind: str = "source", owner: Any = None, **more: Any) -> Repo:
        data = {"id": mnemonic, "name": mnemonic, **more}
        return repos.create(owner or self.org, kind=kind, data=data, user=self.editor)

    def refer(self, collection: Repo, *expressions: str, **more: Any) -> Any:
        return references.add(collection, expressions=list(expressions), user=self.editor, **more)

    def build(self, path: str) -> None:
        assert self.api.post(f"{path}export/").status_code == 202
        jobs.run_queued()

    def fill(self) -> list[str]:
        """Three concepts, one of them retired, two mappings."""
        urls = [self.concept("A", "Alpha"), self.concept("B", "Bêta"), self.concept("C", "Gamma")]
        self.mapping(urls[0], urls[1])
        self.mapping(urls[1], "/orgs/Elsewhere/sources/ICD/concepts/X1/")
        assert self.api.delete(urls[2], {"update_comment": "gone"}).status_code == 204
        return urls


def person(username: str, **more: Any) -> User:
    return User.objects.create_user(username, f"{username}@example.org", "a-long-secret-9", **more)


@pytest.fixture
def world(transactional_db: None, running_house: house.House) -> World:
    """An organization with one empty source, its editor, an outsider and a member of staff."""
    editor, outsider, staff = person("editor"), person("outsider"), person("boss", is_staff=True)
    org = owners.create_organization(data={"id": "MyOrg", "name": "My Org"}, user=editor)
    source = repos.create(org, kind="source", data={"id": "Src1", "name": "Source one"}, user=editor)
    apis = [Api(tokens.issue(user)[1]) for user in (editor, outsider, staff)]
    return World(editor, outsider, staff, org, source, Api(), *apis)
