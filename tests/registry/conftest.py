"""A source to harvest, an organisation that owns it, and people with rights."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import call_command
from pytest_django import Settings

from core import jobs
from core.models import User
from registry.demo import source as demo_source
from registry.formats import samples
from registry.jobs import request
from registry.models import Account, Harvest, HarvestRun, Organization

PASSWORD = "sand-and-sea-42"


@pytest.fixture(autouse=True)
def _quick_retries(settings: Settings) -> None:
    """Retries wait milliseconds in tests."""
    settings.REGISTRY_BACKOFF_SECONDS = 0.01


@pytest.fixture
def source() -> demo_source.Source:
    """Six good records, two of them in a folder."""
    made = demo_source.Source()
    for number in range(6):
        name = f"station_{number:03d}.xml"
        made.put(f"moored/{name}" if number % 3 == 2 else name, samples.iso19139(number))
    return made


@pytest.fixture
def served(source: demo_source.Source) -> Iterator[demo_source.Server]:
    """The source on a loopback port."""
    with demo_source.Server(source) as server:
        yield server


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="PacIOOS", slug="PacIOOS")


@pytest.fixture
def add_harvest(organization: Organization, served: demo_source.Server) -> Callable[..., Harvest]:
    """Make a harvest of the served source: `add_harvest("nginx", publish=True)`."""

    def make(style: str = "nginx", **fields: Any) -> Harvest:
        values = {"name": f"{style} source", "organization": organization, "publish": True, **fields}
        values.setdefault("url", served.url(style))
        kinds = {"erddap": "ERDDAP-WAF", "csw": "CSW"}
        values.setdefault("harvest_type", kinds.get(style, "WAF"))
        return Harvest.objects.create(**values)

    return make


@pytest.fixture
def harvest(add_harvest: Callable[..., Harvest]) -> Harvest:
    return add_harvest()


@pytest.fixture
def add_person(organization: Organization) -> Callable[..., User]:
    """Make an approved member of the organisation: `add_person("maria", approved=False, member=False, admin=True)`."""

    def make(name: str, *, approved: bool = True, member: bool = True, admin: bool = False, **fields: Any) -> User:
        fields.setdefault("is_validated", True)
        user = User.objects.create_user(name, f"{name}@example.org", PASSWORD, **fields)
        account = Account.objects.create(user=user, approved=approved, is_registry_admin=admin)
        if member:
            account.organizations.add(organization)
        return user

    return make


@pytest.fixture
def owner(add_person: Callable[..., User]) -> User:
    return add_person("maria")


def run(harvest: Harvest, **options: Any) -> HarvestRun:
    """Ask for a run and do it in this process."""
    options.setdefault("trigger", HarvestRun.Trigger.CLI)
    made, _ = request.run_of(harvest, **options)
    jobs.run_queued()
    made.refresh_from_db()
    harvest.refresh_from_db()
    return made


def command(name: str, *args: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    try:
        call_command(name, *[str(arg) for arg in args], stdout=out, stderr=err)
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, out.getvalue(), err.getvalue()
