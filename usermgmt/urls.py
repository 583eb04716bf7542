"""Which path goes where (contract 2.1 and 7). Each path is served with and without one slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, re_path

from core import api
from usermgmt import dialect
from usermgmt.views import oauth, service, users

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(r"^api/v1/users/(?P<kind>username|name|email)$", users.Users.as_view()),
    re_path(r"^api/v1/users/(?P<kind>[^/]+)/[\s\S]+$", users.Users.as_view()),
    re_path(r"^api/v1/users/(?P<kind>username|name|email)/$", users.Users.as_view()),
    re_path(r"^api/v1/service/(?P<service>[^/]+)/add/(?P<username>[^/]+)/?$", service.AddService.as_view()),
    re_path(r"^oauth2/token/?$", oauth.Token.as_view()),
    re_path(r"^oauth2/revoke/?$", oauth.Revoke.as_view()),
    re_path(r"^oauth2/introspect/?$", oauth.Introspect.as_view()),
    re_path(r"^oauth2(?:/|$)", api.catch_all(dialect.UserApi())),
    re_path(r"^api/v1/service(?:/|$)", api.catch_all(dialect.UserApi())),
]
