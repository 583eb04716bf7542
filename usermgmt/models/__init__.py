"""What this app stores: APIs and their clients, credentials, services on accounts, and the books kept of use."""

from usermgmt.models.accounts import AddressCheck, FoundCount
from usermgmt.models.clients import Api, ApiClient, ApiLink, ClientChangeRequest, ClientEvent, ClientNetwork, Maintainer
from usermgmt.models.credentials import AccessToken, ClientCredential, RevealTicket
from usermgmt.models.services import Service, ServiceRequest, ServiceRequestEvent, UserService
from usermgmt.models.usage import ClientDailyUsage, SearchAudit

__all__ = [
    "AccessToken",
    "AddressCheck",
    "Api",
    "ApiClient",
    "ApiLink",
    "ClientChangeRequest",
    "ClientCredential",
    "ClientDailyUsage",
    "ClientEvent",
    "ClientNetwork",
    "FoundCount",
    "Maintainer",
    "RevealTicket",
    "SearchAudit",
    "Service",
    "ServiceRequest",
    "ServiceRequestEvent",
    "UserService",
]
