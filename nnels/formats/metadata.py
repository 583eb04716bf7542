"""What can be said of a title, whoever says it: a sidecar row, an EPUB package, a DAISY book or a file name."""

import dataclasses
import re
import uuid as uuids
from typing import Any

from core import errors
from nnels.formats import dates, isbn, languages

LABEL_LENGTH = 255
DESCRIPTION_LENGTH = 100_000
LIST_LENGTH = 200
#: characters of one creator, subject or narrator: an index takes no entry beyond some 2,700 bytes
VALUE_LENGTH = 500

# Namespace of UUIDs derived from other identifiers, ISBNs and paths (UUIDv5, RFC 9562): a re-run finds its title.
NAMESPACE = uuids.uuid5(uuids.NAMESPACE_URL, "urn:quincunx:nnels")


class Rejected(errors.Invalid):
    """A title or file that cannot be taken; `code` is one of the report's reasons (contract section 6)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason.replace("_", " "), code=reason)


ACCESSIBILITY_LISTS = (
    "accessMode",
    "accessModeSufficient",
    "accessibilityFeature",
    "accessibilityHazard",
    "conformsTo",
)


@dataclasses.dataclass
class Metadata:
    """Fields of a title; empty means "not said here". Lists keep their order, without repeats."""

    uuid: str = ""
    identifiers: list[str] = dataclasses.field(default_factory=list)
    title: str = ""
    creators: list[str] = dataclasses.field(default_factory=list)
    languages: list[str] = dataclasses.field(default_factory=list)
    isbn: list[str] = dataclasses.field(default_factory=list)
    published_date: str = ""
    publisher: str = ""
    publisher_place: str = ""
    description: str = ""
    subjects: list[str] = dataclasses.field(default_factory=list)
    narrators: list[str] = dataclasses.field(default_factory=list)
    narration: str = ""
    duration: int | None = None
    series: str = ""
    edition: str = ""
    audience: str = ""
    rights: str = ""
    published: bool | None = None
    accessibility: dict[str, Any] = dataclasses.field(default_factory=dict)
    files: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)

    def add_isbn(self, text: str) -> None:
        """Keep a valid ISBN as 13 digits; warn of any other."""
        number = isbn.to_13(text)
        if number is None:
            self.warnings.append(f"bad_isbn: {clean(text)[:40]}")
        elif number not in self.isbn:
            self.isbn.append(number)

    def set_date(self, text: str) -> None:
        """Keep the partial date found in a text; warn when there is none."""
        found = dates.find(text)
        if found is None:
            self.warnings.append(f"bad_date: {clean(text)[:40]}")
        elif not self.published_date:
            self.published_date = found

    def add_language(self, text: str) -> None:
        """Keep a language as its ISO 639-2/T code; unknown text is dropped."""
        code = languages.to_t(text)
        if code and code not in self.languages:
            self.languages.append(code)

    def add_identifier(self, text: str) -> None:
        """An identifier of a package: a UUID, an ISBN or some other."""
        value = clean(text)
        if not value:
            return
        if found := find_uuid(value):
            self.uuid = self.uuid or found
        elif isbn.to_13(value) or value.lower().startswith(("isbn", "urn:isbn")):
            self.add_isbn(value)
        else:
            self.identifiers.append(value)


def merge(sources: list[Metadata]) -> Metadata:
    """Per field the first source that says something wins; warnings add up; accessibility wins key by key."""
    merged = Metadata()
    for source in sources:
        for field in dataclasses.fields(Metadata):
            value = getattr(source, field.name)
            if field.name == "warnings":
                merged.warnings += value
            elif field.name == "accessibility":
                merged.accessibility = {**value, **merged.accessibility}
            elif getattr(merged, field.name) in ("", [], None) and value not in ("", [], None):
                setattr(merged, field.name, value)
    return merged


def resolve_uuid(merged: Metadata, *, relative_path: str) -> uuids.UUID:
    """UUID of a title: said outright, else derived from another identifier, the ISBN, or the relative path."""
    if merged.uuid:
        return uuids.UUID(merged.uuid)
    seed = next(iter(merged.identifiers or merged.isbn), f"path:{relative_path}")
    return uuids.uuid5(NAMESPACE, seed)


def find_uuid(text: str) -> str:
    """A UUID with or without `urn:uuid:`, lower case; empty when the text is none."""
    match = re.fullmatch(
        r"\s*(?:urn:uuid:|uuid:)?\{?([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})\}?\s*", text, re.IGNORECASE
    )
    return match[1].lower() if match else ""


def clean(text: str | None) -> str:
    """White space collapsed, characters that no store takes (NUL, controls, lone surrogates) dropped."""
    if not text:
        return ""
    visible = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", text)
    return " ".join(visible.split())


def unique(values: list[str]) -> list[str]:
    """Cleaned, non-empty, without repeats, at most `LIST_LENGTH` of `VALUE_LENGTH` characters."""
    return list(dict.fromkeys(value[:VALUE_LENGTH] for value in map(clean, values) if value))[:LIST_LENGTH]


def strip_tags(html: str) -> str:
    """Plain text of an HTML fragment; scripts and styles go with their content."""
    without = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>", " ", html)
    text = re.sub(r"(?s)<[^<>]*>", " ", without)
    for entity, mark in (
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", '"'),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ):
        text = text.replace(entity, mark)
    return clean(text)[:DESCRIPTION_LENGTH]
