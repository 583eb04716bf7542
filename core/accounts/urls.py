"""The account pages, once under ``/accounts/`` and again in the frame of any app that wants them.

An app includes ``patterns("portal/", frame="usermgmt/page.html", namespace="portal")`` to serve the same pages in its
own frame at its own paths.
"""

from __future__ import annotations

from django.urls import URLPattern, re_path

from core.accounts import views


def patterns(prefix: str, *, frame: str, namespace: str) -> list[URLPattern]:
    """Routes for login, logout, password change and reset below ``prefix``, rendered inside template ``frame``.

    Names are ``<namespace>-login``, ``-logout``, ``-password``, ``-forgot``, ``-forgot-done``, ``-reset``.
    """
    here = {"frame": frame, "namespace": namespace}
    return [
        re_path(rf"^{prefix}login/?$", views.Login.as_view(**here), name=f"{namespace}-login"),
        re_path(rf"^{prefix}logout/?$", views.Logout.as_view(**here), name=f"{namespace}-logout"),
        re_path(rf"^{prefix}password/?$", views.PasswordChange.as_view(**here), name=f"{namespace}-password"),
        re_path(rf"^{prefix}password/forgot/?$", views.Forgot.as_view(**here), name=f"{namespace}-forgot"),
        re_path(
            rf"^{prefix}password/forgot/sent/?$", views.ForgotDone.as_view(**here), name=f"{namespace}-forgot-done"
        ),
        re_path(
            rf"^{prefix}password/reset/(?P<uidb64>[0-9A-Za-z_-]+)/(?P<token>[0-9A-Za-z-]+)/?$",
            views.Reset.as_view(**here),
            name=f"{namespace}-reset",
        ),
    ]


urlpatterns = [
    re_path(r"^accounts/?$", views.Account.as_view(), name="account"),
    re_path(
        r"^accounts/tokens/(?P<pk>[0-9]{1,18})/revoke/?$", views.RevokeToken.as_view(), name="account-revoke-token"
    ),
    *patterns("accounts/", frame="core/page.html", namespace="accounts"),
]
