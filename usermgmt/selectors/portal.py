"""What the portal's pages list: a person's clients, services and what they were used for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Prefetch, Q, QuerySet, Sum
from django.utils import timezone

from core.models import User
from usermgmt.formats import networks
from usermgmt.models import (
    AddressCheck,
    Api,
    ApiClient,
    ClientChangeRequest,
    ClientCredential,
    ClientDailyUsage,
    FoundCount,
    Service,
    ServiceRequest,
    UserService,
)

State = ApiClient.State


@dataclass(frozen=True)
class Clients:
    """The three lists of the tab *API Clients*."""

    pending: list[ApiClient]
    mine: list[ApiClient]
    apis: list[Api]


def clients_of(user: User) -> Clients:
    """A person's clients: those waiting or denied, those with keys, and the APIs more can be registered for."""
    live = ClientCredential.objects.filter(revoked_at=None).filter(
        Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    )
    rows = (
        ApiClient.objects.filter(owner=user)
        .select_related("api__maintainer")
        .prefetch_related(Prefetch("credentials", queryset=live, to_attr="live_pairs"))
        .order_by("name", "id")
    )
    undecided = (State.PENDING, State.DENIED)
    return Clients(
        pending=[row for row in rows if row.state in undecided],
        mine=[row for row in rows if row.state not in undecided],
        apis=list(Api.objects.select_related("maintainer").prefetch_related("links").filter(is_open=True)),
    )


def client_of(user: User, client_id: int) -> ApiClient | None:
    """A person's own client; None for foreign and unknown ones alike."""
    return ApiClient.objects.select_related("api__maintainer", "owner").filter(pk=client_id, owner=user).first()


def newest_pair(client: ApiClient) -> ClientCredential | None:
    """The pair made last, live or not: what a regeneration form is made for."""
    return client.credentials.first()


def networks_of(client: ApiClient) -> list[str]:
    return [networks.shown(network.cidr) for network in client.networks.all()]


def open_change(client: ApiClient) -> ClientChangeRequest | None:
    return client.changes.filter(state=ClientChangeRequest.State.OPEN).first()


def usage_of(client: ApiClient, *, days: int = 30) -> QuerySet[ClientDailyUsage]:
    """Calls of the last days, by day, scheme and endpoint, newest first."""
    since = timezone.now().date() - timedelta(days=days)
    return client.usage.filter(day__gt=since).order_by("-day", "scheme", "endpoint")


def open_check(user: User) -> AddressCheck | None:
    """The address a person asked for and has yet to prove."""
    asked = user.address_checks.filter(purpose=AddressCheck.Purpose.CHANGE, used_at=None)
    return asked.filter(expires_at__gt=timezone.now()).first()


@dataclass(frozen=True)
class Offer:
    """A service that may be asked for, with what came of it the last time, if it was denied."""

    service: Service
    denied: ServiceRequest | None


@dataclass(frozen=True)
class Services:
    """The three lists of the tab *Apps & Services*."""

    held: list[UserService]
    requests: list[ServiceRequest]
    available: list[Offer]


def services_of(user: User) -> Services:
    """What a person has, has asked for, and can ask for."""
    held = list(user.services.select_related("service__maintainer"))
    waiting = list(
        user.service_requests.select_related("service").filter(
            state__in=[ServiceRequest.State.PENDING, ServiceRequest.State.APPROVED, ServiceRequest.State.FAILED]
        )
    )
    taken = {row.service_id for row in held} | {row.service_id for row in waiting}
    available = Service.objects.select_related("maintainer").filter(is_enabled=True).exclude(pk__in=taken)
    denied = user.service_requests.filter(state=ServiceRequest.State.DENIED).order_by("decided_at", "id")
    last = {row.service_id: row for row in denied}
    return Services(held, waiting, [Offer(service, last.get(service.pk)) for service in available])


def times_found(user: User, *, days: int = 30) -> int:
    """How often a person was found in the directory in the last days."""
    since = timezone.now().date() - timedelta(days=days)
    total = FoundCount.objects.filter(user=user, day__gt=since).aggregate(total=Sum("times"))["total"]
    return int(total or 0)
