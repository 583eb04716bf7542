"""OAuth 2 for programs (contract 2.6): client credentials, revocation (RFC 7009), introspection (RFC 7662).

oauthlib does the protocol; this module tells it who the clients are. Tokens are stored as SHA-256 only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from django.conf import settings
from django.utils import timezone
from oauthlib import oauth2
from oauthlib.common import add_params_to_qs
from oauthlib.oauth2.rfc6749 import endpoints, grant_types, tokens

from core import errors
from usermgmt.formats import networks, secrets
from usermgmt.models import AccessToken
from usermgmt.selectors import callers
from usermgmt.services import access

FORM = "application/x-www-form-urlencoded"
# The library refuses plain http; whether that is refused here was decided before, by `USERMGMT_REQUIRE_HTTPS`.
URI = "https://localhost/oauth2"


class Refused(errors.Fact):
    """A refusal in OAuth's words: `code` is its `error`, `message` its `error_description`."""

    def __init__(self, code: str, message: str, *, status: int = 400, client: int | None = None) -> None:
        super().__init__(message, code=code, client=client)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """A request as it came: form body, content type, query string, the Basic pair (undecoded), the caller's address."""

    body: bytes
    content_type: str
    query: str
    basic: tuple[str, str] | None
    has_authorization: bool
    address: networks.Address | None


def issue(asked: Asked) -> dict[str, Any]:
    """A new access token for the client whose credentials are shown. Raises `Refused` or `errors.Throttled`."""
    validator = _Validator(asked)
    grant = grant_types.ClientCredentialsGrant(validator)
    bearer = tokens.BearerToken(
        validator, token_generator=lambda _: secrets.new_token(), expires_in=settings.USERMGMT_TOKEN_SECONDS
    )
    # The stubs call the default token type a name; the library wants what makes such tokens.
    endpoint = endpoints.TokenEndpoint("client_credentials", bearer, {"client_credentials": grant})  # type: ignore[arg-type]
    answer = _run(endpoint.create_token_response, asked, validator)
    # The documented order of keys.
    return {key: answer[key] for key in ("access_token", "token_type", "expires_in", "scope")}


def revoke(asked: Asked) -> None:
    """Kill one of the caller's own tokens; unknown and foreign ones are passed over in silence."""
    validator = _Validator(asked)
    endpoint = endpoints.RevocationEndpoint(validator, supported_token_types=("access_token",))
    _run(endpoint.create_revocation_response, asked, validator)


def introspect(asked: Asked) -> dict[str, Any]:
    """What a token of the caller's own is worth; exactly `{"active": false}` for every other."""
    validator = _Validator(asked)
    endpoint = endpoints.IntrospectEndpoint(validator, supported_token_types=("access_token",))
    return _run(endpoint.create_introspect_response, asked, validator)


def presented(asked: Asked) -> access.Presented:
    """The pair a request shows, in the header or in the form. Raises `Refused` for a form that cannot be read."""
    return _Validator(asked).presented({} if asked.basic is not None else _form(asked))


def _run(respond: Any, asked: Asked, validator: _Validator) -> dict[str, Any]:
    form = _form(asked)
    access.check_failures(validator.presented(form), address=asked.address)
    body = add_params_to_qs("", list(form.items()))
    headers = {"Content-Type": FORM}
    _, content, status = respond(URI, http_method="POST", body=body, headers=headers)
    answer: dict[str, Any] = json.loads(content) if content else {}
    if status != 200:
        raise _refusal(answer, status, validator)
    return answer


def _form(asked: Asked) -> dict[str, str]:
    """The form's fields; parameters in the URL, repeated or unreadable ones are refused before any check."""
    if asked.query:
        raise Refused("invalid_request", "Parameters belong in the body, not in the URL.")
    if asked.content_type.partition(";")[0].strip().lower() != FORM:
        raise Refused("invalid_request", f"The body must be {FORM}.")
    try:
        pairs = parse_qsl(asked.body.decode(), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise Refused("invalid_request", "The body cannot be read.") from None
    form = dict(pairs)
    if len(form) < len(pairs):
        raise Refused("invalid_request", "A parameter is repeated.")
    if asked.has_authorization and ("client_secret" in form):
        raise Refused("invalid_request", "Send the credentials in the header or in the body, not in both.")
    if any("\0" in part for pair in pairs for part in pair):
        raise Refused("invalid_request", "The body cannot be read.")
    if asked.basic is not None and form.get("client_id", "") not in ("", unquote_plus(asked.basic[0])):
        raise Refused("invalid_request", "The header and the body name different clients.")
    # There is one kind of token, so that a hint at another helps nobody (RFC 7009 and 7662 let it be ignored).
    return {name: value for name, value in pairs if value and name != "token_type_hint"}


def _refusal(answer: dict[str, Any], status: int, validator: _Validator) -> Refused:
    code = answer["error"]
    if code == "invalid_client":
        status = 401
    described = answer.get("error_description") or DESCRIPTIONS.get(code, "")
    return Refused(code, described, status=status, client=validator.refused_client)


DESCRIPTIONS = {
    "invalid_client": "Unknown client, wrong secret, or an address that is not registered.",
    "invalid_scope": "The client may not use this scope.",
    "unauthorized_client": "The client is not approved.",
    "unsupported_grant_type": "Only client_credentials is supported.",
    "invalid_request": "The request cannot be understood.",
}


@dataclass(frozen=True)
class _Client:
    """A caller as oauthlib wants it: `client_id` is the key."""

    client_id: str
    caller: callers.Caller


class _Validator(oauth2.RequestValidator):
    """What oauthlib asks about clients, scopes and tokens."""

    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked = asked
        self.refused_client: int | None = None

    def presented(self, form: dict[str, str]) -> access.Presented:
        """The client's pair: RFC 6749, 2.3.1 has both parts of a Basic header form-encoded."""
        if self.asked.basic is not None:
            return access.Presented("basic", *map(unquote_plus, self.asked.basic))
        return access.Presented("basic", form.get("client_id", ""), form.get("client_secret", ""))

    def client_authentication_required(self, request: Any, *_: Any, **__: Any) -> bool:
        return True

    def authenticate_client(self, request: Any, *_: Any, **__: Any) -> bool:
        presented = self.presented(dict(request.decoded_body or []))
        try:
            caller = access.by_pair(presented.name, presented.secret)
            access.check_standing(caller, address=self.asked.address)
        except errors.Unauthenticated as fact:
            access.note_failure(presented, address=self.asked.address)
            self.refused_client = fact.details.get("client")
            if fact.code == "not_approved":
                raise oauth2.UnauthorizedClientError(request=request) from None
            return False
        access.check_rate(caller, presented, address=self.asked.address)
        request.client = _Client(client_id=caller.key, caller=caller)
        return True

    def validate_grant_type(self, client_id: Any, grant_type: str, *_: Any, **__: Any) -> bool:
        return grant_type == "client_credentials"

    def get_default_scopes(self, client_id: Any, request: Any, *_: Any, **__: Any) -> list[str]:
        return list(request.client.caller.scopes)

    def validate_scopes(self, client_id: str, scopes: list[str], client: Any, request: Any, *_: Any, **__: Any) -> bool:
        request.scopes = list(dict.fromkeys(scopes))
        return bool(scopes) and set(scopes) <= set(client.caller.scopes)

    def save_bearer_token(self, token: Any, request: Any, *_: Any, **__: Any) -> None:
        now = timezone.now()
        AccessToken.objects.create(
            client_id=request.client.caller.client_id,
            credential_id=request.client.caller.credential_id,
            sha256=secrets.token_digest(token["access_token"]),
            scopes=token["scope"].split(),
            issued_at=now,
            expires_at=now + timedelta(seconds=token["expires_in"]),
        )

    def revoke_token(self, token: str, token_type_hint: str, request: Any, *_: Any, **__: Any) -> None:
        own = AccessToken.objects.filter(client=request.client.caller.client_id)
        own.filter(sha256=secrets.token_digest(token)).delete()

    def introspect_token(
        self, token: str, token_type_hint: str, request: Any, *_: Any, **__: Any
    ) -> dict[str, Any] | None:
        caller = callers.by_token(secrets.token_digest(token))
        if caller is None or caller.client_id != request.client.caller.client_id or not caller.is_pair_live:
            return None
        assert caller.token_issued_at is not None  # noqa: S101 - found by token, so both are there
        assert caller.token_expires_at is not None  # noqa: S101
        return {
            "client_id": caller.key,
            # What the client was narrowed to since counts at each use.
            "scope": " ".join(scope for scope in caller.token_scopes if scope in caller.scopes),
            "token_type": "Bearer",
            "iat": int(caller.token_issued_at.timestamp()),
            "exp": int(caller.token_expires_at.timestamp()),
        }
