"""File names, links' paths and the content types of an export."""

import re
from datetime import datetime

from exports.formats import stamps

FORMATS = ("tgz", "zip", "tar", "ndjson")
STORED = ("tgz", "zip")
CONTENT_TYPES = {
    "tgz": "application/gzip",
    "zip": "application/zip",  # a known client compares this string exactly
    "tar": "application/x-tar",
    "ndjson": "application/x-ndjson",
}
_TRAP = re.compile("zip|tgz")


def filename(*, repo: str, version: str, stamp: datetime, form: str) -> str:
    """``CIEL_v2016-08-22.20160822101112.tgz`` (the doc's form, with the ending of its example)."""
    return f"{repo}_{version}.{stamps.digits(stamp)}.{form}"


def link_path(token: str, name: str) -> str:
    """Path of a one-time link. A known client takes the first ``([0-9]*).(tgz|zip)`` in the raw path as the date,
    so those letters are percent-encoded everywhere but in the ending."""
    stem, _, ending = name.rpartition(".")
    return f"/exports/dl/{token}/{_TRAP.sub(lambda m: f'%{ord(m[0][0]):02X}{m[0][1:]}', stem)}.{ending}"


def etag(form: str, *, tgz: str, zipped: str, json: str) -> str:
    """The entity tag, quoted; derived formats carry the hash they derive from."""
    return {"tgz": f'"{tgz}"', "zip": f'"{zipped}"', "tar": f'"{tgz}.tar"', "ndjson": f'"{json}.ndjson"'}[form]
