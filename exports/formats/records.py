"""Reading what clients and files send: a record's fields checked and brought into our own shape.

Pure: used at the API's edge and by imports alike. Each reader returns only the fields the record mentions, and raises
``errors.Invalid`` with every faulty field in ``fields``.
"""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from core import errors
from exports.formats import addresses, documents

Json = dict[str, Any]
Reader = Callable[[Any], Any]

ACCESS = ("View", "Edit", "None")


class Fault(Exception):
    """One field is wrong."""


def read(data: Json, readers: Mapping[str, tuple[str, Reader]], *, required: tuple[str, ...] = ()) -> Json:
    """Fields of ``data`` through their readers; ``readers`` maps a wire name to (our name, reader)."""
    faults: dict[str, list[str]] = {}
    found: Json = {}
    for wire, (name, reader) in readers.items():
        if wire not in data:
            continue
        try:
            found[name] = reader(data[wire])
        except Fault as fault:
            faults[wire] = [str(fault)]
    for wire in required:
        if wire not in data or data[wire] in (None, ""):
            faults.setdefault(wire, ["This field is required."])
    if faults:
        raise errors.Invalid("Some fields are wrong.", fields=faults)
    return found


def text(value: Any) -> str | None:
    """Any text or null; numbers are taken as text, as the original did."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise Fault("Not a valid string.")


def at_most(length: int, reader: Reader) -> Reader:
    """The same for a text of so many characters at most."""

    def read_short(value: Any) -> Any:
        found = reader(value)
        if isinstance(found, str) and len(found) > length:
            raise Fault(f"Ensure this field has no more than {length} characters.")
        return found

    return read_short


def word(value: Any) -> str:
    """A text that is not empty."""
    found = text(value)
    if not found or not found.strip():
        raise Fault("This field may not be blank.")
    return found


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is None:
        return False
    raise Fault("Must be a valid boolean.")


def mapping(value: Any) -> Json | None:
    if value is None or isinstance(value, dict):
        return value
    raise Fault("Expected an object.")


def anything(value: Any) -> Any:
    return value


def number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # JSON's integers are of any length
            return float(value)
    raise Fault("A valid number is required.")


def access(value: Any) -> str:
    if value in ACCESS:
        return str(value)
    raise Fault(f'"{value}" is not a valid choice.')


def mnemonic(value: Any) -> str:
    if isinstance(value, str) and addresses.is_mnemonic(value):
        return value
    raise Fault("Enter a valid id: letters, digits and . _ @ - only, at most 100.")


def version_name(value: Any) -> str:
    found = mnemonic(value)
    if found in addresses.RESERVED_VERSIONS:
        raise Fault(f'"{found}" is reserved.')
    return found


def row_id(value: Any) -> str:
    found = text(value)
    if found is None or not addresses.is_row_id(found):
        raise Fault("Enter a valid id: at most 255 characters, none of them a control character.")
    return found


def locales(value: Any) -> list[str]:
    """A list, or one text with commas."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise Fault("Expected a list of locales.")


def _labels(kind: str, value: Any) -> list[Json]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Fault("Expected a list of objects.")
    return [label(kind, item) for item in value]


def label(kind: str, given: Json) -> Json:
    """A name or description as sent, its fields checked; keys it does not mention are left to the writer."""
    try:
        checked: Json = {kind: word(given.get(kind)), "locale": word(given.get("locale"))}
        for field in ("uuid", "external_id", f"{kind}_type", "retire_reason", "checksum"):
            if given.get(field) is not None:
                checked[field] = text(given[field])
        if "uuid" in checked:
            checked["uuid"] = _short(checked["uuid"])
        for field in ("locale_preferred", "retired"):
            if field in given:
                checked[field] = boolean(given[field])
    except Fault as fault:
        raise Fault(f"Each {kind} needs a {kind} and a locale: {fault}") from None
    return checked


def _short(value: str | None) -> str | None:
    if value and len(value) > 100:
        raise Fault("uuid is too long.")
    return value


def names(value: Any) -> list[Json]:
    if value in (None, []):
        raise Fault("A concept must have at least one name.")
    return _labels("name", value)


def descriptions(value: Any) -> list[Json]:
    return _labels("description", value or [])


def urls(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list) and all(_concept(item) for item in value):
        return value
    raise Fault("Expected a list of concept URLs.")


def concept_url(value: Any) -> str:
    found = _concept(value)
    if found is None:
        raise Fault("Expected the URL of a concept.")
    return found.row_url


def _concept(value: Any) -> addresses.Expression | None:
    found = addresses.expression(value) if isinstance(value, str) else None
    return found if found is not None and found.rows == "concepts" and found.row_id else None


def source_url(value: Any) -> str | None:
    """The URL of a target source: of ours with its slash, or any other text as sent."""
    found = text(value)
    place = addresses.place(found)
    return place.repo_url if place else found


def same(name: str, reader: Reader) -> tuple[str, Reader]:
    return name, reader


CONCEPT: dict[str, tuple[str, Reader]] = {
    "concept_class": ("concept_class", word),
    "datatype": ("datatype", word),
    "names": ("names", names),
    "descriptions": ("descriptions", descriptions),
    "extras": ("extras", mapping),
    "external_id": ("external_id", text),
    "retired": ("retired", boolean),
    "parent_concept_urls": ("parents", urls),
    "update_comment": ("update_comment", text),
    "retire_reason": ("retire_reason", text),
}
MAPPING: dict[str, tuple[str, Reader]] = {
    "map_type": ("map_type", word),
    "from_concept_url": ("from_url", concept_url),
    "from_concept_name": ("from_name", text),
    "from_source_version": ("from_source_version", text),
    "to_concept_url": ("to_url", text),
    "to_source_url": ("to_source_url", source_url),
    "to_concept_code": ("to_code", text),
    "to_concept_name": ("to_name", text),
    "to_source_version": ("to_source_version", text),
    "sort_weight": ("sort_weight", number),
    "extras": ("extras", mapping),
    "external_id": ("external_id", text),
    "retired": ("retired", boolean),
    "update_comment": ("update_comment", text),
    "retire_reason": ("retire_reason", text),
}
REPO: dict[str, tuple[str, Reader]] = {
    "name": ("name", word),
    "full_name": ("full_name", text),
    "description": ("description", text),
    "custom_validation_schema": ("custom_validation_schema", text),
    "public_access": ("public_access", access),
    "default_locale": ("default_locale", at_most(50, word)),
    "supported_locales": ("supported_locales", locales),
    "website": ("website", text),
    "extras": ("extras", mapping),
    "external_id": ("external_id", text),
}
VERSION: dict[str, tuple[str, Reader]] = {
    "released": ("released", boolean),
    "retired": ("retired", boolean),
    "description": ("description", text),
    "extras": ("extras", mapping),
    "external_id": ("external_id", text),
}
ORGANIZATION: dict[str, tuple[str, Reader]] = {
    "name": ("name", at_most(255, word)),
    "public_access": ("public_access", access),
    **{key: (key, text) for key in ("company", "website", "location", "logo_url", "description", "text")},
    "extras": ("extras", mapping),
}


def concept(data: Json, *, is_new: bool) -> Json:
    """Changes to a concept. A new one needs a class and a name."""
    changes = read(data, CONCEPT, required=("concept_class",) if is_new else ())
    if is_new and "names" not in changes:
        raise errors.Invalid("No names.", fields={"names": ["A concept must have at least one name."]})
    return _filled(changes)


def mapping_changes(data: Json, *, is_new: bool) -> Json:
    """Changes to a mapping. A new one needs a type, an origin and a target."""
    changes = read(data, MAPPING, required=("map_type", "from_concept_url") if is_new else ())
    target = changes.pop("to_url", None) if "to_url" in changes else None
    found = addresses.expression(target) if target else None
    if found and found.row_id and found.rows == "concepts":
        changes |= {"to_source_url": found.place.repo_url, "to_code": found.row_id, "to_url": None}
    elif target:
        raise errors.Invalid("Bad target.", fields={"to_concept_url": ["Expected the URL of a concept."]})
    if is_new and not changes.get("to_source_url"):
        raise errors.Invalid("No target.", fields={"to_concept_url": ["A mapping needs a target concept or source."]})
    return _filled(changes)


def _filled(changes: Json) -> Json:
    return {key: (value if value is not None or key != "extras" else {}) for key, value in changes.items()}


def repo(data: Json, *, kind: str, is_new: bool) -> Json:
    """Changes to a repository; what has no column of its own goes under ``details``."""
    readers = {**REPO, f"{kind}_type": ("repo_type", text)}
    details = {key: (key, anything) for key in documents.DETAILS[kind]}
    changes = _filled(read(data, readers, required=("name",) if is_new and not data.get("id") else ()))
    extra = read(data, details)
    return {**changes, **({"details": extra} if extra else {})}


def version(data: Json) -> Json:
    return _filled(read(data, VERSION))


def organization(data: Json) -> Json:
    return _filled(read(data, ORGANIZATION))


def identity(data: Json, reader: Reader, *, field: str = "id") -> str:
    """The id a new thing is to have."""
    return str(read(data, {field: ("id", reader)}, required=(field,))["id"])
