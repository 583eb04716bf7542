"""Import harvests from a file (contract 6)."""

from __future__ import annotations

from registry.management.commands import _importing
from registry.services import imports


class Command(_importing.ImportCommand):
    help = "Import harvests from CSV or JSON; see docs/registry.md for the forms."

    def importer(self) -> imports.Apply:
        return imports.harvest
