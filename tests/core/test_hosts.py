"""A deployment may give each API a host name of its own, which serves only that app's paths."""

from __future__ import annotations

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings

from core.middleware import ApiHosts


@pytest.mark.parametrize(
    ("host", "urlconf"),
    [
        ("registry.example.org", "registry.urls"),
        ("REGISTRY.example.org:8443", "registry.urls"),
        ("www.example.org", None),
    ],
)
@override_settings(API_HOSTS={"registry": "registry.example.org"})
def test_a_host_of_its_own_serves_that_apps_paths(host: str, urlconf: str | None) -> None:
    seen: list[HttpRequest] = []

    def answer(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse()

    ApiHosts(answer)(RequestFactory().get("/", headers={"Host": host}))
    assert getattr(seen[0], "urlconf", None) == urlconf
