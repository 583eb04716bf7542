"""What can be done: ask for a download, withdraw, look, list, estimate, cite; bring archives in; hide a recordset."""

from downloads.services.ask import Caller, Placed, request_download, since_version
from downloads.services.estimates import Estimate, estimate
from downloads.services.ingests import import_archive, set_public, upload_archive
from downloads.services.look import Delivery, cite, deliver, find, known_provider_terms, owned, position
from downloads.services.operate import cancel_all, expire_now, pin, resend, retry_failed, withdraw

__all__ = [
    "Caller",
    "Delivery",
    "Estimate",
    "Placed",
    "cancel_all",
    "cite",
    "deliver",
    "estimate",
    "expire_now",
    "find",
    "import_archive",
    "known_provider_terms",
    "owned",
    "pin",
    "position",
    "request_download",
    "resend",
    "retry_failed",
    "set_public",
    "since_version",
    "upload_archive",
    "withdraw",
]
