"""The process's S3 client, and its exceptions in our words."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.config
import botocore.exceptions
import botocore.session
import structlog
import urllib3.exceptions
from django.conf import settings

from core import errors

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

log = structlog.get_logger(__name__)

MISSING_CODES: Final = {"404", "NoSuchKey", "NotFound", "NoSuchUpload", "NoSuchBucket"}


class StoreUnavailable(errors.Unavailable):
    """The store does not answer, or not as a store does."""

    code = "store_unavailable"


class Missing(errors.NotFound):
    """There is no blob of that key (or no such bucket)."""

    code = "blob_missing"


@dataclass(frozen=True)
class Patience:
    """How long one request may be silent (seconds), and how often it is tried."""

    read_seconds: float
    attempts: int


# A store that is down is noticed in seconds; one that hangs costs a web thread twenty, a health probe two.
WRITING: Final = Patience(30, 3)
READING: Final = Patience(10, 2)
PROBING: Final = Patience(2, 1)


def client(patience: Patience = WRITING, *, signs_bodies: bool = True) -> S3Client:
    """The process's client: thread-safe, made anew after a fork and when the settings differ.

    Without ``signs_bodies`` the signature leaves out what is sent (``UNSIGNED-PAYLOAD``) and saves a SHA-256 of it: for
    bytes that are read back and compared before anybody is told of them.
    """
    return _make_client(
        os.getpid(),
        patience,
        signs_bodies,
        settings.S3_ENDPOINT_URL,
        settings.S3_ACCESS_KEY_ID,
        settings.S3_SECRET_ACCESS_KEY,
        settings.S3_SESSION_TOKEN,
        settings.S3_REGION,
        settings.S3_ADDRESSING,
    )


_client_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_client_lock=threading.Lock()))


def _make_client(*key: Any) -> S3Client:
    with _client_lock:
        return _cached_client(*key)


@functools.lru_cache(maxsize=1)
def _session(_pid: int) -> boto3.session.Session:
    """Shared by the clients, which read the same descriptions of the service.

    Our endpoint is always named, so the list of Amazon's own (7 MiB of memory in every process, and a tenth of a
    second to read) is replaced by one that has room for any region.
    """
    session = botocore.session.Session()
    session.set_config_variable("data_path", str(pathlib.Path(__file__).parent / "botocore"))
    return boto3.session.Session(botocore_session=session)


@functools.lru_cache(maxsize=8)
def _cached_client(
    _pid: int,
    patience: Patience,
    signs_bodies: bool,
    endpoint: str,
    access_key: str,
    secret_key: str,
    token: str,
    region: str,
    addressing: str,
) -> S3Client:
    config = botocore.config.Config(
        signature_version="s3v4",  # set explicitly: boto3 may sign V2 for a custom endpoint
        s3={
            "addressing_style": "virtual" if addressing == "virtual" else "path",
            "payload_signing_enabled": signs_bodies,
        },
        connect_timeout=2,
        read_timeout=patience.read_seconds,
        retries={"mode": "standard", "total_max_attempts": patience.attempts},
        max_pool_connections=20,
        proxies={},
        tcp_keepalive=True,
        # Newer checksum trailers are unknown to many S3 servers; bodies are covered by the signature's SHA-256, or
        # read back.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    made: S3Client = _session(_pid).client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token or None,
        region_name=region,
        config=config,
    )
    return made


@contextlib.contextmanager
def translated(key: str = "") -> Iterator[None]:
    """Say the library's exceptions in our words; remote bodies stay in the log."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in MISSING_CODES:
            raise Missing(f"There is no blob {key!r}.", key=key) from error
        log.warning("blob store refused", key=key, operation=error.operation_name, code=code)
        raise StoreUnavailable("The file store refused the request.", store_code=code) from error
    except (botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError) as error:
        log.warning("blob store does not answer", key=key, error=repr(error)[:500])
        raise StoreUnavailable("The file store does not answer.") from error
