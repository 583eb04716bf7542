"""Demo data of the registry; a second run changes nothing (contract 6)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import transaction

from core import demo
from core.models import User
from registry import demo as registry_demo
from registry.jobs import edit
from registry.models import Account, Harvest, Organization

ORGANIZATIONS: Final = (
    ("PacIOOS", "Pacific Islands Ocean Observing System"),
    ("AOOS", "Alaska Ocean Observing System"),
    ("CARICOOS", "Caribbean Coastal Ocean Observing System"),
    ("GLOS", "Great Lakes Observing System"),
    ("NERACOOS", "Northeastern Regional Association of Coastal Ocean Observing Systems"),
    ("SECOORA", "Southeast Coastal Ocean Observing Regional Association"),
)
USER_ID: Final = "fbdpsNf4oHiX79vMJ"


class Command(BaseCommand):
    help = "Load the registry's demo data."

    @transaction.atomic
    def handle(self, *_args: Any, **_options: Any) -> None:
        owners = {name: self._organization(name, description) for name, description in ORGANIZATIONS}
        user = self._user(owners["PacIOOS"])
        self._sample(owners["PacIOOS"])
        for number, (style, kind) in enumerate((("nginx", "WAF"), ("erddap", "ERDDAP-WAF"), ("csw", "CSW")), start=1):
            self._local(list(owners.values())[number % 3], style, kind)
        self.stdout.write(f"registry: {Harvest.objects.count()} harvests, user {user.email} with id {user.uid}")

    def _organization(self, name: str, description: str) -> Organization:
        found = Organization.objects.filter(name=name).first()
        return found or edit.create_organization(name, description=description)

    def _user(self, organization: Organization) -> User:
        user = User.objects.filter(addresses__address=registry_demo.EMAIL).first()
        password = demo.secret("registry_password")
        if user is None:
            user = User.objects.create_user("me", registry_demo.EMAIL, password, uid=USER_ID, is_validated=True)
            self.stdout.write(f"password of {registry_demo.EMAIL}: {password}")
        elif demo.is_on() and not user.check_password(password):
            user.set_password(password)  # another API's seed made the account first
            user.save()
        user.addresses.filter(address=registry_demo.EMAIL).update(is_verified=True)
        account, _ = Account.objects.get_or_create(user=user, defaults={"approved": True})
        account.organizations.add(organization, *Organization.objects.filter(name__in=("AOOS", "CARICOOS")))
        return user

    def _sample(self, organization: Organization) -> None:
        """The published document's row, paused so that it calls nobody."""
        Harvest.objects.get_or_create(
            uid=registry_demo.SAMPLE_ID,
            defaults={
                "harvest_type": "WAF",
                "name": "PacIOOS WAF",
                "url": "http://www.pacioos.hawaii.edu/metadata/iso/",
                "publish": True,
                "harvest_interval": 1,
                "organization": organization,
                "last_finished": datetime(2017, 4, 27, 0, 5, 1, 717000, tzinfo=UTC),
                "ckan_harvest_url": "http://dev-catalog.ioos.us/harvest/pacioos-waf",
                "last_record_count": 802,
                "last_good_count": 801,
                "last_bad_count": 1,
                "last_status": "ok",
                "paused": True,
            },
        )

    def _local(self, organization: Organization, style: str, kind: str) -> None:
        """A source served by `registry_demo_source`; its port may differ from one demo to the next."""
        slash = "" if style == "csw" else "/"
        url = f"http://127.0.0.1:{settings.REGISTRY_DEMO_SOURCE_PORT}/{style}{slash}"
        name = f"Demo source ({style})"
        found = Harvest.objects.filter(name=name).first() or Harvest(name=name, publish=True)
        found.organization, found.harvest_type = organization, kind
        if found.url != url:
            found.url, found.waive_guard_once = url, True
        if found.last_finished is None:
            found.next_due = datetime.now(UTC)  # beat starts its first run, so that there is something to see
        found.save()
