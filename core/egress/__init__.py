"""The guarded way out: HTTP to addresses somebody else chose (harvest sources, ingest URLs, webhooks, CKAN).

Only http and https, no user-info, no proxies from the environment. Every address a host name resolves to is checked on
every hop, and the connection goes to one of the checked addresses; there is no second look-up that could answer
something else. ``ALLOW_PRIVATE_NETWORKS`` lifts loopback, private and unique-local addresses, never link-local ones
or those where clouds serve credentials. Every request is bounded in redirects, bytes and seconds.

Errors: ``Blocked`` (may not go there), ``TooLarge`` (more bytes than asked for), ``Failed`` (no usable answer). Their
messages never contain anything the remote host sent.
"""

from core.egress.addresses import Blocked, Failed, Target, TooLarge, check_address, check_url, resolve
from core.egress.aio import connector
from core.egress.client import Response, Stream, get, post, request, stream

__all__ = [
    "Blocked",
    "Failed",
    "Response",
    "Stream",
    "Target",
    "TooLarge",
    "check_address",
    "check_url",
    "connector",
    "get",
    "post",
    "request",
    "resolve",
    "stream",
]
