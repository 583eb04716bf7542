"""Each API keeps the promise of its ``openapi.yaml``: the routes are its own, and whatever is sent, no status is
answered that the document does not name, least of all a 500."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import hypothesis
import pytest
import requests
import schemathesis
import yaml
from django.core.signals import request_finished
from django.db import close_old_connections, transaction
from django.test import Client
from django.urls import resolve
from schemathesis.core.result import Err
from schemathesis.schemas import APIOperation

from core.apps import api_configs

METHODS = {"get", "head", "post", "put", "patch", "delete", "options"}
EXAMPLES = 12
Operation: TypeAlias = "APIOperation[Any, Any, Any, Any]"


def document(app: str) -> dict[str, Any]:
    config = next(config for config in api_configs() if config.label == app)
    loaded: dict[str, Any] = yaml.safe_load((Path(config.path) / "openapi.yaml").read_text("utf-8"))
    return loaded


def operations(app: str) -> Iterator[Operation]:
    """The operations of an app's document; one that cannot be read is an error."""
    for result in schemathesis.openapi.from_dict(document(app)).get_all_operations():
        if isinstance(result, Err):
            raise result.err()
        yield result.ok()


APPS = [config.label for config in api_configs() if (Path(config.path) / "openapi.yaml").exists()]
OPERATIONS = [
    pytest.param(app, operation, id=f"{app} {operation.method.upper()} {operation.path}")
    for app in APPS
    for operation in operations(app)
]


def test_every_api_has_a_document() -> None:
    assert [config.label for config in api_configs()] == APPS


@pytest.mark.parametrize("app", APPS)
def test_every_documented_path_is_the_apps_own(app: str) -> None:
    for path in document(app)["paths"]:
        filled = path.replace("{", "").replace("}", "")
        view = resolve(filled).func
        owner = getattr(view, "view_class", view).__module__.partition(".")[0]
        assert owner == app, path


@pytest.mark.parametrize("app", APPS)
def test_every_operation_says_what_it_does_and_what_it_answers(app: str) -> None:
    for path, item in document(app)["paths"].items():
        for method in METHODS & item.keys():
            assert item[method].get("summary"), f"{method} {path}"
            assert item[method]["responses"], f"{method} {path}"


def end(answer: Any) -> None:
    """Close an answer that may be a stream, which holds one of the few places, but not the test's transaction."""
    request_finished.disconnect(close_old_connections)
    try:
        answer.close()
    finally:
        request_finished.connect(close_old_connections)


@pytest.mark.django_db
@pytest.mark.parametrize(("app", "operation"), OPERATIONS)
def test_no_request_gets_an_undocumented_status(app: str, operation: Operation) -> None:
    documented = set(operation.responses.status_codes)
    client = Client(raise_request_exception=False)

    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(data=hypothesis.strategies.data())
    def send(data: Any) -> None:
        mode = data.draw(hypothesis.strategies.sampled_from(schemathesis.GenerationMode))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        prepared = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
        path = (prepared.url or "").removeprefix("http://testserver")
        body = prepared.body or b""
        with transaction.atomic():
            answer = client.generic(
                prepared.method or "GET",
                path,
                body.encode() if isinstance(body, str) else body,
                content_type=str(prepared.headers.get("Content-Type", "")),
                headers={key: str(value) for key, value in prepared.headers.items() if key != "Content-Type"},
            )
            end(answer)
            transaction.set_rollback(True)
        status = str(answer.status_code)
        assert status in documented or f"{status[0]}XX" in documented, (prepared.method, path, status)
        assert status != "500"

    send()
