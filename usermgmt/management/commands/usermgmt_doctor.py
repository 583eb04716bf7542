"""Look at what user management needs to work as promised."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from usermgmt.services import doctor


class Command(BaseCommand):
    help = "Check extension, collation, indexes, peppers, proxies and mail. Exit 1 when something is wrong."

    def handle(self, **_options: Any) -> None:
        found = list(doctor.findings())
        for finding in found:
            self.stdout.write(f"{'ok  ' if finding.is_fine else 'BAD '} {finding.what}: {finding.detail}")
        if not all(finding.is_fine for finding in found):
            sys.exit(1)
