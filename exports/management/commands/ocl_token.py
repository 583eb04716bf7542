"""Issue or revoke an API token; the secret is printed once and not stored."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from core.models import ApiToken, User
from exports.services import tokens


class Command(BaseCommand):
    help = "Issue an API token for a user, or revoke those whose first characters are given."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("user")
        parser.add_argument("--label", default="")
        parser.add_argument("--revoke", metavar="PREFIX", default="")

    def handle(self, *_: Any, user: str, label: str, revoke: str, **options: Any) -> None:
        found = User.objects.filter(username=user.lower()).first()
        if found is None:
            raise CommandError(f"There is no user {user}.")
        if not revoke:
            self.stdout.write(tokens.issue(found, label=label)[1])
            return
        live = ApiToken.objects.filter(
            user=found, audience=tokens.AUDIENCE, prefix__startswith=revoke[:6], revoked_at=None
        )
        self.stdout.write(f"{live.update(revoked_at=timezone.now())} revoked")
