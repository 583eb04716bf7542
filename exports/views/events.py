"""The state of an export as server-sent events (contract §10.6; the format is that of the HTML standard, §9.2).

A stream holds one of the web server's threads (gunicorn's gthread has a fixed number of them), so there are few of
them per process and none lasts long: a client that is not done comes back by itself after ``retry`` milliseconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from core import errors
from exports.formats import text
from exports.selectors import builds
from exports.serializers import exports as serializer
from exports.views import base, exports

#: seconds between two looks at the state; workers write it down at most every second
PAUSE = 1.0
#: looks without news after which a comment shows that both sides are still there
QUIET = 10
KIND = "text/event-stream"


class Events(exports.Status):
    """A ``status`` event with the status document whenever it changes; ``end`` once nothing is being built."""

    def get(self, request: Request, **_: Any) -> HttpResponseBase:
        self.choose_dialect()
        state = builds.state_of(self.version, self.variant())
        if state.active is None and "HTTP_LAST_EVENT_ID" in request.META:
            # a browser that was told the end asks again; 204 is how the standard makes it stop
            response: HttpResponseBase = HttpResponse(status=204)
            del response["Content-Type"]
            return response
        if request.method == "HEAD":
            response = base.headers_only(KIND)
        else:
            response = StreamingHttpResponse(Watch(state), content_type=KIND)
        response["X-Accel-Buffering"] = "no"
        return response


class DeltaEvents(exports.OfDelta, Events):
    """The same of a delta."""


class FhirEvents(exports.OfFhir, Events):
    """The same of the FHIR package."""


class TablesEvents(exports.OfTables, Events):
    """The same of the CSV files."""


#: the collector may free one stream while another one is being counted
_lock = threading.RLock()
_open = 0


class Watch:
    """One stream of events; holds its place among the few until it is closed."""

    def __init__(self, state: builds.ExportState) -> None:
        global _open
        self._over = threading.Event()
        self._over.set()  # it holds no place yet
        with _lock:
            if _open >= settings.EXPORTS_MAX_EVENT_STREAMS:
                raise errors.Unavailable("Too many streams of events are open.", retry_after=5)
            _open += 1
            self._over.clear()
        self._events = _told(state, self._over)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._events)

    def close(self) -> None:
        """Called by the server at the end of the response, however it ended."""
        global _open
        with _lock:
            _open -= not self._over.is_set()
            self._over.set()

    def __del__(self) -> None:
        """A response nobody closed must not keep its place for ever."""
        self.close()


def event(name: str, number: int, data: str) -> bytes:
    """One event; ``data`` is a single line."""
    return f"event: {name}\nid: {number}\ndata: {data}\n\n".encode()


def _told(state: builds.ExportState, over: threading.Event) -> Iterator[bytes]:
    until = time.monotonic() + settings.EXPORTS_EVENTS_SECONDS
    yield b"retry: 3000\n\n"
    told, number, quiet = "", 0, 0
    while True:
        document = text.dumps(serializer.document(state))
        quiet += 1
        if document != told:
            told, number, quiet = document, number + 1, 0
            yield event("status", number, document)
        elif quiet % QUIET == 0:
            yield b": nothing new\n\n"
        if state.active is None:
            yield event("end", number + 1, text.dumps({"status": state.status}))
            return
        if time.monotonic() >= until or over.wait(PAUSE):
            return
        state = builds.again(state)
