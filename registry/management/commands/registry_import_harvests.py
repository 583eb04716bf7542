"""Import harvests from a file (contract 6)."""

from __future__ import annotations

from registry.management.commands import _importing


class Command(_importing.ImportCommand):
    help = "Import harvests from CSV or JSON; see docs/registry.md for the forms."
    what = "harvests"
