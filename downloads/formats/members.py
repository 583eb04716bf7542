"""Which files a download has, and which columns each (contract §5.1, §5.2).

Pure: from the options of a request and the raw column sets of its data version to the list of members, in order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from downloads.formats import cells, terms

Entity = Literal["records", "media", "names", "deleted"]
Source = Literal["indexterms", "raw"]

OCCURRENCE: Final = "http://rs.tdwg.org/dwc/terms/Occurrence"
MULTIMEDIA: Final = "http://rs.tdwg.org/ac/terms/multimedia"  # iDigBio: a lower-case m
LOCATION: Final = "http://rs.tdwg.org/dwc/terms/Location"
TAXON: Final = "http://rs.tdwg.org/dwc/terms/Taxon"

GROUPED: Final = {"uniquenames": ("scientificname", TAXON), "uniquelocality": ("locality", LOCATION)}
"""Core type → (the term whose values are counted, row type of the core)."""

_STEMS: Final[dict[tuple[Entity, Source], str]] = {
    ("records", "indexterms"): "occurrence",
    ("records", "raw"): "occurrence_raw",
    ("media", "indexterms"): "multimedia",
    ("media", "raw"): "multimedia_raw",
}
_GROUPED_STEMS: Final = {"uniquenames": "names", "uniquelocality": "locality"}
_ROW_TYPES: Final[dict[Entity, str]] = {"records": OCCURRENCE, "media": MULTIMEDIA}


@dataclass(frozen=True, slots=True)
class Column:
    """A column behind the id: an index term, or (term None) a provider term, whose name is `header` unless given."""

    header: str
    term: terms.Term | None = None
    name: str = ""

    @property
    def provider_term(self) -> str:
        return self.name or self.header


@dataclass(frozen=True, slots=True)
class Member:
    """One data file.

    `entity` says whose rows it has, `source` whether they are index terms, provider terms, or (bare files with a mixed
    field list) both. `is_whole` means all columns of its kind: stored finished lines may be streamed.
    """

    name: str
    entity: Entity
    source: Source
    columns: tuple[Column, ...]
    row_type: str
    is_core: bool = False
    is_whole: bool = False
    delimiter: str = cells.COMMA
    id_header: str = "coreid"

    @property
    def header(self) -> str:
        """The first line of the file."""
        return cells.line([self.id_header, *(column.header for column in self.columns)], self.delimiter)


def delimiter(form: str) -> str:
    """The delimiter of a form's data files."""
    return cells.TAB if form.endswith("tsv") else cells.COMMA


def extension(form: str) -> str:
    """The extension of the one file the caller gets."""
    return "zip" if form.startswith("dwca-") else form


MEDIA_TYPES: Final = {
    "zip": "application/zip",
    "csv": "text/csv; charset=utf-8",
    "tsv": "text/tab-separated-values; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "geojson": "application/geo+json",
}


def media_type(form: str) -> str:
    """The content type of the one file the caller gets."""
    return MEDIA_TYPES[extension(form)]


def file_name(uuid: str, *, form: str, core_type: str, core_source: str) -> str:
    """The name under which the file is saved."""
    if form.startswith("dwca-"):
        return f"{uuid}.zip"
    middle = f"{core_type}.raw" if core_source == "raw" and core_type not in GROUPED else core_type
    return f"{uuid}.{middle}.{form}"


def in_order(rows: Mapping[str, int], *, core_type: str, core_source: str) -> dict[str, int]:
    """Rows per file of an archive, the files in their order, which the database does not keep."""
    core = (
        _GROUPED_STEMS.get(core_type)
        or _STEMS["media" if core_type == "mediarecords" else "records", _source(core_source)]
    )
    places = {stem: place for place, stem in enumerate(dict.fromkeys([core, *_STEMS.values(), "deleted"]))}
    return dict(sorted(rows.items(), key=lambda item: places[item[0].partition(".")[0]]))


def _source(core_source: str) -> Source:
    return "raw" if core_source == "raw" else "indexterms"


def members(
    *,
    form: str,
    core_type: str,
    core_source: str,
    record_fields: Sequence[str] | None,
    mediarecord_fields: Sequence[str] | None,
    raw_record_columns: Sequence[str],
    raw_media_columns: Sequence[str],
    has_deleted: bool = False,
) -> list[Member]:
    """The data files of a download, core first; bare forms have the core only."""
    build = _Layout(form, core_type, core_source, has_bare_core=not form.startswith("dwca-"))
    fields: dict[Entity, Sequence[str] | None] = {"records": record_fields, "media": mediarecord_fields}
    raws: dict[Entity, Sequence[str]] = {"records": raw_record_columns, "media": raw_media_columns}
    core = [build.grouped()] if core_type in GROUPED else [build.core(fields, raws)]
    if build.has_bare_core:
        return core
    companions = [
        build.plain(entity, source, fields[entity], raws[entity])
        for entity, source in _STEMS
        if (entity, source) != (core[0].entity, core[0].source)
    ]
    kept = [member for member in companions if member.columns or member.is_whole]
    deleted = [build.deleted()] if has_deleted else []
    return [*core, *kept, *deleted]


@dataclass(frozen=True, slots=True)
class _Layout:
    form: str
    core_type: str
    core_source: str
    has_bare_core: bool

    def core(self, fields: dict[Entity, Sequence[str] | None], raws: dict[Entity, Sequence[str]]) -> Member:
        entity: Entity = "media" if self.core_type == "mediarecords" else "records"
        source = _source(self.core_source)
        names = fields[entity]
        if self.has_bare_core and names is not None:
            columns = _together(_index_columns(entity, names), _raw_columns(names))
            return self._member(entity, source, columns, is_core=True, is_whole=False)
        return self.plain(entity, source, names, raws[entity], is_core=True)

    def plain(
        self,
        entity: Entity,
        source: Source,
        names: Sequence[str] | None,
        raw: Sequence[str],
        *,
        is_core: bool = False,
    ) -> Member:
        if names is not None:
            columns = _index_columns(entity, names) if source == "indexterms" else _raw_columns(names)
            return self._member(entity, source, columns, is_core=is_core, is_whole=False)
        if source == "raw":
            columns = tuple(Column(name) for name in raw)
        else:
            columns = tuple(Column(term.header, term) for term in _table(entity))
        return self._member(entity, source, columns, is_core=is_core, is_whole=True)

    def _member(
        self, entity: Entity, source: Source, columns: tuple[Column, ...], *, is_core: bool, is_whole: bool
    ) -> Member:
        return Member(
            name=f"{_STEMS[entity, source]}.{self._extension}",
            entity=entity,
            source=source,
            columns=columns,
            row_type=_ROW_TYPES[entity],
            is_core=is_core,
            is_whole=is_whole,
            delimiter=delimiter(self.form),
        )

    def grouped(self) -> Member:
        name, row_type = GROUPED[self.core_type]
        term = terms.RECORD_TERM[name]
        return Member(
            name=f"{_GROUPED_STEMS[self.core_type]}.{self._extension}",
            entity="names",
            source="indexterms",
            columns=(Column(term.header, term), Column("idigbio:itemCount")),
            row_type=row_type,
            is_core=True,
            delimiter=delimiter(self.form),
            id_header="id",
        )

    def deleted(self) -> Member:
        return Member(f"deleted.{self._extension}", "deleted", "indexterms", (), "", delimiter=delimiter(self.form))

    @property
    def _extension(self) -> str:
        return "tsv" if self.form.endswith("tsv") else "csv"


def _table(entity: Entity) -> tuple[terms.Term, ...]:
    return terms.MEDIA_TERMS if entity == "media" else terms.RECORD_TERMS


def _index_columns(entity: Entity, names: Sequence[str]) -> tuple[Column, ...]:
    wanted = set(names)
    return tuple(Column(term.header, term) for term in _table(entity) if term.name in wanted)


def _raw_columns(names: Sequence[str]) -> tuple[Column, ...]:
    return tuple(Column(name) for name in sorted({name[5:] for name in names if name.startswith("data.")}))


def _together(index: Sequence[Column], raw: Sequence[Column]) -> tuple[Column, ...]:
    """One file with whatever was named; a provider term says that it is one where an index term has its header."""
    taken = {column.header for column in index}
    return (
        *index,
        *(Column(f"data.{each.header}", name=each.header) if each.header in taken else each for each in raw),
    )
