"""Load the demo's terminologies."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from exports.services import seeding


class Command(BaseCommand):
    help = "Load invented terminologies with versions and exports; running it again changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--concepts", type=int, default=120)
        parser.add_argument("--mappings", type=int, default=400)
        parser.add_argument("--no-build", action="store_true", help="do not build the exports")

    def handle(self, *_: Any, seed: int, concepts: int, mappings: int, no_build: bool, **options: Any) -> None:
        seeding.world(
            self.stdout.write, seed=seed, concepts_count=concepts, mappings_count=mappings, build=not no_build
        )
