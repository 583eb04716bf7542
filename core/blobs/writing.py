"""Writing blobs: whole or not at all."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Self

import structlog
from django.conf import settings

from core import streams
from core.blobs import client, reading, signing

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

log = structlog.get_logger(__name__)

# S3 takes at most 10,000 parts of at least 5 MiB (the last may be smaller). Parts double every 2,000, so that a blob
# may grow to 300 GiB while all but giants are uploaded in the smallest parts, which keep the memory of a build low.
PART_SIZE: Final = 5 * 1024 * 1024
_PARTS_PER_SIZE: Final = 2000
_PART_LEAST: Final = PART_SIZE
_COPY_MOST: Final = 5 * 1024**3


def put(key: str, data: bytes, content_type: str = "application/octet-stream", *, filename: str | None = None) -> None:
    """Store a small blob in one request, replacing what was there."""
    with client.translated(key):
        client.client().put_object(Bucket=settings.S3_BUCKET, Key=key, Body=data, **_headers(content_type, filename))


def writer(
    key: str,
    *,
    content_type: str = "application/octet-stream",
    filename: str | None = None,
    hashed: bool = True,
) -> Writer:
    """A sink whose bytes become the blob ``key`` when its ``with`` block ends well; after an exception nothing is left.

    ``filename`` is what the store then offers as the name to save under. Without ``hashed`` no SHA-256 is made, neither
    the writer's nor one for the store, and other blobs may be appended by ``copy``: the caller must ``verify`` it.
    """
    return Writer(key, _headers(content_type, filename), hashed=hashed)


class Writer:
    """An unseekable, all-or-nothing stream into the store; made by ``writer``.

    Less than one part goes as a single PUT at the end; more as a multipart upload whose parts one other thread sends,
    so that the caller can go on compressing. One part is on its way and one is being held: no more is in memory.
    ``size`` counts the bytes written, ``crc`` is their CRC-32; ``sha256`` (hex) and ``etag`` are known after the block.
    """

    def __init__(self, key: str, headers: Mapping[str, Any], *, hashed: bool = True) -> None:
        self.key = key
        self.size = 0
        self.crc = 0
        self.sha256 = ""
        self.etag = ""
        self._headers = headers
        self._hash = hashlib.sha256() if hashed else None
        self._held: deque[bytes] = deque()
        self._held_size = 0
        self._parts: list[str] = []
        self._upload_id = ""
        self._thread: ThreadPoolExecutor | None = None
        self._sending: Future[str] | None = None

    def _client(self) -> S3Client:
        return client.client(signs_bodies=self._hash is not None)

    def write(self, data: bytes, /) -> int:
        """Take all of ``data``; an error of an earlier part surfaces here or at the end of the block."""
        self.crc = streams.crc32(data, self.crc)
        self.size += len(data)
        self._take(data)
        return len(data)

    def copy(self, key: str, *, size: int, crc: int) -> None:
        """Append the blob ``key``, of ``size`` bytes and CRC-32 ``crc``, which must stay until the block ends.

        The store copies it itself (UploadPartCopy); only as much passes through here as parts of at least 5 MiB need.
        What the caller says of the blob is believed: ``verify`` tells whether it was true.
        """
        if self._hash is not None:
            raise ValueError("a writer that hashes its bytes must see them")
        self.crc = streams.crc32_combine(self.crc, crc, size)
        self.size += size
        start = min(size, _PART_LEAST - self._held_size) if 0 < self._held_size < _PART_LEAST else 0
        if size - start < _PART_LEAST:
            start = size
        if start:
            for block in reading.reader(key, 0, start):
                self._take(block)
        if start < size:
            self._send_held()
            count = -(-(size - start) // _COPY_MOST)
            bounds = [start + (size - start) * number // count for number in range(count + 1)]
            for low, high in itertools.pairwise(bounds):
                self._send_copy(key, low, high)

    def _take(self, data: bytes) -> None:
        self._held.append(bytes(data))
        self._held_size += len(data)
        if self._held_size >= self._part_size():
            self._send_full_parts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._abort()
            return
        try:
            self._complete()
        except BaseException:
            self._abort()
            raise

    def _part_size(self) -> int:
        return PART_SIZE << (len(self._parts) // _PARTS_PER_SIZE)

    def _send_full_parts(self) -> None:
        self._collect()  # what is on its way leaves the memory before the next part is put together
        while self._held_size >= (size := self._part_size()):
            self._send(self._part(size))

    def _part(self, size: int) -> bytes:
        """Take that many bytes off the front of what is held."""
        pieces, length = [], 0
        while length < size:
            pieces.append(self._held.popleft())
            length += len(pieces[-1])
        if length > size:
            last = pieces.pop()
            cut = len(last) - (length - size)
            pieces.append(last[:cut])
            self._held.appendleft(last[cut:])
        self._held_size -= size
        return b"".join(pieces)

    def _send_held(self) -> None:
        """Send what is held, at least the least a part may have, so that a copied part may follow."""
        if self._held_size:
            self._collect()
            self._send(self._part(self._held_size))

    def _send(self, data: bytes) -> None:
        """Hand a part to the other thread, after the one before has arrived."""
        thread = self._thread or self._begin()
        self._collect()
        self._sending = thread.submit(self._upload, data, len(self._parts) + 1)

    def _send_copy(self, source: str, start: int, end: int) -> None:
        """The same for bytes the store has already."""
        thread = self._thread or self._begin()
        self._collect()
        self._sending = thread.submit(self._copy_part, source, f"bytes={start}-{end - 1}", len(self._parts) + 1)

    def _begin(self) -> ThreadPoolExecutor:
        with client.translated(self.key):
            answer = self._client().create_multipart_upload(
                Bucket=settings.S3_BUCKET,
                Key=self.key,
                **self._headers,
            )
        self._upload_id = answer["UploadId"]
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="blob-upload")
        return self._thread

    def _copy_part(self, source: str, span: str, number: int) -> str:
        with client.translated(source):
            answer = self._client().upload_part_copy(
                Bucket=settings.S3_BUCKET,
                Key=self.key,
                UploadId=self._upload_id,
                PartNumber=number,
                CopySource={"Bucket": settings.S3_BUCKET, "Key": source},
                CopySourceRange=span,
            )
        return answer["CopyPartResult"]["ETag"]

    def _upload(self, data: bytes, number: int) -> str:
        if self._hash is not None:
            self._hash.update(data)
        with client.translated(self.key):
            answer = self._client().upload_part(
                Bucket=settings.S3_BUCKET, Key=self.key, UploadId=self._upload_id, PartNumber=number, Body=data
            )
        return answer["ETag"]

    def _collect(self) -> None:
        if self._sending is not None:
            sending, self._sending = self._sending, None
            self._parts.append(sending.result())

    def _complete(self) -> None:
        rest = b"".join(self._held)
        self._held.clear()
        if self._thread is None:
            self._put(rest)
        else:
            self._complete_multipart(rest)
        if self._hash is not None:
            self.sha256 = self._hash.hexdigest()

    def _put(self, data: bytes) -> None:
        if self._hash is not None:
            self._hash.update(data)
        with client.translated(self.key):
            answer = self._client().put_object(Bucket=settings.S3_BUCKET, Key=self.key, Body=data, **self._headers)
        self.etag = answer["ETag"].strip('"')

    def _complete_multipart(self, rest: bytes) -> None:
        self._collect()
        if rest:
            self._parts.append(self._upload(rest, len(self._parts) + 1))
        parts: Any = [{"PartNumber": number, "ETag": etag} for number, etag in enumerate(self._parts, 1)]
        with client.translated(self.key):
            self._client().complete_multipart_upload(
                Bucket=settings.S3_BUCKET,
                Key=self.key,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": parts},
            )
        self._shut_down()
        found = reading.stat(self.key)
        if found is None or found.size != self.size:
            reading.delete(self.key)
            raise client.StoreUnavailable("The file store did not keep all bytes.", key=self.key)
        self.etag = found.etag

    def _abort(self) -> None:
        self._held.clear()
        if self._thread is None:
            return
        self._shut_down()
        try:
            with client.translated(self.key):
                self._client().abort_multipart_upload(Bucket=settings.S3_BUCKET, Key=self.key, UploadId=self._upload_id)
        except (client.StoreUnavailable, client.Missing):
            # The error that brought us here matters more; abort_stale_uploads clears what is left.
            log.warning("multipart upload left behind", key=self.key)

    def _shut_down(self) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True, cancel_futures=True)


def _headers(content_type: str, filename: str | None) -> dict[str, Any]:
    if filename is None:
        return {"ContentType": content_type}
    return {"ContentType": content_type, "ContentDisposition": signing.disposition(filename)}
