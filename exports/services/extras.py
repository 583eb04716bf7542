"""Files beside an export: put, replaced, deleted."""

from __future__ import annotations

import hashlib
import re
import uuid

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from core import blobs, errors
from core.models import User
from exports.formats import addresses
from exports.models import ExtraFile, RepoVersion

_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*(?:; ?charset=[a-z0-9-]+)?", re.ASCII)
_UNKNOWN = "application/octet-stream"


def find(version: RepoVersion, name: str) -> ExtraFile:
    found = ExtraFile.objects.filter(version=version, name=name).first()
    if found is None:
        raise errors.NotFound
    return found


def media_type(given: str) -> str:
    """The type to keep for a file: what was sent when it is one, else that of unknown bytes."""
    plain = given.strip().lower()
    return plain if len(plain) <= 100 and _MEDIA_TYPE.fullmatch(plain) else _UNKNOWN


def put(version: RepoVersion, *, name: str, data: bytes, content_type: str, user: User) -> tuple[ExtraFile, bool]:
    """Store a file under a name; (the file, whether the name is new). The blob is written first under a key of its
    own, so that readers see either file whole; one that is not referenced any more is swept."""
    if not addresses.is_mnemonic(name):
        raise errors.NotFound
    kind, key = media_type(content_type), f"exports/extra/{uuid.uuid4().hex}"
    blobs.put(key, data, kind)
    with transaction.atomic():
        if not RepoVersion.objects.select_for_update().filter(pk=version.pk).values_list("pk"):
            raise errors.NotFound
        held = ExtraFile.objects.filter(version=version)
        if not held.filter(name=name).exists() and held.count() >= settings.EXPORTS_MAX_EXTRA_FILES:
            raise errors.Conflict(f"A version has at most {settings.EXPORTS_MAX_EXTRA_FILES} extra files.", code="full")
        return ExtraFile.objects.update_or_create(
            version=version,
            name=name,
            defaults={
                "key": key,
                "content_type": kind,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                "updated_at": timezone.now(),
                "updated_by": user.username,
            },
        )


def delete(file: ExtraFile) -> None:
    """Remove a file; its blob is swept."""
    file.delete()
