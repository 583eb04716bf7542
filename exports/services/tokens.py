"""Logging in for a token, and issuing one by hand."""

from django.contrib.auth import authenticate

from core import auth, errors, throttle
from core.models import ApiToken, User

AUDIENCE = "exports"
KEPT = 10
TRIES = 10
WINDOW = 60


def log_in(*, username: str, password: str, address: str) -> str:
    """A fresh token; the ten newest stay. More than ten tries a minute per address or name are refused."""
    counted = (f"address:{address}", f"name:{username.lower()}")
    waits = [throttle.hit("exports.login", key, TRIES, WINDOW) for key in counted]
    if any(waits):
        raise errors.Throttled("Too many tries.", retry_after=max(waits))
    user = authenticate(username=username, password=password)
    if not isinstance(user, User):
        words = "Unable to log in with provided credentials."
        raise errors.Invalid(words, fields={"non_field_errors": [words]})
    return issue(user, label="login", keep=KEPT)[1]


def issue(user: User, *, label: str = "", keep: int | None = None) -> tuple[ApiToken, str]:
    """A token of 40 lower-case hex digits; its secret is told once."""
    return auth.issue_token(user, audience=AUDIENCE, shape="hex40", label=label, keep=keep)
