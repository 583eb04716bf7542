"""Taking over clients and their pairs from an older portal (contract 6): existing programs go on unchanged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import errors
from core.models import User
from usermgmt.formats import networks, users_file
from usermgmt.jobs import pairs
from usermgmt.models import Api, ApiClient, ClientCredential, ClientNetwork
from usermgmt.services import history

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
FIELDS = ("owner", "api", "name", "description", "url", "data_use", "networks", "state", "key", "secret")


def run(lines: Iterable[str]) -> tuple[int, int, list[users_file.Reject]]:
    """Import JSON objects, one a line: how many are new, how many known, and what was wrong with the others."""
    created = known = 0
    problems: list[users_file.Reject] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        values: dict[str, Any] = {}
        try:
            values = _object(line)
            is_new = _take(_checked(values))
        except errors.Fact as fact:
            owner = str(values.get("owner", ""))[:64]
            problems.append(users_file.Reject(number, owner, fact.field or "", fact.message))
            continue
        created, known = created + is_new, known + (not is_new)
    return created, known, problems


def _object(line: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise errors.Invalid(f"bad JSON: {error}"[:200]) from None
    if not isinstance(values, dict):
        raise errors.Invalid("not a JSON object")
    return values


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        if name not in FIELDS:
            raise errors.Invalid("unknown field", field=name[:60])
        if name != "networks" and not isinstance(value, str):
            raise errors.Invalid("not a string", field=name)
        if _UNSTORABLE.search(value if isinstance(value, str) else ""):
            raise errors.Invalid("a character that cannot be stored", field=name)
    return values


def _take(values: dict[str, Any]) -> bool:
    key, secret = _pair(values)
    owner = User.objects.filter(username=values.get("owner", "").lower()).first()
    if owner is None:
        raise errors.Invalid("no such account", field="owner")
    api = Api.objects.filter(slug=values.get("api", "user-api")).first()
    if api is None:
        raise errors.Invalid("no such API", field="api")
    state = values.get("state", ApiClient.State.APPROVED)
    if state not in ApiClient.State.values:
        raise errors.Invalid("no such state", field="state")
    name = values.get("name", "").strip()
    if not 1 <= len(name) <= 64:
        raise errors.Invalid("1 to 64 characters are needed", field="name")
    url = values.get("url", "")
    if url and not url.lower().startswith(("http://", "https://")):
        raise errors.Invalid("not an http or https address", field="url")
    cidrs = networks.parse(_joined(values.get("networks", "")))
    held = ClientCredential.objects.select_related("client").filter(key=key).first()
    if held is not None:
        if held.client.owner_id != owner.pk or held.client.name.lower() != name.lower():
            raise errors.Invalid("another client has this key", field="key")
        return False
    if owner.api_clients.filter(name__iexact=name).exists():
        raise errors.Invalid("the owner has another client of this name", field="name")
    with transaction.atomic():
        client = ApiClient.objects.create(
            owner=owner,
            api=api,
            name=name,
            description=values.get("description", "")[:2000],
            url=url[:254],
            data_use=values.get("data_use", "")[:4000],
            state=state,
            scopes=list(api.scopes),
            please_rotate=True,
        )
        ClientNetwork.objects.bulk_create(ClientNetwork(client=client, cidr=cidr) for cidr in cidrs)
        revoked_at = timezone.now() if state == ApiClient.State.REVOKED else None
        credential = ClientCredential.objects.create(client=client, key=key, revoked_at=revoked_at)
        pairs.keep(credential, secret)
        history.note(client, actor=None, action="imported", to_state=state)
    return True


def _pair(values: dict[str, Any]) -> tuple[str, str]:
    key, secret = values.get("key", ""), values.get("secret", "")
    if not key or len(key) > 255 or ":" in key or not key.isprintable():
        raise errors.Invalid("1 to 255 printable characters without a colon are needed", field="key")
    if not secret or not secret.isprintable():
        raise errors.Invalid("printable characters are needed", field="secret")
    return key, secret


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
