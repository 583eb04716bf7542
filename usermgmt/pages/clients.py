"""The tab *API Clients*: lists, registration, one client, keys."""

from __future__ import annotations

import abc
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from core import errors
from usermgmt import forms
from usermgmt.models import Api, ApiClient
from usermgmt.pages import frame
from usermgmt.selectors import portal
from usermgmt.services import clients, credentials

LIST = "/portal/api-clients"
State = ApiClient.State


class Clients(frame.OwnPage):
    """Pending registrations, one's clients with their keys, the APIs there are."""

    template, tab = "clients.html", "clients"

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.listed(request)

    def listed(self, request: HttpRequest, shown: credentials.Shown | None = None) -> HttpResponse:
        """The lists; with `shown` a pair is displayed in them, once, and the answer is not kept anywhere."""
        response = self.page(request, lists=portal.clients_of(self.me), shown=shown)
        if shown is not None:
            response["Cache-Control"] = "no-store"
        return response


class NewClient(frame.OwnPage):
    """*New API Client*."""

    template, tab = "client_new.html", "clients"

    def get(self, request: HttpRequest, api: str) -> HttpResponse:
        return self.page(request, api=_open_api(api), form=forms.ClientForm())

    def post(self, request: HttpRequest, api: str) -> HttpResponse:
        wanted, form = _open_api(api), forms.ClientForm(request.POST)
        if not self.me.is_validated:
            form.add_error(None, "Confirm your e-mail address first; only validated accounts register clients.")
        if form.is_valid():
            try:
                clients.register(owner=self.me, api=wanted, form=form.value(), address=self.address)
            except errors.Fact as fact:
                frame.refuse(form, fact)
            else:
                return frame.back(request, LIST, "Your client was successfully registered")
        return self.page(request, status=400, api=wanted, form=form)


class Client(frame.OwnPage):
    """One client: what it is, where it may call from, how much it did, what happened to it."""

    template, tab = "client.html", "clients"

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client = self.own_client(client_id)
        return self.shown(request, client, forms.ClientForm(initial=_as_typed(client)))

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client, form = self.own_client(client_id), forms.ClientForm(request.POST)
        if not form.is_valid():
            return self.shown(request, client, form, status=400)
        try:
            message = _change(client, form.value(), self)
        except errors.Fact as fact:
            frame.refuse(form, fact)
            return self.shown(request, client, form, status=400)
        return frame.back(request, f"{LIST}/{client.pk}", message)

    def shown(
        self, request: HttpRequest, client: ApiClient, form: forms.ClientForm, *, status: int = 200
    ) -> HttpResponse:
        return self.page(
            request,
            status=status,
            client=client,
            form=form if client.state in (State.PENDING, State.DENIED, State.APPROVED) else None,
            networks=portal.networks_of(client),
            change=portal.open_change(client),
            usage=portal.usage_of(client),
            events=client.events.select_related("actor"),
        )


class _Confirmed(Clients):
    """GET asks, POST acts; the answer of a new pair is the list that displays it."""

    question = ""
    form_class: type[forms.PairForm] = forms.PairForm

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:  # type: ignore[override]
        client = self.own_client(client_id)
        pair = portal.newest_pair(client)
        form = self.form_class(initial={"seen": pair.pk if pair else None})
        return self.ask(request, client, form)

    def ask(self, request: HttpRequest, client: ApiClient, form: forms.PairForm, *, status: int = 200) -> HttpResponse:
        self.template = self.question
        return self.page(request, status=status, client=client, form=form)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client, form = self.own_client(client_id), self.form_class(request.POST)
        if not form.is_valid():
            return self.ask(request, client, form, status=400)
        try:
            shown = self.act(client, form.cleaned_data)
        except errors.Conflict as fact:
            return frame.back(request, f"{LIST}/{client.pk}", fact.message, failed=True)
        if shown is None:
            return frame.back(request, LIST, "This form was sent before; nothing was changed again.", failed=True)
        return self.listed(request, shown)

    @abc.abstractmethod
    def act(self, client: ApiClient, values: dict[str, Any]) -> credentials.Shown | None:
        """Make the new pair; None when the form was sent before."""


class Regenerate(_Confirmed):
    question = "client_regenerate.html"

    def act(self, client: ApiClient, values: dict[str, Any]) -> credentials.Shown | None:
        return credentials.regenerate(client, seen=values["seen"], actor=self.me, address=self.address)


class Rotate(_Confirmed):
    question = "client_rotate.html"
    form_class = forms.RotateForm

    def act(self, client: ApiClient, values: dict[str, Any]) -> credentials.Shown | None:
        return credentials.rotate(
            client, seen=values["seen"], overlap=values["overlap"], actor=self.me, address=self.address
        )


class Revoke(frame.OwnPage):
    """Ends a client for good."""

    template, tab = "client_revoke.html", "clients"

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self.page(request, client=self.own_client(client_id))

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client = self.own_client(client_id)
        try:
            clients.revoke(client, actor=self.me, address=self.address)
        except errors.Conflict as fact:
            return frame.back(request, f"{LIST}/{client.pk}", fact.message, failed=True)
        return frame.back(request, LIST, f"{client.name} was revoked.")


class RevealOwn(Clients):
    """The dashboard's *Reveal* button: shows the secret of a pair that never had one."""

    http_method_names = ["post"]

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        client = self.own_client(client_id)
        pair = portal.newest_pair(client)
        try:
            shown = credentials.reveal_own(pair.pk if pair else 0, owner=self.me)
        except errors.NotFound:
            return frame.back(request, LIST, "This secret was shown before. Regenerate the keys instead.", failed=True)
        return self.listed(request, shown)


class Reveal(Clients):
    """The mailed link. Mail scanners follow links, so GET only shows a button."""

    def get(self, request: HttpRequest, token: str) -> HttpResponse:  # type: ignore[override]
        self.template = "reveal.html"
        is_open = credentials.is_revealable(token, owner=self.me)
        return self.page(request, status=200 if is_open else 404, is_open=is_open)

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        try:
            shown = credentials.reveal(token, owner=self.me)
        except errors.NotFound:
            return self.get(request, token)
        return self.listed(request, shown)


def _open_api(slug: str) -> Api:
    return get_object_or_404(Api.objects.select_related("maintainer"), slug=slug, is_open=True)


def _as_typed(client: ApiClient) -> dict[str, Any]:
    return {
        "name": client.name,
        "description": client.description,
        "url": client.url,
        "networks": ", ".join(portal.networks_of(client)),
        "data_use": client.data_use,
    }


def _change(client: ApiClient, form: clients.Form, page: frame.OwnPage) -> str:
    """Edit a client as its state allows; what to tell its owner."""
    if client.state == State.APPROVED:
        change = clients.propose(client, form=form, actor=page.me, address=page.address)
        return "Your changes wait for staff; the old values stay in force." if change else "Your client was saved."
    if client.state not in (State.PENDING, State.DENIED):
        raise Http404
    clients.resubmit(client, form=form, address=page.address)
    return "Your client was saved and waits for review."
