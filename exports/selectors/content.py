"""Single concepts and mappings and their versions; lists with the query language of contract §2.7."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from core import errors
from core.models import User
from exports.formats import addresses
from exports.models import Concept, ConceptVersion, Mapping, MappingVersion, Repo, RepoVersion
from exports.selectors import access, rows

Row = Concept | Mapping
RowVersion = ConceptVersion | MappingVersion


def row_id(segment: str) -> str:
    """The id of the concept or mapping a path segment names."""
    mnemonic = addresses.unquoted(segment)
    if mnemonic is None or not addresses.is_row_id(mnemonic):
        raise errors.NotFound
    return mnemonic


def row(source: Repo, kind: rows.Kind, segment: str) -> Row:
    """The concept or mapping a path segment names."""
    mnemonic = row_id(segment)
    found: Row | None
    if kind == "concepts":
        found = Concept.objects.filter(source=source, mnemonic=mnemonic).first()
    else:
        found = Mapping.objects.filter(source=source, mnemonic=mnemonic).first()
    if found is None:
        raise errors.NotFound
    found.source = source
    return found


def row_version(of: Row, version: str | None = None) -> RowVersion:
    """A version of a row, the latest unless named."""
    if version is not None and "\0" in version:
        raise errors.NotFound
    found: RowVersion | None
    which = {"is_latest": True} if version is None else {"version": version}
    if isinstance(of, Concept):
        found = ConceptVersion.objects.select_related("fragment").filter(concept=of, **which).first()
    else:
        found = MappingVersion.objects.select_related("fragment").filter(mapping=of, **which).first()
    if found is None:
        raise errors.NotFound
    return found


def latest_concept(concept: Concept) -> ConceptVersion:
    found = ConceptVersion.objects.filter(concept=concept, is_latest=True).first()
    if found is None:
        raise errors.NotFound  # it has been deleted for good meanwhile
    return found


def in_version(version: RepoVersion, kind: rows.Kind, segment: str) -> Found:
    """A row as a version of a repository holds it, found by its id within."""
    found = fetch(rows.of(version, kind).where("t.mnemonic = %s", row_id(segment)), limit=1)
    if not found:
        raise errors.NotFound
    return found[0]


@dataclass(frozen=True)
class Found:
    """One row of a list: its finished JSON and what that does not tell."""

    body: str
    row: int
    created_by: str
    is_public: bool  # whether its own source is, wherever it is shown


def fetch(question: rows.Rows, *, limit: int = 0, offset: int = 0) -> list[Found]:
    """Rows of a question, one query."""
    found = rows.fetch(question.sql(f"f.body, {ABOUT}", limit=limit, offset=offset))
    return [Found(*one) for one in found]


#: columns of what the JSON does not tell
ABOUT = f"t.id, t.created_by, (SELECT s.public_access <> 'None' FROM {Repo._meta.db_table} s WHERE s.id = t.source_id)"


@dataclass(frozen=True)
class Filter:
    """The query language of concept and mapping lists."""

    retired: bool = False
    since: datetime | None = None
    q: str = ""
    concept_class: str = ""
    datatype: str = ""
    locale: str = ""
    map_type: str = ""
    sort: str = ""  # id | name | updated_on
    descending: bool = False

    def apply(self, question: rows.Rows) -> rows.Rows:
        if not self.retired:
            question = question.without_retired()
        if self.since is not None:
            question = question.changed_since(self.since)
        if self.q:
            question = question.where("r.search LIKE %s", f"%{_escaped(self.q.lower())}%")
        if question.kind == "concepts":
            question = self._concepts(question)
        elif self.map_type:
            question = question.where("r.map_type = %s", self.map_type)
        return self._sorted(question)

    def _concepts(self, question: rows.Rows) -> rows.Rows:
        if self.concept_class:
            question = question.where("r.concept_class = %s", self.concept_class)
        if self.datatype:
            question = question.where("r.datatype = %s", self.datatype)
        if self.locale:
            has_locale = "r.names::jsonb @> jsonb_build_array(jsonb_build_object('locale', %s::text))"
            question = question.where(has_locale, self.locale)
        return question

    def _sorted(self, question: rows.Rows) -> rows.Rows:
        name = "r.display_name" if question.kind == "concepts" else "coalesce(r.to_name, r.from_name)"
        column = {"id": "t.mnemonic", "name": f"lower({name})", "updated_on": "h.updated_at"}.get(self.sort)
        return question.sorted(f"{column} {'DESC' if self.descending else 'ASC'} NULLS LAST") if column else question


def _escaped(words: str) -> str:
    return words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def everywhere(user: User | None, kind: rows.Kind) -> rows.Rows:
    """Latest rows of every source the caller may read."""
    sources = access.readable_repos(user, Repo.objects.filter(kind="source")).order_by()
    if sources.query.is_empty():
        return rows.of_sources(kind, "false")
    sql, params = sources.values_list("pk").query.sql_with_params()
    return rows.of_sources(kind, f"h.source_id IN ({sql})", *params)


def of_concept(concept: Concept, version: RepoVersion | None = None) -> rows.Rows:
    """Mappings from a concept, in its source or in a version of it."""
    if version is None:
        question = rows.of_sources("mappings", "h.source_id = %s", concept.source_id)
    else:
        question = rows.of(version, "mappings")
    return question.where("t.from_concept_id = %s", concept.pk)
