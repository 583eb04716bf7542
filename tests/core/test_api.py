"""The one view base: whatever a view raises becomes a fact, and the dialect says it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.test import Client, RequestFactory
from django.urls import path
from rest_framework import exceptions as drf
from rest_framework.request import Request

from core import api, errors
from core.models import User

FAILURES: dict[str, Exception] = {}


class Loud(api.Dialect):
    """A dialect that shouts the code of the fact."""

    def error(self, request: HttpRequest, fact: errors.Fact) -> HttpResponseBase:
        return api.json_response({"shout": fact.code.upper()}, status=api.status_of(fact))

    def finish(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["X-Accent"] = "loud"
        return response


class Broken(api.View):
    dialect = Loud()

    def get(self, request: Request, name: str) -> HttpResponseBase:
        raise FAILURES[name]


class Echo(api.View):
    dialect = Loud()

    def post(self, request: Request) -> HttpResponseBase:
        return api.json_response(api.json_object(request, limit=200))


urlpatterns = [path("broken/<name>", Broken.as_view()), path("echo", Echo.as_view()), path("x", api.catch_all(Loud()))]

pytestmark = pytest.mark.urls("tests.core.test_api")


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (errors.Invalid("no", code="bad_thing"), 400, "BAD_THING"),
        (errors.Unauthenticated(), 401, "UNAUTHENTICATED"),
        (errors.Denied(), 403, "DENIED"),
        (errors.NotFound(), 404, "NOT_FOUND"),
        (Http404(), 404, "NOT_FOUND"),
        (PermissionDenied(), 403, "DENIED"),
        (errors.Conflict(), 409, "CONFLICT"),
        (errors.Gone(), 410, "GONE"),
        (errors.TooLarge(), 413, "TOO_LARGE"),
        (RequestDataTooBig(), 413, "TOO_LARGE"),
        (drf.ParseError("broken"), 400, "PARSE_ERROR"),
        (drf.UnsupportedMediaType("text/xml"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (errors.Throttled(retry_after=3), 429, "THROTTLED"),
        (errors.Unavailable(), 503, "UNAVAILABLE"),
        (OperationalError("canceling statement due to statement timeout"), 503, "TIMEOUT"),
        (OperationalError("connection refused"), 503, "DATABASE_UNAVAILABLE"),
        (ZeroDivisionError("secret"), 500, "INTERNAL_ERROR"),
    ],
)
def test_every_exception_is_said_in_the_dialect(client: Client, failure: Exception, status: int, code: str) -> None:
    FAILURES["it"] = failure
    answer = client.get("/broken/it")
    assert (answer.status_code, answer.json()) == (status, {"shout": code})
    assert answer["X-Accent"] == "loud"


@pytest.mark.django_db
def test_what_the_driver_says_of_nul_is_no_failure_of_ours(client: Client) -> None:
    with pytest.raises(ValueError, match="NUL") as refused:
        User.objects.filter(username="a\0").first()
    for failure, status in ((refused.value, 400), (ValueError("anything else"), 500)):
        FAILURES["it"] = failure
        assert client.get("/broken/it").status_code == status


def test_a_wrong_method_is_a_fact_with_the_allowed_ones(client: Client) -> None:
    answer = client.put("/broken/it")
    assert (answer.status_code, answer.json()) == (405, {"shout": "METHOD_NOT_ALLOWED"})


def test_options_is_empty_and_names_the_methods(client: Client) -> None:
    answer = client.options("/echo")
    assert (answer.status_code, answer.content, answer["Allow"]) == (200, b"", "POST, OPTIONS")


def test_the_catch_all_answers_any_method_in_the_dialect(client: Client) -> None:
    for method in (client.get, client.post, client.delete, client.head):
        assert method("/x").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[1]",
        b'"text"',
        b"\xff\xfe",
        b'{"a":"\\u0000"}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 60 + b"]" * 60 + b"}",
        b"",
    ],
)
def test_a_body_that_cannot_be_stored_is_a_parse_error(client: Client, body: bytes) -> None:
    answer = client.post("/echo", body, content_type="application/json")
    assert (answer.status_code, answer.json()) == (400, {"shout": "PARSE_ERROR"})


@pytest.mark.parametrize("innermost", [[], {}, [1], {"a": "b"}])
def test_fifty_levels_of_nesting_are_taken_and_no_more(innermost: Any) -> None:
    value = innermost
    for _ in range(49):
        value = {"a": value}
    assert api.json_value(json.dumps(value).encode()) == value
    with pytest.raises(errors.Invalid, match="nested too deeply"):
        api.json_value(json.dumps([value]).encode())


def test_deeply_nested_text_does_not_break_the_parser() -> None:
    with pytest.raises(errors.Invalid):
        api.json_value(b"[" * 200_000)


def test_a_body_over_the_limit_is_too_large(client: Client) -> None:
    answer = client.post("/echo", b'{"a":"' + b"x" * 300 + b'"}', content_type="application/json")
    assert (answer.status_code, answer.json()) == (413, {"shout": "TOO_LARGE"})


def test_a_good_body_comes_through(client: Client) -> None:
    answer = client.post("/echo", '{"ä":[1,{"b":null}]}', content_type="application/json")
    assert answer.json() == {"ä": [1, {"b": None}]}
    assert answer.content == '{"ä":[1,{"b":null}]}'.encode()


def test_the_core_dialect_states_problem_details() -> None:
    request = RequestFactory().get("/")
    answer: Any = api.Dialect().error(request, errors.Unavailable("Later, please.", retry_after=7))
    assert (answer.status_code, answer["Retry-After"]) == (503, "7")
    assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("", False),
    ],
)
def test_who_takes_gzip(header: str, accepted: bool) -> None:
    assert api.accepts_gzip(header) is accepted
