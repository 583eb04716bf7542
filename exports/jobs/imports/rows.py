"""Batches of concepts and mappings: one source, one transaction, constant SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core import errors
from exports.formats import documents, legacy, records
from exports.jobs.imports.notes import Book, Note, of_error
from exports.models import Mapping, MappingVersion, Repo
from exports.writing import clock, concepts, drafts, mappings, store

Json = dict[str, Any]
ACTIONS: dict[str, drafts.Mode] = {
    "CREATE_OR_UPDATE": "upsert",
    "CREATE": "create",
    "UPDATE": "update",
    "DELETE": "update",
}
_WRITERS = {"Concept": concepts.write, "Mapping": mappings.write}


@dataclass(frozen=True)
class Wanted:
    """A record on its way to a draft."""

    line: int
    type: str  # Concept | Mapping
    value: Json
    action: str = "CREATE_OR_UPDATE"


@dataclass(frozen=True)
class Manner:
    """How rows are written: as updates of HEAD, or keeping what an archive says of itself."""

    user: str
    keeps_identity: bool = False
    keeps_authors: bool = False
    updates: bool = True


_ENDS = ("from_concept_url", "to_concept_url", "to_source_url")


def ends(records: Iterable[Json]) -> set[str]:
    """URLs of the sources that mappings point to, as far as their records tell."""
    urls = (record.get(key) for record in records for key in _ENDS)
    return mappings.sources_of(*(url for url in urls if isinstance(url, str)))


def _tells_both(record: Json) -> bool:
    return bool(record.get("from_concept_url") and (record.get("to_concept_url") or record.get("to_source_url")))


def sources(repo: Repo, batch: Sequence[Wanted]) -> set[str]:
    """URLs of the other sources that mappings are going to point to: as their records tell, or as they do now."""
    if not batch or batch[0].type != "Mapping":
        return set()
    silent = [str(one.value.get("id")) for one in batch if not _tells_both(one.value)]
    found = ends(one.value for one in batch) | mappings.stored_sources(repo.pk, silent)
    return found - {repo.uri}


def write(lock: clock.Clock, batch: Sequence[Wanted], manner: Manner, book: Book) -> None:
    """Write records of one type into one source and note what became of each."""
    if not batch:
        return
    if batch[0].type == "Mapping":
        batch = _with_ids(lock.repo, batch)
    made: list[tuple[Wanted, drafts.Draft]] = []
    for wanted in batch:
        try:
            made.append((wanted, _draft(wanted, manner)))
        except errors.Fact as error:
            book.add(of_error(error, line=wanted.line, type=wanted.type, url=_url(lock.repo, wanted)))
    outcomes = _WRITERS[batch[0].type](lock, [draft for _, draft in made])
    for (wanted, _), outcome in zip(made, outcomes, strict=True):
        url = outcome.url or _url(lock.repo, wanted)
        if outcome.error:
            book.add(of_error(outcome.error, line=wanted.line, type=wanted.type, url=url))
        else:
            word = "deleted" if wanted.action == "DELETE" and outcome.result == "updated" else outcome.result
            book.add(Note(word, wanted.line, wanted.type, url))


def _url(repo: Repo, wanted: Wanted) -> str:
    return f"{repo.uri}{wanted.type.lower()}s/{wanted.value.get('id', '')}/"


def _draft(wanted: Wanted, manner: Manner) -> drafts.Draft:
    mode = ACTIONS.get(wanted.action)
    if mode is None:
        raise errors.Invalid(f'"{wanted.action}" is not an action.', field="__action")
    if mode == "upsert" and not manner.updates:
        mode = "create"
    given = wanted.value
    if wanted.action == "DELETE":
        return drafts.Draft(records.identity(given, records.row_id), {"retired": True}, manner.user, mode)
    mnemonic, changes = _concept(given, mode) if wanted.type == "Concept" else _mapping(given, mode)
    imported = _imported(wanted, manner) if manner.keeps_identity else None
    return drafts.Draft(mnemonic, changes, manner.user, mode, imported=imported)


def _concept(given: Json, mode: drafts.Mode) -> tuple[str, Json]:
    mnemonic = records.identity(given, records.row_id)
    whole = given if mode == "update" else {"concept_class": "Misc", "datatype": "N/A", **_told(given)}
    return mnemonic, records.concept(whole, is_new=mode != "update")


def _told(given: Json) -> Json:
    return {key: value for key, value in given.items() if value is not None or key not in ("concept_class", "datatype")}


def _mapping(given: Json, mode: drafts.Mode) -> tuple[str | None, Json]:
    mnemonic = records.identity(given, records.row_id) if given.get("id") not in (None, "") else None
    told = dict(given)
    if told.get("to_source_url") and told.get("to_concept_code"):
        # an archive names the target in both ways; the source and code say it even when the source is elsewhere
        told.pop("to_concept_url", None)
    return mnemonic, records.mapping_changes(told, is_new=mode != "update")


def _imported(wanted: Wanted, manner: Manner) -> drafts.Imported:
    own = legacy.identity(wanted.value)
    if not manner.keeps_authors:
        own |= {"created_by": "", "updated_by": "", "author": ""}
    kept = legacy.concept_kept(wanted.value) if wanted.type == "Concept" else legacy.mapping_kept(wanted.value)
    return drafts.Imported(kept=kept, rank=-wanted.line, **own)


def _with_ids(repo: Repo, batch: Sequence[Wanted]) -> list[Wanted]:
    """Mappings without an id are the stored ones with the same type and ends, where there are such; so that a file
    imported twice changes nothing."""
    nameless = [wanted for wanted in batch if wanted.value.get("id") in (None, "")]
    origins = [str(wanted.value.get("from_concept_url", "")) for wanted in nameless]
    if not nameless:
        return list(batch)
    known: dict[tuple[str, str, str | None], str] = {}
    for mnemonic, origin, target, kind in store.rows(
        f"SELECT m.mnemonic, m.from_uri, coalesce(m.to_uri, v.to_source_url || '|' || v.to_code), v.map_type"
        f" FROM {store.table(Mapping)} m JOIN {store.table(MappingVersion)} v ON v.mapping_id = m.id AND v.is_latest"
        " WHERE m.source_id = %s AND m.from_uri = ANY(%s)",
        [repo.pk, [origin if origin.endswith("/") else f"{origin}/" for origin in origins]],
    ):
        known[(kind, origin, target)] = mnemonic
    return [_named(wanted, known) for wanted in batch]


def _named(wanted: Wanted, known: dict[tuple[str, str, str | None], str]) -> Wanted:
    if wanted.value.get("id") not in (None, ""):
        return wanted
    try:
        changes = _mapping(wanted.value, "upsert")[1]
    except errors.Fact:
        return wanted  # it will be noted as invalid when its turn comes
    state = documents.MappingState("", to_source_url=changes["to_source_url"], to_code=changes.get("to_code"))
    target = mappings.to_uri(state) or f"{changes['to_source_url']}|{changes.get('to_code')}"
    mnemonic = known.get((changes["map_type"], changes["from_url"], target))
    if mnemonic is None:
        return wanted
    return Wanted(wanted.line, wanted.type, {**wanted.value, "id": mnemonic}, wanted.action)
