"""CSV and TSV tables of titles beside their files (contract section 6)."""

import csv
import dataclasses
import io

from nnels.formats import dates, marc, metadata, xml

COLUMNS = (
    "uuid", "isbn", "title", "creators", "languages", "published_date", "publisher", "place", "description", "subjects",
    "narrators", "narration", "duration", "series", "edition", "audience", "rights", "published", "access_mode",
    "access_mode_sufficient", "accessibility_feature", "accessibility_hazard", "accessibility_summary", "conforms_to",
    "files",
)  # fmt: skip
_ACCESSIBILITY = {
    "access_mode": "accessMode",
    "access_mode_sufficient": "accessModeSufficient",
    "accessibility_feature": "accessibilityFeature",
    "accessibility_hazard": "accessibilityHazard",
    "conforms_to": "conformsTo",
}
_YES = frozenset({"1", "true", "yes", "y", "oui"})
_NO = frozenset({"0", "false", "no", "n", "non"})


class Unreadable(ValueError):
    """The sidecar as a whole cannot be read: nothing is imported."""


@dataclasses.dataclass
class Sidecar:
    """Titles of a sidecar, and warnings about the table itself."""

    titles: list[metadata.Metadata]
    warnings: list[str]


def read(raw: bytes, *, name: str) -> Sidecar:
    """A sidecar by its file name: `.xml` is MARCXML, `.tsv` and `.csv` are tables. Raises `Unreadable`."""
    if name.lower().endswith(".xml"):
        try:
            return Sidecar(marc.records(raw), [])
        except xml.Broken as error:
            raise Unreadable(f"{name}: {error}") from None
    if not name.lower().endswith((".csv", ".tsv", ".txt")):
        raise Unreadable(f"{name}: a sidecar is .csv, .tsv or .xml")
    return _table(raw, delimiter="\t" if name.lower().endswith(".tsv") else ",", name=name)


def _table(raw: bytes, *, delimiter: str, name: str) -> Sidecar:
    try:
        text = raw.decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey="", strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{name}: {error}") from None
    header = [column for column in (rows[0] if rows else {}) if column]
    known = [column for column in header if column.strip().lower() in COLUMNS]
    if rows and not known:
        raise Unreadable(f"{name}: the first line names none of the known columns")
    warnings = [f"unknown column {metadata.clean(column)[:60]}" for column in header if column not in known]
    return Sidecar([_row({key.strip().lower(): row[key] or "" for key in known}) for row in rows], warnings)


def _row(cells: dict[str, str]) -> metadata.Metadata:
    cell = {column: metadata.clean(cells.get(column, "")) for column in COLUMNS}
    found = metadata.Metadata(
        title=cell["title"],
        creators=_list(cell["creators"]),
        publisher=cell["publisher"],
        publisher_place=cell["place"],
        description=metadata.strip_tags(cell["description"]),
        subjects=_list(cell["subjects"]),
        narrators=_list(cell["narrators"]),
        narration=cell["narration"].lower() if cell["narration"].lower() in ("human", "synthetic") else "",
        duration=dates.seconds(cell["duration"]) if cell["duration"] else None,
        series=cell["series"],
        edition=cell["edition"],
        audience=cell["audience"],
        rights=cell["rights"].lower() if cell["rights"].lower() in ("open", "restricted") else "",
        published=_flag(cell["published"]),
        files=_list(cell["files"]),
    )
    if cell["uuid"]:
        found.add_identifier(cell["uuid"])
    for value in _list(cell["isbn"]):
        found.add_isbn(value)
    for value in _list(cell["languages"]):
        found.add_language(value)
    if cell["published_date"]:
        found.set_date(cell["published_date"])
    for column, key in _ACCESSIBILITY.items():
        if values := _list(cell[column]):
            found.accessibility[key] = values
    if cell["accessibility_summary"]:
        found.accessibility["accessibilitySummary"] = cell["accessibility_summary"]
    return found


def _list(text: str) -> list[str]:
    return metadata.unique(text.split(";"))


def _flag(text: str) -> bool | None:
    value = text.lower()
    return True if value in _YES else False if value in _NO else None
