"""Reading, listing and removing blobs."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

from django.conf import settings

from core import errors, streams
from core.blobs import client

_READ_BLOCK: Final = 128 * 1024
_DELETE_BATCH: Final = 1000


@dataclass(frozen=True)
class Stat:
    """What the store knows of a blob: ``size`` in bytes, ``etag`` without quotes."""

    size: int
    etag: str
    modified: datetime
    content_type: str


@dataclass(frozen=True)
class Entry:
    """One blob in a listing."""

    key: str
    size: int
    modified: datetime


class Reader:
    """The bytes of a blob in blocks, as an iterable (once) and a file with ``read``; ``close`` it when done early.

    ``size`` is what will come, ``total`` the blob's whole size, both in bytes.
    """

    def __init__(self, key: str, answer: Any) -> None:
        self._key = key
        self._body = answer["Body"]
        self.size = int(answer["ContentLength"])
        self.total = int(answer.get("ContentRange", f"/{self.size}").rpartition("/")[2])
        self.etag = answer["ETag"].strip('"')

    def read(self, size: int = -1, /) -> bytes:
        with client.translated(self._key):
            data: bytes = self._body.read(None if size < 0 else size)
            return data

    def __iter__(self) -> Iterator[bytes]:
        try:
            while data := self.read(_READ_BLOCK):
                yield data
        finally:
            self.close()

    def close(self) -> None:
        self._body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def reader(key: str, start: int = 0, end: int | None = None) -> Reader:
    """The blob's bytes from ``start`` up to but without ``end``, as of a Python slice; the request is made at once.

    Raises ``errors.Invalid`` when the blob is shorter than ``start``.
    """
    span: dict[str, Any] = {}
    if start or end is not None:
        span["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    try:
        with client.translated(key):
            return Reader(key, client.client(client.READING).get_object(Bucket=settings.S3_BUCKET, Key=key, **span))
    except client.StoreUnavailable as error:
        if error.details.get("store_code") in {"InvalidRange", "416"}:
            raise errors.Invalid("The range begins behind the end of the blob.") from error
        raise


def stat(key: str) -> Stat | None:
    """Size, ETag, time and type of a blob, or None when there is none."""
    try:
        with client.translated(key):
            answer = client.client(client.READING).head_object(Bucket=settings.S3_BUCKET, Key=key)
    except client.Missing:
        return None
    return Stat(
        answer["ContentLength"], answer["ETag"].strip('"'), answer["LastModified"], answer.get("ContentType", "")
    )


def verify(key: str, *, size: int, crc: int, note: Callable[[int], None] | None = None) -> str:
    """Read a blob back whole; its SHA-256 (hex).

    ``note(bytes)`` is told of every block and may raise. Raises ``StoreUnavailable`` when the store has another size or
    CRC-32, or nothing.
    """
    digest, found_size, found_crc = hashlib.sha256(), 0, 0
    try:
        for block in reader(key):
            found_size, found_crc = found_size + len(block), streams.crc32(block, found_crc)
            digest.update(block)
            if note:
                note(len(block))
    except client.Missing as error:
        raise client.StoreUnavailable("The file store did not keep the file.", key=key) from error
    if (found_size, found_crc) != (size, crc):
        raise client.StoreUnavailable("The file store did not keep all bytes as they were.", key=key)
    return digest.hexdigest()


def keys(prefix: str) -> Iterator[Entry]:
    """The blobs whose key begins with ``prefix``, read page by page; their order is the store's."""
    pages = (
        client.client(client.READING)
        .get_paginator("list_objects_v2")
        .paginate(Bucket=settings.S3_BUCKET, Prefix=prefix)
    )
    with client.translated(prefix):
        for page in pages:
            for item in page.get("Contents", []):
                yield Entry(item["Key"], item["Size"], item["LastModified"])


def delete(*names: str) -> None:
    """Remove blobs; those that do not exist are no error."""
    for start in range(0, len(names), _DELETE_BATCH):
        objects: Any = [{"Key": name} for name in names[start : start + _DELETE_BATCH]]
        with client.translated(names[start]):
            answer = client.client(client.READING).delete_objects(
                Bucket=settings.S3_BUCKET, Delete={"Objects": objects, "Quiet": True}
            )
        if failed := [error for error in answer.get("Errors", []) if error.get("Code") not in client.MISSING_CODES]:
            raise client.StoreUnavailable(
                f"The file store kept {len(failed)} blobs.", store_code=failed[0].get("Code", "")
            )


def answers() -> bool:
    """Whether the store answers for our bucket now; for health probes."""
    try:
        with client.translated():
            client.client(client.PROBING).head_bucket(Bucket=settings.S3_BUCKET)
    except (client.StoreUnavailable, client.Missing):
        return False
    return True


def ensure_bucket() -> None:
    """Create the bucket when it does not exist."""
    s3, bucket = client.client(), settings.S3_BUCKET
    try:
        with client.translated():
            s3.head_bucket(Bucket=bucket)
    except client.Missing:
        # us-east-1 must not be named: S3 refuses its own default as a constraint.
        place: Any = {"CreateBucketConfiguration": {"LocationConstraint": settings.S3_REGION}}
        with client.translated(), contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            s3.create_bucket(Bucket=bucket, **({} if settings.S3_REGION == "us-east-1" else place))


def abort_stale_uploads(older_than: timedelta, *, prefix: str = "") -> int:
    """End multipart uploads under ``prefix`` begun longer ago than that (their writer died); returns how many."""
    s3, horizon, count = client.client(), datetime.now(UTC) - older_than, 0
    with client.translated():
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=settings.S3_BUCKET, Prefix=prefix):
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < horizon:
                    with contextlib.suppress(s3.exceptions.NoSuchUpload):
                        s3.abort_multipart_upload(
                            Bucket=settings.S3_BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
                        )
                    count += 1
    return count


def sweep_orphans(
    app_name: str, is_live: Callable[[Sequence[str]], Iterable[str]], grace: timedelta = timedelta(days=1)
) -> int:
    """Delete the blobs under ``<app_name>/`` older than ``grace`` that the app does not know; returns how many.

    ``is_live`` gets up to 1000 keys and answers those that are still referenced.
    """
    horizon, count = datetime.now(UTC) - grace, 0
    old = (entry.key for entry in keys(f"{app_name}/") if entry.modified < horizon)
    batch: list[str] = []
    for key in old:
        batch.append(key)
        if len(batch) == _DELETE_BATCH:
            count += _delete_dead(batch, is_live)
            batch = []
    return count + (_delete_dead(batch, is_live) if batch else 0)


def _delete_dead(batch: list[str], is_live: Callable[[Sequence[str]], Iterable[str]]) -> int:
    dead = sorted(set(batch) - set(is_live(batch)))
    delete(*dead)
    return len(dead)
