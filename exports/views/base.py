"""What every view of this API does first: who calls, what is asked about, may they see it (contract §2.2, in order)."""

import gzip
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from isal import isal_zlib
from rest_framework.request import Request

from core import api, auth, errors, paging
from core.models import User
from exports import dialect
from exports.formats import addresses, archives, stamps, text
from exports.models import Repo, RepoVersion
from exports.models.repos import HEAD
from exports.selectors import access, repos

AUDIENCE = "exports"
_TRUE, _FALSE = ("true", "1", "yes", "t"), ("false", "0", "no", "f", "")
_HEX = re.compile(r"[0-9a-f]{40}", re.ASCII)
_JSON_TYPES = ("application/json", "text/json", "")


class View(api.View):
    """Base of the API's views. ``finds`` says what the path names: nothing, ``owner``, ``repo`` or ``version``."""

    dialect = dialect.DIALECT
    finds: ClassVar[str] = ""
    #: whether HEAD versions are refused before anything else is looked at
    refuses_head: ClassVar[bool] = False

    user: User | None = None
    owner_url: str | None = None
    repo: Repo
    version: RepoVersion

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Bad token 401 → unknown 404 → private 401/403 → HEAD version 405; the method and the rest come after."""
        if request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in request.META:
            return  # a browser's preflight carries no credentials and must not depend on them
        self.user = self.caller(request)
        self.owner_url = self._owner_url(**kwargs)
        self.find(**kwargs)
        access.check_api_access(self.user)

    def caller(self, request: Request) -> User | None:
        """The token's user; a bad token is refused even on public content, as the original did."""
        if "HTTP_AUTHORIZATION" not in request.META:
            return None
        secret = auth.authorization(request, "Token") or ""
        token = auth.resolve_token(AUDIENCE, secret) if _HEX.fullmatch(secret) else None
        if token is None:
            raise errors.Unauthenticated("Invalid token.")
        return token.user

    def _owner_url(self, *, org: str = "", username: str = "", own: bool = False, **_: Any) -> str | None:
        """``/orgs/O/`` or ``/users/U/``; ``/user/`` is the token's own."""
        if own:
            if self.user is None:
                raise errors.Unauthenticated
            return f"/users/{self.user.username}/"
        if org:
            return f"/orgs/{org}/"
        return f"/users/{username}/" if username else None

    def find(self, *, kind: str = "", repo: str = "", version: str = "", **_: Any) -> None:
        """Load what the path names and check that the caller may see it."""
        if self.finds not in ("repo", "version"):
            return
        uri = f"{self.owner_url}{kind}/{repo}/"
        found = self.load(uri, version)
        self.rights = access.over_repo(self.user, self.repo, member_of=repos.membership_of(found))
        self.rights.demand("read", self.user)
        if self.refuses_head and version == HEAD and self.request.method != "OPTIONS" and not self.takes_head():
            raise HeadRefused(self.request.method or "")

    def takes_head(self) -> bool:
        """Whether this caller is let at the HEAD version all the same."""
        return False

    def load(self, uri: str, version: str) -> Repo | RepoVersion:
        """The repository or version, with the viewer's membership."""
        if self.finds == "version":
            self.version = repos.version(uri, version, viewer=self.user)
            self.repo = self.version.repo
            return self.version
        self.repo = repos.repo(uri, viewer=self.user)
        return self.repo

    def demand(self, what: str) -> None:
        self.rights.demand(what, self.user)

    def signed_in(self) -> User:
        if self.user is None:
            raise errors.Unauthenticated
        return self.user

    # -- reading the request ------------------------------------------------------------------------------------

    def flag(self, name: str, *, default: bool = False) -> bool:
        return truth(name, self.request.query_params.get(name, default))

    def word(self, name: str, default: str = "") -> str:
        """A text parameter; one that no database can be asked for is refused."""
        value: str = self.request.query_params.get(name, default)
        if "\0" in value:
            raise errors.Invalid("Null characters are not allowed.", field=name)
        return value

    def whole_number(self, name: str, *, least: int = 0) -> int | None:
        value = self.request.query_params.get(name)
        return None if value is None else paging.whole_number(value, field=name, least=least)

    @property
    def zipped(self) -> bool:
        """``Compress: true``: the whole answer as a zip, paging off."""
        return self.request.META.get("HTTP_COMPRESS", "").lower() == "true" and self.request.method == "GET"

    def updated_since(self) -> Any:
        value = self.request.query_params.get("updatedSince")
        if not value:
            return None
        moment = stamps.parse(value)
        if moment is None:
            raise errors.Invalid(f'"{value}" is not a timestamp.', field="updatedSince")
        return moment

    def data(self, *, optional: bool = False) -> dict[str, Any]:
        """The JSON object of the body; an empty one may count as ``{}``."""
        kind = (self.request.content_type or "").split(";")[0].strip().lower()
        raw = api.body(self.request, limit=settings.EXPORTS_BODY_MAX_BYTES)
        if not raw and optional:
            return {}
        if kind not in _JSON_TYPES and not kind.endswith("+json"):
            raise api.UnsupportedMedia(f'Unsupported media type "{kind}" in request.')
        return parsed(raw)

    # -- writing the answer -------------------------------------------------------------------------------------

    def absolute(self, path: str) -> str:
        return dialect.absolute(self.request._request, path)

    def created(self, data: Any, url: str) -> HttpResponse:
        return dialect.json_response(data, status=201, headers={"Location": self.absolute(addresses.wire(url))})

    def finalize_response(self, request: Request, response: HttpResponseBase, *args: Any, **kwargs: Any) -> Any:
        finished = super().finalize_response(request, response, *args, **kwargs)
        if "HTTP_COMPRESS" in request.META and self.zipped and finished.status_code == 200:
            return zipped_json(finished)
        return squeezed(request, finished)


def truth(name: str, value: Any) -> bool:
    """A boolean as a parameter spells it."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in (*_TRUE, *_FALSE):
        raise errors.Invalid("Must be a valid boolean.", field=name)
    return word in _TRUE


class HeadRefused(errors.Fact):
    """Exports exist only for versions that do not change."""

    def __init__(self, method: str) -> None:
        super().__init__("Exports exist only for repository versions, not for HEAD.")
        self.details["headers"] = {"Allow": "OPTIONS"}


api.STATUS[HeadRefused] = 405


def parsed(raw: bytes) -> dict[str, Any]:
    """A JSON object a client sent; what cannot be stored is refused naming the field."""
    if text.too_deep(raw):
        raise errors.Invalid(f"JSON parse error - more than {text.MAX_DEPTH} levels", code="parse_error")
    try:
        value = _decode(raw)
    except (ValueError, RecursionError) as error:
        raise errors.Invalid(f"JSON parse error - {error}", code="parse_error") from None
    if not isinstance(value, dict):
        raise errors.Invalid("JSON parse error - an object is expected", code="parse_error")
    for name, item in value.items():
        problem = text.fault(name) or text.fault(item)
        if problem:
            raise errors.Invalid(problem, field=name if not text.fault(name) else "detail")
    return value


def _decode(raw: bytes) -> Any:
    return text.loads(raw.decode("utf-8-sig"))


def headers_only(kind: str, headers: dict[str, str] | None = None) -> HttpResponseBase:
    """The answer to a HEAD without working out the content; so nothing is said of its length (RFC 9110, 8.6)."""
    return StreamingHttpResponse(iter(()), content_type=kind, headers=headers)


def zipped_json(response: Any) -> Any:
    """A JSON answer as a zip with the one member ``export.json``; anything else as it is."""
    if not response.get("Content-Type", "").startswith("application/json"):
        return response
    if not response.streaming:
        response.content = b"".join(archives.zip_of(iter([response.content]), modified=timezone.now()))
    response["Content-Type"] = "application/zip"
    return response


def squeezed(request: Request, response: Any) -> Any:
    """gzip for JSON, when asked for and worth it; never for archives."""
    wants = api.accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", ""))
    if not wants or not response.get("Content-Type", "").startswith("application/json"):
        return response
    if response.has_header("Content-Encoding"):
        return response
    if response.streaming:
        response["Content-Encoding"] = "gzip"
        if request.method != "HEAD":
            response.streaming_content = packed(response.streaming_content)
        return response
    if len(response.content) < 500:
        return response
    response.content = gzip.compress(response.content, compresslevel=4, mtime=0)
    response["Content-Encoding"] = "gzip"
    if response.has_header("Content-Length"):
        response["Content-Length"] = str(len(response.content))
    return response


def packed(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """A stream in gzip. The first block is flushed at once, so that it leaves before the rest is read; a stream that
    breaks has no end a reader could take for one."""
    deflate, blocks = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31), iter(blocks)
    for block in itertools.islice(blocks, 1):
        yield deflate.compress(block) + deflate.flush(zlib.Z_SYNC_FLUSH)
    for block in blocks:
        if squeezed_block := deflate.compress(block):
            yield squeezed_block
    yield deflate.flush()
