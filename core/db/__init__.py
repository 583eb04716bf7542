"""PostgreSQL where the ORM is the wrong tool: COPY both ways, snapshots, locks, time limits.

COPY moves bytes between the server and a sink in blocks; nothing is decoded on the way. Every function takes
``using``, a database alias or an open connection such as ``Snapshot.connection``. Errors of the driver come out as
Django's (``django.db.OperationalError`` …); errors of a sink come out unchanged.
"""

from core.db.copying import Readable, copy_in, copy_line, copy_out, copy_out_binary, copy_out_columns, copy_rows
from core.db.handles import Params, Using
from core.db.locks import (
    advisory_lock,
    again_after_deadlock,
    session_lock,
    session_unlock,
    statement_timeout,
    try_advisory_lock,
)
from core.db.plans import prepared
from core.db.snapshots import Snapshot, snapshot

__all__ = [
    "Params",
    "Readable",
    "Snapshot",
    "Using",
    "advisory_lock",
    "again_after_deadlock",
    "copy_in",
    "copy_line",
    "copy_out",
    "copy_out_binary",
    "copy_out_columns",
    "copy_rows",
    "prepared",
    "session_lock",
    "session_unlock",
    "snapshot",
    "statement_timeout",
    "try_advisory_lock",
]
