"""Which path goes where (contract 2.1 and 7). Each path is served with and without one slash at the end."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path

from core import api
from core.accounts import urls as accounts
from core.accounts import views
from usermgmt import dialect
from usermgmt.pages import clients, frame, people
from usermgmt.views import extras, oauth, service, users

FRAME = {"frame": "usermgmt/page.html", "namespace": "portal"}
CLIENT_PAGES = {
    "regenerate": clients.Regenerate,
    "rotate": clients.Rotate,
    "revoke": clients.Revoke,
    "reveal": clients.RevealOwn,
}

urlpatterns: list[URLPattern | URLResolver] = [
    re_path(r"^api/v1/users/(?P<kind>username|name|email)$", users.Users.as_view()),
    re_path(r"^api/v1/users/(?P<kind>[^/]+)/[\s\S]+$", users.Users.as_view()),
    re_path(r"^api/v1/users/(?P<kind>username|name|email)/$", users.Users.as_view()),
    re_path(r"^api/v1/service/(?P<service>[^/]+)/add/(?P<username>[^/]+)/?$", service.AddService.as_view()),
    # NNELS has the bare path, `me` and ids.
    re_path(r"^api/v1/users/(?!(?:me|[0-9,]+)?/?$)", api.catch_all(dialect.UserApi())),
    re_path(r"^api/v1/services/?$", extras.Services.as_view()),
    re_path(r"^api/v1/secrets/report/?$", extras.SecretReport.as_view()),
    re_path(r"^\.well-known/oauth-authorization-server/?$", extras.Metadata.as_view()),
    re_path(r"^oauth2/token/?$", oauth.Token.as_view()),
    re_path(r"^oauth2/revoke/?$", oauth.Revoke.as_view()),
    re_path(r"^oauth2/introspect/?$", oauth.Introspect.as_view()),
    re_path(r"^oauth2(?:/|$)", api.catch_all(dialect.UserApi())),
    re_path(r"^api/v1/service(?:/|$)", api.catch_all(dialect.UserApi())),
    re_path(r"^portal/?$", people.Entrance.as_view(), name="portal"),
    re_path(
        r"^portal/login/?$",
        views.Login.as_view(**FRAME, next_page="/portal/api-clients", redirect_authenticated_user=True),
        name="portal-login",
    ),
    re_path(r"^portal/logout/?$", views.Logout.as_view(**FRAME, next_page="/portal/"), name="portal-logout"),
    re_path(r"^portal/password/?$", views.PasswordChange.as_view(**FRAME, success_url="/portal/profile")),
    *accounts.patterns("portal/", **FRAME),
    re_path(r"^portal/username/forgot/?$", people.ForgotUsername.as_view(), name="portal-forgot-username"),
    re_path(r"^portal/register/?$", people.Register.as_view(), name="portal-register"),
    re_path(r"^portal/verify/(?P<token>[\w-]{43})/?$", people.Verify.as_view()),
    re_path(r"^portal/profile/?$", people.Profile.as_view(), name="portal-profile"),
    re_path(r"^portal/services/?$", people.Services.as_view(), name="portal-services"),
    re_path(r"^portal/api-clients/?$", clients.Clients.as_view(), name="portal-clients"),
    re_path(r"^portal/api-clients/new/(?P<api>[-\w]+)/?$", clients.NewClient.as_view(), name="portal-new-client"),
    re_path(r"^portal/reveal/(?P<token>[\w-]{43})/?$", clients.Reveal.as_view()),
    path("portal/api-clients/<int:client_id>", clients.Client.as_view(), name="portal-client"),
    path("portal/api-clients/<int:client_id>/", clients.Client.as_view()),
    *(
        path(f"portal/api-clients/<int:client_id>/{verb}{slash}", page.as_view(), name=f"portal-{verb}")
        for verb, page in CLIENT_PAGES.items()
        for slash in ("/", "")
    ),
    re_path(r"^portal(?:/|$)", frame.no_such_page),
]
