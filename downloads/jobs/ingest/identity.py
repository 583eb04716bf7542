"""Who a row is: its recordset, its identifiers, its uuid (contract 6.2)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from downloads.formats import archive_in

_VERSION_SUFFIX = re.compile(r"/v?\d+(\.\d+)*$")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_LONGEST = 600
"""Characters of an identifier; a longer one is kept as its beginning and its UUIDv5 (a btree entry holds 2.7 KB)."""


def as_uuid(text: str) -> uuid.UUID | None:
    """The uuid a text consists of, in any letter case and with or without `urn:uuid:`; else None."""
    text = text.strip().lower().removeprefix("urn:uuid:")
    return uuid.UUID(text) if _UUID.fullmatch(text) else None


def uuids_in(text: str) -> list[str]:
    """Every uuid that occurs in a text, lower-cased, in order."""
    return [found.lower() for found in _UUID.findall(text)]


def recordset_of(archive: archive_in.Archive, given: uuid.UUID | None) -> uuid.UUID:
    """Option, else EML `packageId`, else the source's name; what is no uuid becomes a UUIDv5 in the URL namespace.

    The version a packageId may end in is not part of a collection's identity.
    """
    if given is not None:
        return given
    name = _VERSION_SUFFIX.sub("", archive.package_id) or archive.package_id or archive.name
    return as_uuid(name) or uuid.uuid5(uuid.NAMESPACE_URL, name)


def _text(raw: Mapping[str, Any], *names: str) -> str:
    for name in names:
        value = raw.get(name)
        if value and isinstance(value, str):
            return value
    return ""


def kept(identifier: str) -> str:
    """An identifier as it is stored and compared."""
    identifier = identifier.replace("\ufeff", "").strip().lower()
    if len(identifier) <= _LONGEST:
        return identifier
    return f"{identifier[:_LONGEST]}…{uuid.uuid5(uuid.NAMESPACE_URL, identifier)}"


def record_identifiers(raw: Mapping[str, Any], recordset: str) -> list[str]:
    """Identifiers of a record row, the best first."""
    found = [_text(raw, "idigbio:recordId", "idigbio:recordID")]
    found += [f"{recordset}\\{local}" for name in ("dwc:occurrenceID", "id") if (local := _text(raw, name))]
    return list(dict.fromkeys(kept(each) for each in found if each))


def media_identifiers(raw: Mapping[str, Any], recordset: str) -> list[str]:
    """Identifiers of a media row, the best first."""
    found = [_text(raw, "idigbio:recordId", "idigbio:recordID"), _text(raw, "ac:providerManagedID")]
    if local := _text(raw, "dcterms:identifier"):
        found.append(f"{recordset}\\media\\{local}")
    return list(dict.fromkeys(kept(each) for each in found if each))


def given_uuid(raw: Mapping[str, Any]) -> uuid.UUID | None:
    """The uuid the row itself names; it needs no other identifier."""
    said = _text(raw, "idigbio:uuid")
    return as_uuid(said) if said else None


def made_uuid(recordset: uuid.UUID, identifiers: list[str]) -> uuid.UUID:
    """The uuid of a row that names none; one known for an identifier goes before."""
    return uuid.uuid5(recordset, identifiers[0])
