"""Fill the search columns anew."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from usermgmt.services import imports


class Command(BaseCommand):
    help = "Fill the search columns of people and addresses anew, after the normalisation changed."

    def handle(self, **_options: Any) -> None:
        self.stdout.write(f"{imports.rebuild_search()} rows changed")
