"""Looking at downloads: status, link, list, citation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Window
from django.utils import timezone

from core import blobs, errors
from core.models import User
from downloads.formats import citation, members
from downloads.jobs import expiry, status
from downloads.jobs.build import lanes, plan
from downloads.jobs.ingest import publish
from downloads.models import Build, Claim, Download

GONE_FOR_GOOD = timedelta(days=365)
UNKNOWN = "There is no download with this id."
AGAIN = "Send the same query again to build a new one."


def find(ident: str | uuid.UUID) -> Download:
    """A download with its build and job, in one query.

    Raises `NotFound` for what is no uuid, unknown, or expired over a year ago, and `Gone` for what has expired
    (`details`: `hint`, `query`).
    """
    try:
        key = ident if isinstance(ident, uuid.UUID) else uuid.UUID(ident)
    except ValueError as fault:
        raise errors.NotFound(UNKNOWN) from fault
    if isinstance(ident, str) and ident.lower() != str(key):
        raise errors.NotFound(UNKNOWN)  # Python reads braces and missing hyphens as a uuid too
    found = Download.objects.select_related("build__job").filter(pk=key).first()
    if found is None:
        raise errors.NotFound(UNKNOWN)
    if found.is_over:
        raise _gone(found)
    return found


def _gone(download: Download) -> errors.Fact:
    expired = download.expired_at or download.expires_at
    if timezone.now() - expired > GONE_FOR_GOOD:
        return errors.NotFound(UNKNOWN)
    message = f"This download expired on {expired:%Y-%m-%d} and its file was deleted."
    return errors.Gone(message, hint=AGAIN, query=shown_query(download))


def shown_query(download: Download) -> object:
    """The query as the face it was asked on shows it."""
    asked = status.asked(download)
    if asked is None:
        return None
    return asked.rq if download.face == Download.Face.SEED else asked.seven


def position(download: Download) -> int | None:
    """How many builds are to begin before this one; one query while it waits, none later."""
    if download.state != Download.State.WAITING or download.build is None:
        return 0
    return lanes.ahead_of(download.build)


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What the link leads to. `sha256` is hex; `size` in bytes; `etag` without quotes, "" if not known."""

    key: str
    filename: str
    content_type: str
    size: int
    etag: str
    sha256: str
    modified: object

    def url(self) -> str:
        """A link to the store, signed now for 15 minutes."""
        return blobs.url(self.key, expiry.LINK_SECONDS, filename=self.filename, content_type=self.content_type)


def deliver(ident: str, extension: str) -> Delivery:
    """The file of a finished download.

    Raises `NotFound` (unknown id, other extension), `Conflict` (not ready: code `not_ready`, failed: code `failed`;
    `details["download"]`) and `Gone` (expired, or its blob is missing).
    """
    download = find(ident)
    if extension != status.extension(download):
        raise errors.NotFound(UNKNOWN)
    if download.state == Download.State.WAITING:
        raise errors.Conflict("This download is not ready yet.", code="not_ready", download=download)
    build = download.build
    if download.state != Download.State.DONE or build is None:
        raise errors.Conflict(f"This download failed: {download.error}", code="failed", download=download)
    etag = None if build.state == Build.State.DELETED else _stored_etag(build)
    if etag is None:
        raise errors.Gone("The file of this download is gone.", hint=AGAIN, query=shown_query(download))
    filename = members.file_name(
        str(download.uuid), form=download.form, core_type=download.core_type, core_source=_core_source(download)
    )
    return Delivery(
        key=build.blob_key,
        filename=filename,
        content_type=members.media_type(download.form),
        size=build.size or 0,
        etag=etag,
        sha256=build.sha256,
        modified=build.finished_at,
    )


def _core_source(download: Download) -> str:
    asked = status.asked(download)
    return asked.core_source if asked else "indexterms"


def _stored_etag(build: Build) -> str | None:
    """The blob's entity tag, which a client sees at the store too; None if the blob is missing.

    A missing one is noted, so that the next request builds anew. A store that does not answer proves nothing: the link
    is given all the same, with the tag the store gave when it took the file; a client resumes by it.
    """
    try:
        found = blobs.stat(build.blob_key)
    except blobs.StoreUnavailable:
        return build.etag
    if found is None:
        Build.objects.filter(pk=build.pk).update(state=Build.State.DELETED)
        return None
    return found.etag


def owned(user: User, *, limit: int, offset: int) -> tuple[int, list[Download]]:
    """How many downloads an API key's owner has, and a page of them, newest first; one query where there are any.

    Expired ones are left out: their links are dead, and their own addresses say so (410).
    """
    asked_for = Claim.objects.filter(download=OuterRef("pk"), user=user)
    mine = Download.objects.filter(Exists(asked_for)).exclude(Download.OVER)
    counted = mine.select_related("build__job").annotate(total=Window(Count("pk")))
    page = list(counted.order_by("-created_at", "uuid")[offset : offset + limit])
    total = page[0].total if page else mine.count()
    return total, [*page]


CitationFormat = Literal["txt", "bibtex", "ris"]


def cite(ident: str, form: str, *, base_url: str) -> str:
    """The citation of a finished download; raises `Invalid` for an unknown format, `Conflict` until complete."""
    if form not in citation.FORMATS:
        raise errors.Invalid(
            f"The format {form} is not known.", parameter="format", allowed=sorted(citation.FORMATS), suggestion=None
        )
    download = find(ident)
    build = download.build
    if download.state == Download.State.WAITING:
        raise errors.Conflict("This download is not ready yet.", code="not_ready", download=download)
    if download.state != Download.State.DONE or build is None:
        raise errors.Conflict(f"This download failed: {download.error}", code="failed", download=download)
    ready = plan.load(build)
    entity = "media" if download.core_type == "mediarecords" else "records"
    query = ready.asked.normal_mq if entity == "media" else ready.asked.normal_rq
    text = citation.text(query, ready.shares(entity), snapshot=build.snapshot_at, portal=settings.DOWNLOADS_PORTAL_URL)
    if form == "txt":
        return text
    write = citation.bibtex if form == "bibtex" else citation.ris
    return write(
        str(download.uuid),
        title=settings.DOWNLOADS_TITLE,
        publisher=settings.DOWNLOADS_PUBLISHER,
        url=status.file_url(download, base_url),
        note=text,
        accessed=build.snapshot_at,
    )


def known_provider_terms(kind: str) -> list[str]:
    """The provider terms a query may name as `data.<term>`: the current raw columns of a kind of rows."""
    return publish.raw_columns(kind)[1]
