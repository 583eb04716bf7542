"""The files of a version's FHIR package and of its tables, as blocks from one snapshot, each time anew."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from core import db
from exports.formats import fhir, tables, text
from exports.models import Repo, RepoVersion
from exports.selectors import documents, rows

Json = dict[str, Any]
#: mappings of one system into one other, of one concept in it
_BY_SYSTEM = ", ".join(
    f"(f.body::json ->> '{key}') COLLATE \"C\" NULLS FIRST"
    for key in ("from_source_url", "to_source_url", "from_concept_code")
)


@dataclass(frozen=True)
class File:
    """A file of a package; ``head`` is what the index tells of a resource."""

    name: str
    blocks: Callable[[], Iterator[bytes]]
    head: Json | None = None


def stamp_of(version: RepoVersion) -> dt.datetime:
    return version.last_child_update or version.updated_at


def read(view: db.Snapshot, found: rows.Rows) -> Iterator[Json]:
    """The documents of rows."""
    for (body,) in rows.stream(view, *found.sql(rows.narrow())):
        yield text.loads(body)


def table(view: db.Snapshot, version: RepoVersion, name: str) -> Iterator[bytes]:
    """One CSV file."""
    kind, _, _ = tables.TABLES[name]
    found = read(view, rows.of(version, kind))  # type: ignore[arg-type]
    yield from documents.blocks(itertools.chain([tables.titles(name)], (tables.lines(name, row) for row in found)))


class Package:
    """A FHIR package in the making."""

    def __init__(self, view: db.Snapshot, version: RepoVersion) -> None:
        self._view, self._version = view, version
        self._header = documents.header(version)
        self._stamp = stamp_of(version)
        self._base = settings.PUBLIC_BASE_URL
        self._systems: dict[str | None, str | None] = {}
        repo = version.repo
        self._url = fhir.system(repo.uri, canonical=self._header.get("canonical_url"), base=self._base) or ""
        self._id = fhir.identity(repo.mnemonic, version.name)

    def files(self) -> list[File]:
        """``package.json``, the index, then the resources."""
        resources = [*self._code_systems(), self._value_set(), self._concept_map()]
        index = fhir.index((file.name, file.head) for file in resources if file.head is not None)
        return [_plain("package.json", self._about()), _plain(".index.json", index), *resources]

    def _about(self) -> Json:
        repo = self._version.repo
        return fhir.package(
            name=fhir.package_name(repo.owner, repo.mnemonic),
            version=fhir.package_version(self._version.name),
            canonical=self._url,
            title=self._title,
            description=self._header.get("description"),
            author=repo.owner,
            stamp=self._stamp,
        )

    @property
    def _title(self) -> str:
        return str(self._header.get("full_name") or self._header.get("name") or self._header["short_code"])

    def _top(self, kind: str, *, url: str, id: str = "", title: str = "") -> Json:
        return fhir.head(kind, self._header, id=id or self._id, url=url, title=title or self._title, stamp=self._stamp)

    def _value_set_url(self) -> str:
        # a collection is a value set; a source has one of all its concepts beside it
        return f"{self._url}/ValueSet" if self._version.repo.is_source else self._url

    def _sources(self) -> list[tuple[Repo, int]]:
        """The sources of the version's concepts with the number of theirs."""
        repo = self._version.repo
        if repo.is_source:
            return [(repo, self._concepts().count())]
        statement, params = self._concepts().sql("r.source_id", ordered=False)
        counted = self._view.rows(f"SELECT source_id, count(*) FROM ({statement}) c GROUP BY source_id", params)
        found = Repo.objects.in_bulk([pk for pk, _ in counted])
        return sorted(((found[pk], int(count)) for pk, count in counted), key=lambda pair: pair[0].uri)

    def _concepts(self) -> rows.Rows:
        return rows.of(self._version, "concepts")

    def _of_source(self, source: Repo) -> rows.Rows:
        if self._version.repo.is_source:
            return self._concepts()
        return self._concepts().where("r.source_id = %s", source.pk)

    def _system(self, uri: str | None) -> str | None:
        """The canonical URL of a source, ours or not; a private one's own is not told."""
        if uri == self._version.repo.uri:
            return self._url
        if uri not in self._systems:
            repo = Repo.objects.filter(uri=uri).exclude(public_access="None").first() if uri else None
            canonical = repo.details.get("canonical_url") if repo else None
            self._systems[uri] = fhir.system(uri, canonical=canonical, base=self._base)
        return self._systems[uri]

    def _code_systems(self) -> list[File]:
        files, used = [], set()
        for source, count in self._sources():
            is_own = self._version.repo.is_source
            ident = self._id if is_own else fhir.identity(source.mnemonic)
            if ident in used:
                ident = f"{ident[:40]}-{source.pk}"
            used.add(ident)
            top = self._top("CodeSystem", url=self._system(source.uri) or "", id=ident,
                            title="" if is_own else source.name)  # fmt: skip
            head = fhir.code_system(
                top,
                value_set=self._value_set_url() if is_own else None,
                content="complete" if is_own else "fragment",
                count=count,
            )
            if not is_own:
                # the version is the collection's, not one of a source of which this is only a part
                head.pop("version")
            files.append(_file(head, self._with_concepts(head, source)))
        return files

    def _with_concepts(self, head: Json, source: Repo) -> Callable[[], Iterator[str]]:
        def parts() -> Iterator[str]:
            found = read(self._view, self._of_source(source))
            yield fhir.opened(head)
            yield from fhir.array("concept", (text.dumps(fhir.concept(row)) for row in found))
            yield "}"

        return parts

    def _value_set(self) -> File:
        head = self._top("ValueSet", url=self._value_set_url())
        return _file(head, lambda: self._composed(head))

    def _composed(self, head: Json) -> Iterator[str]:
        """Retired concepts are members too, as they are in the export."""
        yield f'{fhir.opened(head)}, "compose": {{"inactive": true'
        is_open = False
        for source, _ in self._sources():
            include = {"system": self._system(source.uri)}
            if self._version.repo.is_source:
                include["version"] = self._version.name
            yield ", " if is_open else ', "include": ['
            is_open = True
            yield fhir.opened(include)
            if not self._version.repo.is_source:
                found = read(self._view, self._of_source(source))
                yield from fhir.array("concept", (text.dumps(fhir.member(row)) for row in found))
            yield "}"
        yield "]}}" if is_open else "}}"

    def _concept_map(self) -> File:
        head = self._top("ConceptMap", url=f"{self._url}/ConceptMap")
        return _file(head, lambda: self._mapped(head))

    def _mapped(self, head: Json) -> Iterator[str]:
        """Mappings in force, grouped by the systems they join."""
        found = read(self._view, rows.of(self._version, "mappings").without_retired().sorted(_BY_SYSTEM))
        coded = (row for row in found if row["from_concept_code"])
        yield fhir.opened(head)
        is_open = False
        for (origin, aim), group in itertools.groupby(
            coded, lambda row: (row["from_source_url"], row["to_source_url"])
        ):
            yield ", " if is_open else ', "group": ['
            is_open = True
            ends = {"source": self._system(origin), "target": self._system(aim)}
            opened = fhir.opened({key: value for key, value in ends.items() if value})
            elements = itertools.groupby(group, lambda row: row["from_concept_code"])
            yield opened
            yield from fhir.array("element", (fhir.element(same) for _, same in elements), comma=len(opened) > 1)
            yield "}"
        yield "]}" if is_open else "}"


def _file(head: Json, parts: Callable[[], Iterator[str]]) -> File:
    name = f"{head['resourceType']}-{head['id']}.json"
    return File(name, lambda: documents.blocks(parts()), head)


def _plain(name: str, content: Json) -> File:
    return File(name, lambda: iter([text.dumps(content).encode()]))
