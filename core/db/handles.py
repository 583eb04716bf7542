"""What every function takes as `using` and `params`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

Using = str | BaseDatabaseWrapper
Params = Sequence[Any] | dict[str, Any]


def connection_of(using: Using) -> BaseDatabaseWrapper:
    """The open connection, or the one of an alias."""
    return connections[using] if isinstance(using, str) else using
