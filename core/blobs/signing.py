"""Links that let anybody GET a blob for a while, signed here without asking the store."""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
import urllib.parse
from dataclasses import dataclass, field
from typing import Final

from django.conf import settings

from core import net

_MAX_EXPIRES: Final = 7 * 24 * 3600  # SigV4's own limit


def url(
    key: str,
    expires: int = 900,
    *,
    filename: str | None = None,
    content_type: str | None = None,
    disposition_type: str = "attachment",
) -> str:
    """A link for anybody to GET the blob from the public endpoint within ``expires`` seconds."""
    return signer().url(key, expires, filename=filename, content_type=content_type, disposition_type=disposition_type)


def signer() -> Signer:
    """The shared signer of the current settings, for the public endpoint; thread-safe."""
    return _signer_for(settings.S3_PUBLIC_ENDPOINT_URL)


def upload_url(key: str, expires: int = 300) -> str:
    """A link to PUT the blob at the inner endpoint, for our own processes that have an HTTP client running anyway.

    A PUT through boto3 costs about 1.6 ms of CPU, one through a kept-alive connection a sixth of that.
    """
    return _signer_for(settings.S3_ENDPOINT_URL).url(key, expires, method="PUT")


def _signer_for(endpoint: str) -> Signer:
    return _cached_signer(
        endpoint,
        settings.S3_BUCKET,
        settings.S3_REGION,
        settings.S3_ACCESS_KEY_ID,
        settings.S3_SECRET_ACCESS_KEY,
        settings.S3_SESSION_TOKEN,
        settings.S3_ADDRESSING,
    )


_quote: Final = functools.partial(urllib.parse.quote, safe="-_.~")
_quoted_type: Final = functools.lru_cache(maxsize=256)(_quote)
_quote_path: Final = functools.partial(urllib.parse.quote, safe="/-_.~")
_PLAIN: Final = re.compile(r"[A-Za-z0-9 ._~-]+")
_UNSIGNED: Final = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class _Day:
    """What stays the same for all links of one day (UTC)."""

    name: str
    signing: hmac.HMAC
    scope: str
    query: str


@dataclass
class Signer:
    """Presigns requests with AWS Signature Version 4 in the query string, byte for byte as boto3 does.

    Source: "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)" in the Amazon S3 API
    Reference. The signing key of a day is kept, so a link costs two hashes. No request is made.
    """

    endpoint: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
    token: str = ""
    addressing: str = "path"
    _host: str = field(init=False)
    _base: str = field(init=False)
    _path: str = field(init=False)
    _day: _Day = field(init=False, repr=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.endpoint)
        is_virtual = self.addressing == "virtual" and _can_be_host(self.bucket, parts.hostname or "")
        netloc = f"{self.bucket}.{parts.netloc}" if is_virtual else parts.netloc
        default_port = {"http": ":80", "https": ":443"}[parts.scheme]
        self._host = netloc.removesuffix(default_port).lower()
        self._base = f"{parts.scheme}://{netloc}"
        self._path = parts.path.rstrip("/") + ("/" if is_virtual else f"/{self.bucket}/")
        self._day = self._new_day("19700101")

    def url(
        self,
        key: str,
        expires: int = 900,
        *,
        filename: str | None = None,
        content_type: str | None = None,
        disposition_type: str = "attachment",
        now: float | None = None,
        method: str = "GET",
    ) -> str:
        """A link for one ``method``, valid ``expires`` seconds (1 … 604800) from ``now`` (Unix time, default now)."""
        if not 1 <= expires <= _MAX_EXPIRES:
            raise ValueError(f"a signed link lasts 1 … {_MAX_EXPIRES} seconds, not {expires}")
        stamp = _stamp(int(time.time() if now is None else now))
        day = self._day  # read and replaced whole, so threads see one day or the other
        if day.name != stamp[:8]:
            self._day = day = self._new_day(stamp[:8])
        overrides = ""
        if filename is not None:
            overrides = f"response-content-disposition={_quote(disposition(filename, disposition_type))}&"
        if content_type is not None:
            overrides += f"response-content-type={_quoted_type(content_type)}&"
        signed = f"{day.query}&X-Amz-Date={stamp}&X-Amz-Expires={expires}"
        token = f"&X-Amz-Security-Token={_quote(self.token)}" if self.token else ""
        path = self._path + _quote_path(key)
        # The signature wants the parameters sorted; in the link they stand as boto3 writes them.
        canonical = (
            f"{method}\n{path}\n{signed}{token}&X-Amz-SignedHeaders=host{'&' if overrides else ''}{overrides[:-1]}\n"
            f"host:{self._host}\n\nhost\n{_UNSIGNED}"
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{day.scope}\n{digest}"
        signature = day.signing.copy()  # nine times cheaper than to begin with the key again
        signature.update(to_sign.encode())
        signed += f"&X-Amz-SignedHeaders=host{token}&X-Amz-Signature={signature.hexdigest()}"
        return f"{self._base}{path}?{overrides}{signed}"

    def _new_day(self, name: str) -> _Day:
        key = f"AWS4{self.secret_key}".encode()
        for part in (name, self.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        scope = f"{name}/{self.region}/s3/aws4_request"
        credential = _quote(f"{self.access_key}/{scope}")
        signing = hmac.new(key, digestmod="sha256")
        return _Day(name, signing, scope, f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}")


@functools.lru_cache(maxsize=8)
def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))


def _can_be_host(bucket: str, host: str) -> bool:
    """Whether ``bucket.host`` is a name that resolves and whose certificate fits; boto3 too falls back to the path."""
    return not net.parse_address(host) and re.fullmatch("[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", bucket) is not None


_cached_signer = functools.lru_cache(maxsize=8)(Signer)


def disposition(filename: str, kind: str = "attachment") -> str:
    """A ``Content-Disposition`` value (RFC 6266) that every browser understands and nobody can break out of.

    Control characters, quotes, backslashes and slashes become ``_``; ``filename*`` (RFC 8187) keeps the Unicode.
    """
    if _PLAIN.fullmatch(filename):  # most names, at a fraction of the cost
        return f"{kind}; filename=\"{filename}\"; filename*=UTF-8''{filename.replace(' ', '%20')}"
    safe = "".join("_" if char in '"\\/' or not char.isprintable() else char for char in filename) or "download"
    plain = "".join(char if char.isascii() and char != "%" else "_" for char in safe)
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{urllib.parse.quote(safe, safe='')}"
