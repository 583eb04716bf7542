"""Which writer builds which variant."""

from __future__ import annotations

from typing import Any

from core import db
from exports.formats import variants
from exports.jobs.derived import document, packages
from exports.jobs.derived.sinks import NewProgress
from exports.models import ExportBuild, RepoVersion

_WRITERS = {variants.FHIR.key: packages.fhir, variants.CSV.key: packages.csv}


def write(
    view: db.Snapshot, one: ExportBuild, version: RepoVersion, keys: dict[str, str], progress: NewProgress
) -> dict[str, Any]:
    """Write a variant's files under ``keys`` (folders, completed here); what the build's row is to know of them."""
    return _WRITERS.get(one.variant, document.write)(view, one, version, keys, progress)
