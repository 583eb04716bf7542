"""What gunicorn's command line cannot say; see core.programs.web for the rest."""

import os
import shutil
import tempfile
from typing import Any

from gunicorn.http import message

# A query may stand in the address: downloads promises lines up to 32 KiB, gunicorn allows 8190 bytes at most.
limit_request_line = 40 * 1024
message.MAX_REQUEST_LINE = limit_request_line + 1

# Each process counts its requests in a file here, and whichever is scraped adds them up. Set before the application is
# imported, as its metrics choose then.
_counts = tempfile.mkdtemp(prefix="quincunx-metrics-")
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", _counts)


def on_exit(server: Any) -> None:
    """Called by gunicorn's first process when it ends."""
    shutil.rmtree(_counts, ignore_errors=True)
