"""One accepted download request, validated: what the faces hand to `services` (contract §2.2, §2.4, §3.1)."""

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

from downloads.selectors import hashes

Face = Literal["seed", "v2"]
CORE_TYPES = ("records", "mediarecords", "uniquelocality", "uniquenames")
CORE_SOURCES = ("indexterms", "raw")
FORMS = ("csv", "tsv", "dwca-csv", "dwca-tsv", "parquet", "geojson")
COMPRESSIONS = ("fast", "small")


@dataclass(frozen=True, kw_only=True)
class DownloadRequest:
    """A request after validation.

    `rq` and `mq` are the queries as this caller sent them (key order, case and number form kept; None = not given);
    `normal_rq` and `normal_mq` are their normalised forms, which are queries themselves: store those with the build
    and compile them with `selectors.sql`. `fault` is only set when DOWNLOADS_STRICT is off: the sentence with which the
    job must fail without any work.
    """

    face: Face
    rq: dict[str, Any] | None
    mq: dict[str, Any] | None = None
    normal_rq: dict[str, Any] | None = None
    normal_mq: dict[str, Any] | None = None
    core_type: str = "records"
    core_source: str = "indexterms"
    form: str = "dwca-csv"
    record_fields: list[str] | None = None
    mediarecord_fields: list[str] | None = None
    email: str = ""
    source: str = ""
    force: bool = False
    compression: str = "fast"
    webhook: str = ""
    since: str = ""
    spreadsheet_safe: bool = False
    fault: str = ""

    @cached_property
    def seven(self) -> dict[str, Any]:
        """The object of seven that v2 bodies show as `query` and that `hash` covers."""
        return {
            "core_source": self.core_source,
            "core_type": self.core_type,
            "form": self.form,
            "mediarecord_fields": self.mediarecord_fields,
            "mq": self.mq,
            "record_fields": self.record_fields,
            "rq": self.rq,
        }

    @cached_property
    def query_hash(self) -> str:
        """SHA-1 of the bare record query; of `{}` if there is none."""
        return hashes.query_hash({} if self.rq is None else self.rq)

    @cached_property
    def hash(self) -> str:
        """SHA-1 of the object of seven."""
        return hashes.query_hash(self.seven)

    def request_key(self, data_version: int) -> str:
        """SHA-256 hex; equal if and only if the same caller would get the same job (contract §3.1).

        The normal forms are in it because the canonical ones sort every list, corners and coordinates too.
        """
        sent = [hashes.canonical(self.rq), hashes.canonical(self.mq)]
        return hashes.digest([*sent, self.normal_rq, self.normal_mq, *self._rest(data_version)])

    def build_key(self, data_version: int) -> str:
        """SHA-256 hex; equal for equivalent spellings, which share one build (contract §3.1)."""
        return hashes.digest([self.normal_rq, self.normal_mq, *self._rest(data_version)])

    def _rest(self, data_version: int) -> list[Any]:
        return [
            self.core_type,
            self.core_source,
            self.form,
            self._fields(self.record_fields),
            self._fields(self.mediarecord_fields),
            self.compression,
            self.since,
            self.spreadsheet_safe,
            self.fault,
            data_version,
        ]

    @staticmethod
    def _fields(names: list[str] | None) -> list[str] | None:
        return None if names is None else sorted(set(names))  # columns are sorted in every file (§5.1)

    def to_json(self) -> str:
        """Everything as JSON text (order and number form of the queries kept: store as text, not as jsonb)."""
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`; raises ValueError, TypeError or KeyError on unreadable text (state UNKNOWN)."""
        return cls(**json.loads(text))
