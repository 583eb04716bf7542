"""What staff change by hand: titles, files, readers. The catalogue's own functions do the writing."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from core import blobs
from core.models import User
from nnels import models
from nnels.formats import isbn, metadata, recognise, text
from nnels.jobs import catalogue
from nnels.selectors import accounts
from nnels.services import callers, links


class Upload(Protocol):
    """A file somebody uploaded."""

    @property
    def size(self) -> int | None: ...

    def chunks(self) -> Iterator[bytes]: ...


def languages_in_use() -> list[str]:
    """Language codes of all items."""
    return _distinct("languages")


def features_in_use() -> list[str]:
    """Accessibility features of all items, folded."""
    return _distinct("access_features")


def _distinct(column: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT unnest({column}) FROM nnels_item ORDER BY 1 LIMIT 100")
        return [value for (value,) in cursor.fetchall()]


def matching(term: str) -> Q:
    """Items whose title or creator holds the term, or whose ISBN or UUID it is."""
    folded = text.plain(term)
    found = Q(label_sort__contains=folded) | Q(creators_flat__contains=folded)
    if number := isbn.to_13(term):
        found |= Q(isbn__contains=[number])
    if uuid := metadata.find_uuid(term):
        found |= Q(uuid=uuid)
    return found


def tidy(item: models.Item) -> None:
    """Bring what was typed into stored form."""
    catalogue.clean_fields(item)


def settle(item: models.Item, *, was_published: bool) -> None:
    """Let everything derived follow an edit."""
    with transaction.atomic():
        catalogue.settle(item, was_published=was_published)


def delete(items: Sequence[models.Item]) -> None:
    """Delete titles; their blobs retire."""
    catalogue.remove(items)


def change(ids: Iterable[int], **values: Any) -> list[models.Item]:
    """Set the same fields on many items; those that differed."""
    with transaction.atomic():
        different = []
        for item in models.Item.objects.select_for_update().filter(pk__in=list(ids)).order_by("pk"):
            was_published = item.published
            if catalogue.update(item, values):
                catalogue.settle(item, was_published=was_published)
                different.append(item)
    return different


def put_file(item: models.Item, upload: Upload, *, format_code: str, part: int) -> None:
    """Stream an upload into the store and make it the file at its place."""
    digest = hashlib.sha256()
    size = 0
    for block in upload.chunks():
        digest.update(block)
        size += len(block)
    key = catalogue.blob_key(item.uuid, digest.hexdigest(), recognise.EXTENSIONS[format_code])
    media_type = recognise.MEDIA_TYPES[format_code]
    catalogue.hold([key])
    with blobs.writer(key, content_type=media_type) as sink:
        for block in upload.chunks():
            sink.write(block)
    with transaction.atomic():
        catalogue.place_file(
            item, format_code=format_code, part=part, media_type=media_type, size=size, sha256=digest.hexdigest(),
            key=key,
        )  # fmt: skip


def drop_file(file: models.File) -> None:
    """Delete a file; its blob retires."""
    with transaction.atomic():
        catalogue.retire([file.blob_key])
        file.delete()


def asked_by(user: User, *, address: callers.Address) -> links.Asked:
    """Staff asking for a link, for the issue log."""
    found = accounts.by_ids([user.pk])[user.pk]
    return links.Asked(account=found, purpose=models.Purpose.ADMIN.value, address=address)


def mark_verified(reader: models.Reader, *, by: User) -> None:
    """Note who verified a reader, and when."""
    reader.verified_at, reader.verified_by = timezone.now(), by


def set_verified(readers: Sequence[models.Reader], *, is_verified: bool, by: User) -> list[models.Reader]:
    """Verify or withdraw; those that differed."""
    different = [reader for reader in readers if reader.print_disability_verified != is_verified]
    for reader in different:
        reader.print_disability_verified = is_verified
        if is_verified:
            mark_verified(reader, by=by)
        reader.save()
    return different
