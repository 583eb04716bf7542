"""Logging in, people, organizations and their members (contract §2.7)."""

from typing import Any

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import errors, net
from core.models import User
from exports import dialect
from exports.selectors import access, owners, repos
from exports.serializers import owners as serializer
from exports.services import owners as services
from exports.services import tokens
from exports.views import base, lists


class Login(base.View):
    """A name and a password for a token. Another token sent along does not matter."""

    http_method_names = ["post", "options"]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """No credentials are looked at: this is where they come from."""

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        data = self.data()
        missing = {key: ["This field is required."] for key in ("username", "password") if not data.get(key)}
        if missing:
            raise errors.Invalid("Name and password are needed.", fields=missing)
        address = str(net.caller_address(request._request))
        token = tokens.log_in(username=str(data["username"]), password=str(data["password"]), address=address)
        return dialect.json_response({"token": token}, headers={"Cache-Control": "no-store"})


class Users(base.View):
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = owners.users()
        if words := self.word("q"):
            found = found.filter(username__icontains=words)
        if verbose := self.flag("verbose"):
            found = owners.with_user_counts(found)
        return lists.of_query(self, found, lambda one: serializer.user(one, viewer=self.user, detail=verbose))

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        if not self.signed_in().is_staff:
            raise errors.Denied
        made = services.create_user(data=self.data())
        return self.created(serializer.user(made, viewer=self.user), f"/users/{made.username}/")


class _OfUser(base.View):
    """A path under ``/users/:u/`` or ``/user/``."""

    def find(self, **_: Any) -> None:
        self.subject: User = repos.user((self.owner_url or "").split("/")[2])


class OneUser(_OfUser):
    http_method_names = ["get", "put", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        return dialect.json_response(serializer.user(self.subject, viewer=self.user))

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.signed_in()
        if not (user.is_staff or user.pk == self.subject.pk):
            raise errors.Denied
        return dialect.json_response(serializer.user(services.edit_user(self.subject, data=self.data()), viewer=user))


class Nothing(base.View):
    """Any other path below ``/user/``: without a token 401 like all of them, with one 404."""

    def find(self, **_: Any) -> None:
        raise errors.NotFound


class UserOrganizations(_OfUser):
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = owners.organizations(self.user, of=self.subject)
        if verbose := self.flag("verbose"):
            found = owners.with_organization_counts(found)
        return lists.of_query(self, found, lambda one: serializer.organization(one, detail=verbose))


class Organizations(base.View):
    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = owners.organizations(self.user)
        if words := self.word("q"):
            found = found.filter(mnemonic__icontains=words) | found.filter(name__icontains=words)
        if verbose := self.flag("verbose"):
            found = owners.with_organization_counts(found)
        return lists.of_query(self, found, lambda one: serializer.organization(one, detail=verbose))

    def post(self, request: Request, **_: Any) -> HttpResponseBase:
        made = services.create_organization(user=self.signed_in(), data=self.data())
        return self.created(serializer.organization(made), made.url)


class _OfOrganization(base.View):
    def find(self, *, org: str = "", **_: Any) -> None:
        self.organization = repos.organization(org, viewer=self.user)
        mine = repos.membership_of(self.organization)
        self.rights = access.over_organization(self.user, self.organization, member_of=mine)
        self.demand("read")

    def administers(self) -> User:
        user = self.signed_in()
        self.demand("admin")
        return user


class OneOrganization(_OfOrganization):
    http_method_names = ["get", "put", "delete", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        return dialect.json_response(serializer.organization(self.organization))

    def put(self, request: Request, **_: Any) -> HttpResponseBase:
        user = self.administers()
        changed = services.edit_organization(self.organization, data=self.data(), user=user)
        return dialect.json_response(serializer.organization(changed))

    def delete(self, request: Request, **_: Any) -> HttpResponseBase:
        self.administers()
        services.delete_organization(self.organization)
        return HttpResponse(status=204)


class Members(_OfOrganization):
    http_method_names = ["get", "head", "options"]

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        found = self.organization.members.order_by("username")
        return lists.of_query(self, found, lambda one: serializer.user(one, viewer=self.user, detail=False))


class OneMember(_OfOrganization):
    http_method_names = ["get", "put", "delete", "head", "options"]

    def get(self, request: Request, *, member: str, **_: Any) -> HttpResponseBase:
        if not self.organization.members.filter(username=member).exists():
            raise errors.NotFound
        return HttpResponse(status=204)

    def put(self, request: Request, *, member: str, **_: Any) -> HttpResponseBase:
        self.administers()
        services.add_member(self.organization, repos.user(member))
        return HttpResponse(status=204)

    def delete(self, request: Request, *, member: str, **_: Any) -> HttpResponseBase:
        self.administers()
        services.remove_member(self.organization, repos.user(member))
        return HttpResponse(status=204)
