"""Secrets that turned up where they should not be (contract 10.9)."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

from core import errors, net, throttle
from usermgmt.formats import secrets
from usermgmt.jobs import mails
from usermgmt.models import ApiClient, ClientCredential
from usermgmt.services import clients

LIMIT, WINDOW = 60, 3_600


def report(secret: str, *, address: net.Address | None) -> None:
    """Suspend the client a reported secret belongs to and tell its owner and staff; never says whether it did."""
    wait = throttle.hit("usermgmt-leaks", net.throttle_key(address), limit=LIMIT, window=WINDOW)
    if wait:
        raise errors.Throttled(retry_after=wait)
    digests = [secrets.secret_hmac(secret, pepper) for _, pepper in settings.USERMGMT_SECRET_PEPPERS]
    live = ClientCredential.objects.select_related("client__owner").filter(revoked_at=None, secret_hmac__in=digests)
    for credential in live:
        _suspend(credential.client)


def _suspend(client: ApiClient) -> None:
    with transaction.atomic():
        try:
            clients.suspend(client, actor=None, reason="Its secret was reported as leaked.")
        except errors.Conflict:
            return  # suspended or ended already: the secret opens nothing
        mails.leaked(client)
