"""Extra files on the API."""

from typing import Any

from exports.formats import stamps
from exports.models import ExtraFile, RepoVersion


def document(file: ExtraFile, version: RepoVersion) -> dict[str, Any]:
    return {
        "name": file.name,
        "url": f"{version.uri}export/{file.name}/",
        "content_type": file.content_type,
        "size": file.size,
        "sha256": file.sha256,
        "updated_on": stamps.iso(file.updated_at),
        "updated_by": file.updated_by,
    }
