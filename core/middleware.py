"""What every request passes: an id and a log line, a content security policy, and the host names of single APIs."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.common import CommonMiddleware

from core import api, errors, metrics, views

log = structlog.get_logger("quincunx.request")

Handler = Callable[[HttpRequest], HttpResponseBase]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
PROBES = frozenset({"/livez", "/readyz", "/metrics"})
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)


class RequestLog:
    """Gives each request an id (the caller's ``X-Request-ID`` when it is well-formed) and logs one line for it."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        given = request.headers.get("X-Request-ID", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = self.get_response(request)
            seconds = time.perf_counter() - started
            app = _app_of(request)
            metrics.REQUESTS.labels(app=app, method=_known(request.method), status=str(response.status_code)).inc()
            metrics.SECONDS.labels(app=app).observe(seconds)
            log.info(
                "request",
                method=request.method,
                path=request.get_full_path(),
                status=response.status_code,
                milliseconds=round(seconds * 1000, 1),
                app=app,
            )
        response.headers.setdefault("X-Request-ID", request_id)
        return response


def _known(method: str | None) -> str:
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "other"


def _app_of(request: HttpRequest) -> str:
    match = request.resolver_match
    return match.func.__module__.partition(".")[0] if match else "none"


class ContentSecurityPolicy:
    """HTML pages may load only their own files, run no inline script and be framed by nobody."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        if response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", PAGE_POLICY)
        return response


class Hosts(CommonMiddleware):
    """Refuses host names that are not ours, as Django does, but not to probes.

    What starts, watches and scrapes the service (a container's health check, an orchestrator, Prometheus) asks by
    address; the answers name no host.
    """

    def process_request(self, request: HttpRequest) -> HttpResponseBase | None:  # type: ignore[override]
        return None if _is_probe(request) else super().process_request(request)


def _is_probe(request: HttpRequest) -> bool:
    return request.path_info.removesuffix("/") in PROBES


class Failures:
    """Pages say what is foreseeable: 503 while the database is away, 400 for what no database can be asked.

    The views of the APIs say it in the words of their API before this is asked (``core.api``).
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Called by Django for what a view raised; None has it become a 500."""
        if isinstance(exception, (OperationalError, InterfaceError, DataError)):
            return views.failed(request, api.as_fact(exception))
        if isinstance(exception, OverflowError) or (isinstance(exception, ValueError) and _is_of_a_filter(exception)):
            return views.failed(request, errors.Invalid("The request cannot be read."))
        return None


def _is_of_a_filter(exception: ValueError) -> bool:
    """The driver's refusal of NUL, and Python's of the year after its last; forms refuse both, the admin's do not."""
    return "NUL" in str(exception) or str(exception).startswith("year 10000 ")


class ApiHosts:
    """A host name of its own for an API (``API_HOSTS``) serves only that app's paths, at its root."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response
        self.urlconfs = {host.lower(): f"{app}.urls" for app, host in settings.API_HOSTS.items()}

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if self.urlconfs and not _is_probe(request):
            urlconf = self.urlconfs.get(request.get_host().partition(":")[0].lower())
            if urlconf is not None:
                request.urlconf = urlconf
        return self.get_response(request)
