"""Columns Django does not have."""

import json
from typing import Any

from django.db import models


class JsonText(models.TextField[Any, Any]):
    """JSON kept as the text it was: jsonb reorders keys and rewrites numbers, and an export must give back both."""

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def from_db_value(self, value: str | None, *_: object) -> Any:
        return None if value is None else json.loads(value)

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else json.dumps(value, allow_nan=False)

    def to_python(self, value: Any) -> Any:
        return value


class Int8MultiRange(models.TextField[str, str]):
    """Byte ranges of a file already delivered, as PostgreSQL writes them: ``{[0,10),[20,30)}``."""

    def db_type(self, connection: object) -> str:
        return "int8multirange"
