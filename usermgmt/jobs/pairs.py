"""Making a pair, arming it with a secret, and the link that reveals it; parts of a caller's transaction."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from usermgmt.formats import peppers, secrets
from usermgmt.models import ApiClient, ClientCredential, RevealTicket

TICKET_LIFE = timedelta(days=7)


def make(client: ApiClient, *, slot: int = 1) -> ClientCredential:
    """A live pair without a secret."""
    return ClientCredential.objects.create(client=client, key=secrets.new_key(), slot=slot)


def arm(credential: ClientCredential) -> str:
    """Generate the pair's secret, keep its HMAC, return it in clear."""
    secret = secrets.new_secret()
    keep(credential, secret)
    return secret


def keep(credential: ClientCredential, secret: str) -> None:
    """Store of a secret what is needed to recognise it: HMAC, public prefix, last four characters."""
    credential.secret_hmac, credential.pepper_id = peppers.stored(secret)
    is_ours = secrets.is_secret(secret)
    # Of a secret made elsewhere nothing is shown: it may be short.
    credential.secret_prefix = secret[:8] if is_ours else ""
    credential.secret_last4 = secret[-4:] if is_ours else ""
    credential.save(update_fields=["secret_hmac", "pepper_id", "secret_prefix", "secret_last4"])


def ticket(credential: ClientCredential) -> str:
    """A single-use reveal link's token, valid for seven days."""
    token = secrets.new_ticket()
    RevealTicket.objects.create(
        credential=credential,
        token_sha256=secrets.token_digest(token),
        expires_at=timezone.now() + TICKET_LIFE,
    )
    return token
