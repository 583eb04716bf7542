"""Serve the demo's generated records as a source of every kind (contract 6); for demo and tests, not for production."""

from __future__ import annotations

import argparse
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from registry.demo import source


class Command(BaseCommand):
    help = "Serve generated records as WAF in each listing style, ERDDAP page and CSW, with switchable faults."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.REGISTRY_DEMO_SOURCE_PORT)
        parser.add_argument("--csw-fault", default="", help="next0, beyond, absent, stuck, duplicates or exception2")
        parser.add_argument("--fault", action="append", default=[], help="PATH=FAULT, e.g. /nginx/station_000.xml=404")

    def handle(self, *_args: Any, **options: Any) -> None:
        served = source.demo()
        served.csw_fault = options["csw_fault"]
        served.faults = dict(fault.partition("=")[::2] for fault in options["fault"])
        server = source.Server(served, port=options["port"])
        for style in (*source.STYLES, "erddap", "csw"):
            self.stdout.write(server.url(style))
        self.stdout.flush()
        try:
            server.serve()
        finally:
            server.close()
