"""The blob store: one S3 bucket. The only package that knows boto3; its exceptions stop here.

Keys start with the name of the app that owns them. A blob is written once, whole or not at all, and never changed.
Every function raises ``StoreUnavailable`` when the store does not answer and ``Missing`` when a blob is not there.

Settings: ``S3_ENDPOINT_URL`` is where this process reaches the store, ``S3_PUBLIC_ENDPOINT_URL`` where clients do.
"""

from core.blobs.client import Missing, StoreUnavailable
from core.blobs.reading import (
    Entry,
    Reader,
    Stat,
    abort_stale_uploads,
    answers,
    delete,
    ensure_bucket,
    keys,
    reader,
    stat,
    sweep_orphans,
    verify,
)
from core.blobs.signing import Signer, disposition, signer, upload_url, url
from core.blobs.writing import PART_SIZE, Writer, put, writer

__all__ = [
    "PART_SIZE",
    "Entry",
    "Missing",
    "Reader",
    "Signer",
    "Stat",
    "StoreUnavailable",
    "Writer",
    "abort_stale_uploads",
    "answers",
    "delete",
    "disposition",
    "ensure_bucket",
    "keys",
    "put",
    "reader",
    "signer",
    "stat",
    "sweep_orphans",
    "upload_url",
    "url",
    "verify",
    "writer",
]
