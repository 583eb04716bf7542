"""The bytes of a request's path, before Django reads them.

Django decodes `PATH_INFO` in place and re-escapes what is not UTF-8, so that `%FF` and a literal `%25FF` look alike
afterwards. The signal that starts a request is sent just before; this keeps the original there.
"""

from __future__ import annotations

from typing import Any

from django.core import signals
from django.http import HttpRequest

KEPT = "usermgmt.path_info"


def keep(environ: dict[str, Any] | None = None, **_kwargs: Any) -> None:
    """Receiver of `request_started`: remember the path as the server gave it (PEP 3333: a character a byte)."""
    if environ is not None:
        environ[KEPT] = environ.get("PATH_INFO", "")


def of(request: HttpRequest) -> bytes:
    """The percent-decoded path of a request, as bytes."""
    return str(request.META[KEPT]).encode("latin-1")


def connect() -> None:
    """Have every request's path kept."""
    signals.request_started.connect(keep, dispatch_uid=KEPT)
