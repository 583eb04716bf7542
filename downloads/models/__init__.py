"""What the downloads app stores (contract 3.1): the specimen store, the downloads made from it, the ingests into it."""

from downloads.models.ingest import IngestRun, RejectedRow
from downloads.models.store import (
    Hiding,
    Identifier,
    MediaRecord,
    RawColumnSet,
    Record,
    RecordMedia,
    Recordset,
    StoreVersion,
)
from downloads.models.work import Build, BuildKey, BuildPart, Claim, Delta, Download, Notification, Quota, RequestKey

__all__ = [
    "Build",
    "BuildKey",
    "BuildPart",
    "Claim",
    "Delta",
    "Download",
    "Hiding",
    "Identifier",
    "IngestRun",
    "MediaRecord",
    "Notification",
    "Quota",
    "RawColumnSet",
    "Record",
    "RecordMedia",
    "Recordset",
    "RejectedRow",
    "RequestKey",
    "StoreVersion",
]
