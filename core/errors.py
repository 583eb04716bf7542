"""The closed family of domain errors.

A domain error states a fact: what went wrong. How it is said (status, body, headers) is decided by the
dialect of the app at whose edge it surfaces (see ``core.api``). No code below a view knows about HTTP.
"""

from __future__ import annotations

from typing import Any


class Fact(Exception):
    """Something that went wrong, said once.

    ``message`` is a plain English sentence; ``code`` a short machine word; ``field`` the input it concerns;
    ``details`` whatever the dialect may need to phrase its answer.
    """

    code = "error"

    def __init__(self, message: str = "", *, code: str = "", field: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.field = field
        self.details = details


class Invalid(Fact):
    """The input breaks a rule; nothing was changed."""

    code = "invalid"


class Unauthenticated(Fact):
    """The caller did not prove who they are."""

    code = "unauthenticated"


class Denied(Fact):
    """The caller is known but may not do this."""

    code = "denied"


class NotFound(Fact):
    """There is no such thing, or the caller may not know that there is."""

    code = "not_found"


class Conflict(Fact):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class Gone(Fact):
    """The thing existed and was removed."""

    code = "gone"


class TooLarge(Fact):
    """The input is larger than the limit; ``details["limit"]`` is that limit in bytes when known."""

    code = "too_large"


class Throttled(Fact):
    """The caller did this too often; ``retry_after`` is in whole seconds."""

    code = "throttled"

    def __init__(self, message: str = "", *, retry_after: int, code: str = "", field: str = "", **details: Any) -> None:
        super().__init__(message, code=code, field=field, **details)
        self.retry_after = max(1, retry_after)


class Unavailable(Fact):
    """A part the service needs (database, store, broker, remote host) does not answer; try again later."""

    code = "unavailable"

    def __init__(
        self, message: str = "", *, retry_after: int = 30, code: str = "", field: str = "", **details: Any
    ) -> None:
        super().__init__(message, code=code, field=field, **details)
        self.retry_after = max(1, retry_after)
