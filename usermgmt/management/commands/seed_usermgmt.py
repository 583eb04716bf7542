"""Demo data for the user API and the portal."""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from core import demo
from usermgmt.services import crowd, seed


class Command(BaseCommand):
    help = "Make the demo's people, API, services and clients, as far as missing; --users N adds a crowd to search in."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--users", type=int, default=0, metavar="N", help="bring the crowd to N more people")
        parser.add_argument("--force", action="store_true", help="also with production settings")

    def handle(self, *, users: int, force: bool, **_options: Any) -> None:
        if not (settings.DEBUG or demo.is_on() or force):
            raise CommandError("these are production settings; --force seeds them all the same")
        pair = seed.run()
        if pair is None:
            self.stdout.write("the demo data is there already")
        else:
            key, secret = pair
            demo.remember(usermgmt_key=key, usermgmt_secret=secret)
            self.stdout.write(f"approved client: key {key}, secret {secret} (shown this once)")
        if users:
            self.stdout.write(f"{crowd.grow(users)} people added to the crowd")
