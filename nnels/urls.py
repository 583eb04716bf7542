"""Paths of the accessible library. Included last: what is left under `/api` gets this API's 404 (contract 2.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, re_path

from core import api
from nnels import dialect, pages
from nnels.views import discovery, items, opds, search, tokens, users

# `/api/v2/…` belongs to the registry; `v1` alone means the newest minor.
_VERSION = r"(?P<version>v(?:1|[0-9]+\.[0-9]+))"


def resource(path: str, view: Any, *, is_bare_v1: bool = True) -> Iterator[URLPattern]:
    """The three spellings of a resource, each with and without a slash at the end."""
    served = view.as_view()
    yield re_path(rf"^api/{path}/?\Z", served)
    yield re_path(rf"^api/{_VERSION if is_bare_v1 else _FULL_VERSION}/{path}/?\Z", served)


_FULL_VERSION = r"(?P<version>v[0-9]+\.[0-9]+)"

urlpatterns = [
    re_path(r"^api/?\Z", discovery.Discovery.as_view()),
    *resource(r"login-token", tokens.Login),
    *resource(r"refresh-token", tokens.RefreshBody),
    *resource(r"refresh-token/(?P<token>[^/]*)", tokens.Refresh),
    *resource(r"users", users.Users),
    *resource(r"users/me", users.Me),
    # User management owns the other paths under /api/v1/users.
    re_path(r"^api/(?P<version>v1)/users/(?P<ids>[0-9,]+)/?\Z", users.User.as_view()),
    *resource(r"users/(?P<ids>[^/]+)", users.User, is_bare_v1=False),
    *resource(r"basic_search", search.Search),
    *resource(r"basic_search/(?P<keywords>[\s\S]*)", search.Search),
    # The document's notes spell it with a hyphen, and once at the root of the host.
    *resource(r"repo[_-]items", items.Items),
    *resource(r"repo[_-]items/(?P<ids>[\s\S]+?)", items.Item),
    re_path(r"^repo-items/?\Z", items.Items.as_view()),
    re_path(r"^repo-items/(?P<ids>[\s\S]+?)/?\Z", items.Item.as_view()),
    re_path(r"^opds/?\Z", opds.Start.as_view()),
    re_path(r"^opds/publications/?\Z", opds.Publications.as_view()),
    re_path(r"^opds/search/?\Z", opds.Search.as_view()),
    re_path(r"^opds/publications/(?P<uuid>[^/]+)/?\Z", opds.Publication.as_view()),
    re_path(r"^opds/publications/(?P<uuid>[^/]+)/files/(?P<code>[^/]+)/?\Z", opds.File.as_view()),
    re_path(r"^opds(?:/[\s\S]*)?\Z", api.catch_all(dialect.DIALECT)),
    re_path(r"^nnels/?\Z", pages.home, name="nnels"),
    re_path(r"^nnels/titles/(?P<nid>[0-9]{1,18})/?\Z", pages.title, name="nnels-title"),
    re_path(r"^nnels/titles/(?P<nid>[0-9]{1,18})/files/(?P<code>[a-z0-9]{1,16})/?\Z", pages.file, name="nnels-file"),
    re_path(r"^nnels(?:/[\s\S]*)?\Z", pages.no_such_page),
    # Unknown paths below /api/v1/ and /api/v2/ are the registry's 404.
    re_path(r"^api(?!/v[12](?:/|\Z))(?:/[\s\S]*)?\Z", api.catch_all(dialect.DIALECT)),
]
