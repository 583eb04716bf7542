"""Importing an export document: its header names the repository, its rows go in batches, then the version is cut."""

from typing import Any

from core import errors
from core.models import User
from exports.formats import addresses, legacy, records
from exports.jobs import build
from exports.jobs.imports import lines, places, rows
from exports.jobs.imports.notes import Book, Note, of_error
from exports.jobs.imports.rights import Importer
from exports.models import Organization, Repo
from exports.models.repos import HEAD
from exports.writing import clock, members, versions
from exports.writing import places as writing

Json = dict[str, Any]


class Target:
    """Where a document goes. ``is_fresh``: the repository was made for it, so its rows keep what they are."""

    def __init__(self, repo: Repo, *, old_uri: str, version: str, is_fresh: bool, header: Json) -> None:
        self.repo, self.old_uri, self.version, self.is_fresh, self.header = repo, old_uri, version, is_fresh, header

    @property
    def is_source(self) -> bool:
        return self.repo.is_source


def open_target(header: Json, importer: Importer, *, owner: str, fresh: str) -> Target:
    """Find or make the repository of a document; ``fresh`` is the URI this same import made earlier, if it did."""
    place = legacy.place_of(header)
    kind = legacy.kind_of(header)
    if place is None:
        raise errors.Invalid("The file does not say which repository it is.", field="url")
    if not addresses.is_mnemonic(place.repo):
        raise errors.Invalid(f'"{place.repo}" cannot name a repository.', field="url")
    path = owner.strip("/") or f"{place.owner_kind}/{place.owner}"
    uri = f"/{path}/{kind}s/{place.repo}/"
    repo = Repo.objects.filter(uri=uri).first()
    is_fresh = repo is None or uri == fresh
    if repo is None:
        repo = _make(header, importer, kind=kind, path=path, mnemonic=place.repo)
    else:
        importer.demand("admin", repo)
    return Target(repo, old_uri=place.repo_url, version=_version_of(header), is_fresh=is_fresh, header=header)


def _version_of(header: Json) -> str:
    """The version's own id; a repository object on top (2015, or an export of HEAD) has none."""
    name = header.get("id") if str(header.get("type", "")).endswith("Version") else header.get("version")
    return str(name) if isinstance(name, str) and name else HEAD


def _make(header: Json, importer: Importer, *, kind: str, path: str, mnemonic: str) -> Repo:
    owner: Organization | User | None = places.owner(*path.split("/", 1))
    if owner is None:
        owner_kind, name = path.split("/", 1)
        if owner_kind != "orgs" or not addresses.is_mnemonic(name):
            raise errors.Invalid(f"/{path}/ does not exist.", field="owner")
        owner = writing.create_organization(name, {}, user=importer.user)
        importer.refresh()
    importer.demand_owner(owner)
    # the repository as it was at the cut stands inside the header
    inner = header.get(kind) if isinstance(header.get(kind), dict) else {}
    whole = {**header, **(legacy.modern(inner) if isinstance(inner, dict) else {})}
    changes = records.repo({key: value for key, value in whole.items() if value is not None}, kind=kind, is_new=False)
    return writing.create_repo(
        owner, kind=kind, mnemonic=mnemonic, changes={"name": mnemonic, **changes}, user=importer.name
    )


def row(target: Target, kind: str, given: Json, line: int) -> rows.Wanted:
    """A row of the document in today's shape, under its new root."""
    modern = legacy.rerooted(legacy.modern(given), old=target.old_uri, new=target.repo.uri)
    return rows.Wanted(line, "Concept" if kind == "concepts" else "Mapping", modern)


def write_rows(target: Target, batch: list[rows.Wanted], importer: Importer, book: Book) -> None:
    """Write rows of one kind. A collection's rows belong to their own sources, where the caller may write."""
    if target.is_source:
        manner = rows.Manner(importer.name, keeps_identity=target.is_fresh, keeps_authors=importer.keeps_authors)
        _write_into(target.repo, batch, manner, importer, book)
        return
    for uri, mine in _by_source(batch).items():
        source = Repo.objects.filter(uri=uri, kind="source").first()
        manner = rows.Manner(importer.name)
        if source is not None and importer.may("write", source):
            _write_into(source, mine, manner, importer, book)
        else:
            _only_there(source, mine, importer, book)


def _by_source(batch: list[rows.Wanted]) -> dict[str, list[rows.Wanted]]:
    found: dict[str, list[rows.Wanted]] = {}
    for wanted in batch:
        place = addresses.place(str(wanted.value.get("url", "")))
        found.setdefault(place.repo_url if place else "", []).append(wanted)
    return found


def _only_there(source: Repo | None, mine: list[rows.Wanted], importer: Importer, book: Book) -> None:
    """Rows we may not write: fine when they are there, reported when not. What a source holds that the importer may
    not even read is not told."""
    there = _ids(source, mine) if source is not None and importer.may("read", source) else frozenset()
    for wanted in mine:
        url = str(wanted.value.get("url", ""))
        if source is None:
            book.add(Note("failed", wanted.line, wanted.type, url, {"detail": "Its source does not exist here."}))
        elif wanted.value.get("id") in there:
            book.add(Note("unchanged", wanted.line, wanted.type, url))
        else:
            book.add(
                Note("permission_denied", wanted.line, wanted.type, url, {"detail": "You may not write its source."})
            )


def _ids(source: Repo, mine: list[rows.Wanted]) -> frozenset[str]:
    """Which of these rows of one type a source has; one statement."""
    rows_of = source.concepts if mine[0].type == "Concept" else source.mappings
    wanted = [str(one.value.get("id")) for one in mine]
    return frozenset(rows_of.filter(mnemonic__in=wanted).values_list("mnemonic", flat=True))


def _write_into(repo: Repo, batch: list[rows.Wanted], manner: rows.Manner, importer: Importer, book: Book) -> None:
    lock = clock.lock(repo.pk, sources=rows.sources(repo, batch))
    importer.demand("write", lock.repo)
    rows.write(lock, batch, manner, book)
    lock.save()


def refer(target: Target, given: list[tuple[int, Json]], importer: Importer, book: Book) -> None:
    """Add a collection's references; what cannot be resolved is reported."""
    texts = [(line, str(one.get("expression", ""))) for line, one in given]
    moved = [legacy.rerooted({"url": text}, old=target.old_uri, new=target.repo.uri)["url"] for _, text in texts]
    lock = clock.lock(target.repo.pk, sources=members.sources_of(moved))
    importer.demand("write", lock.repo)
    for (line, _), text in zip(texts, moved, strict=True):
        try:
            added = lines.refer(lock, [text], importer)
            book.add(Note("created" if added else "unchanged", line, "Reference", text))
        except errors.Conflict as error:
            book.add(of_error(error, line=line, type="Reference", url=text))


def cut(target: Target, importer: Importer, book: Book) -> None:
    """Cut the document's version under its own id; one that is there already is left alone and reported."""
    if target.version == HEAD:
        return
    url, kind = f"{target.repo.uri}{target.version}/", f"{target.repo.kind.capitalize()} Version"
    if not addresses.is_mnemonic(target.version) or target.version in addresses.RESERVED_VERSIONS:
        book.add(Note("invalid", 0, kind, url, {"id": ["Not a version id."]}))
        return
    lock = members.lock_for_cut(target.repo)
    if target.repo.versions.filter(name=target.version).exists():
        changed = book.counts["created"] + book.counts["updated"]
        words = {"detail": f"{target.repo.kind.capitalize()} version '{target.version}' already exist."}
        book.add(Note("failed" if changed else "unchanged", 0, kind, url, words if changed else None))
        return
    version = versions.cut(lock, _wanted(target, importer))
    lock.save()
    build.automatic(version, user=importer.user)
    book.add(Note("created", 0, kind, url))


def _wanted(target: Target, importer: Importer) -> versions.Wanted:
    header = target.header
    told = records.version({key: header[key] for key in records.VERSION if header.get(key) is not None})
    if not target.is_fresh:
        return versions.Wanted(name=target.version, user=importer.name, **told)
    own = legacy.identity(header)
    authors: Json = {key: own[key] or None for key in ("created_by", "updated_by")} if importer.keeps_authors else {}
    return versions.Wanted(
        name=target.version,
        user=importer.name,
        uuid=own["uuid"] or None,
        created_at=own["created_at"],
        updated_at=own["updated_at"],
        in_file_order=target.is_source,
        **authors,
        **told,
    )
