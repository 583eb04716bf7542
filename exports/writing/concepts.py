"""Writing concepts in sets: a new version for each, the old ones' and the neighbours' values of the moment renewed."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exports.formats import addresses, documents, text
from exports.models import Concept, ConceptEdge, ConceptVersion, Repo
from exports.selectors import states
from exports.writing import drafts, mappings, store
from exports.writing.clock import Clock

State = documents.ConceptState

_PLAIN = ("external_id", "concept_class", "datatype", "extras", "retired", "retire_reason", "update_comment")
_ROW_COLUMNS = ("id", "source_id", "mnemonic", "uri", "created_at", "created_by", "display_name")
_VERSION_COLUMNS = (
    "id",
    "concept_id",
    *store.VERSION_COLUMNS,
    "concept_class",
    "datatype",
    "display_name",
    "display_locale",
    "names",
    "descriptions",
    "parents",
    "author",
)


@dataclasses.dataclass
class Entry:
    """A concept being written."""

    draft: drafts.Draft
    state: State
    concept_pk: int
    uri: str
    old: State | None = None
    digest: str = ""
    shown: str | None = None  # display name before
    is_new: bool = False


def write(clock: Clock, wanted: Sequence[drafts.Draft]) -> list[drafts.Outcome]:
    """Write drafts of one source, in order; the outcomes in the same order. Constant SQL per batch."""
    outcomes: dict[int, drafts.Outcome] = {}
    for wave in _waves(wanted):
        outcomes.update(_write_wave(clock, wave))
    return [outcomes[id(draft)] for draft in wanted]


def _waves(wanted: Sequence[drafts.Draft]) -> Iterator[list[drafts.Draft]]:
    """Split so that no concept comes twice in a set."""
    wave: dict[str, drafts.Draft] = {}
    for draft in wanted:
        if draft.id in wave:
            yield list(wave.values())
            wave = {}
        wave[draft.id or ""] = draft
    if wave:
        yield list(wave.values())


def _write_wave(clock: Clock, wave: list[drafts.Draft]) -> dict[int, drafts.Outcome]:
    repo = clock.repo
    known = {pair[1].id: pair for pair in latest(repo, [draft.id or "" for draft in wave])}
    outcomes: dict[int, drafts.Outcome] = {}
    entries: list[Entry] = []
    for draft in wave:
        found = known.get(draft.id or "")
        error = drafts.refusal(draft, exists=found is not None, kind="Concept")
        if error:
            outcomes[id(draft)] = drafts.failed(draft, error)
            continue
        entry = _entry(repo, draft, found)
        if found and not draft.force and _same(entry):
            outcomes[id(draft)] = drafts.Outcome("unchanged", id=entry.state.id, url=entry.uri, pk=entry.concept_pk)
            continue
        entries.append(entry)
    if entries:
        _save(clock, entries)
    for entry in entries:
        result: drafts.Result = "created" if entry.is_new else "updated"
        outcomes[id(entry.draft)] = drafts.Outcome(result, id=entry.state.id, url=entry.uri, pk=entry.concept_pk)
    return outcomes


def latest(repo: Repo, mnemonics: Sequence[str]) -> Iterator[tuple[int, State]]:
    """(concept row id, latest state) of the concepts of a source with these ids."""
    versions = ConceptVersion.objects.filter(is_latest=True, concept__source=repo, concept__mnemonic__in=mnemonics)
    return ((version.concept_id, state(version)) for version in versions.select_related("concept"))


def state(version: ConceptVersion) -> State:
    """A stored version as its document needs it; ``children`` are looked up by whoever renders."""
    return State(
        id=version.concept.mnemonic,
        pk=version.pk,
        uuid=version.uuid,
        version=version.version,
        previous=version.previous,
        external_id=version.external_id,
        concept_class=version.concept_class,
        datatype=version.datatype,
        names=version.names,
        descriptions=version.descriptions,
        extras=version.extras,
        retired=version.retired,
        parents=version.parents,
        update_comment=version.update_comment,
        retire_reason=version.retire_reason,
        created_at=version.concept.created_at,
        created_by=version.concept.created_by,
        updated_at=version.updated_at,
        updated_by=version.updated_by,
        version_created_by=version.author,
        is_latest=version.is_latest,
        standard=version.standard,
        smart=version.smart,
        kept=version.kept,
    )


def _entry(repo: Repo, draft: drafts.Draft, found: tuple[int, State] | None) -> Entry:
    old = found[1] if found else None
    base = dataclasses.replace(old) if old else State(id=draft.id or "")
    new = dataclasses.replace(
        base,
        **{"update_comment": None, **{key: draft.changes[key] for key in _PLAIN if key in draft.changes}},
        names=draft.changes.get("names", base.names),
        descriptions=draft.changes.get("descriptions", base.descriptions),
        parents=draft.changes.get("parents", base.parents),
        kept=None,
    )
    uri = f"{repo.uri}concepts/{addresses.quoted(new.id)}/"
    return Entry(draft, new, found[0] if found else 0, uri, old=old, is_new=old is None)


def _same(entry: Entry) -> bool:
    new = dataclasses.replace(
        entry.state,
        names=[documents.label("name", given=name, uuid="") for name in entry.state.names],
        descriptions=[documents.label("description", given=item, uuid="") for item in entry.state.descriptions],
    )
    return documents.concept_checksums(new)[0] == documents.concept_checksums(entry.old or new)[0]


def _save(clock: Clock, entries: list[Entry]) -> None:
    repo = clock.repo
    _number(entries)
    clock.hold_collections("concept", [entry.concept_pk for entry in entries if not entry.is_new])
    for entry in entries:
        _stamp(clock, entry)
        _finish_labels_and_sums(repo, entry)
    _save_rows(repo, entries)
    touched = _save_edges(entries)
    children = children_of(repo, [*(entry.uri for entry in entries), *touched])
    _retire_old_versions(repo, entries, children)
    _save_versions(repo, entries, children)
    _renew(repo, [uri for uri in touched if uri not in {entry.uri for entry in entries}], children)
    _renew_mappings(repo, entries)


def _number(entries: list[Entry]) -> None:
    fresh = [entry for entry in entries if entry.is_new]
    for entry, pk in zip(fresh, store.ids(Concept, len(fresh)), strict=True):
        entry.concept_pk = pk
    for entry, pk in zip(entries, store.ids(ConceptVersion, len(entries)), strict=True):
        entry.state.pk = pk
    bare = [
        item for entry in entries for item in (*entry.state.names, *entry.state.descriptions) if not item.get("uuid")
    ]
    for item, uuid in zip(bare, store.label_ids(len(bare)), strict=True):
        item["uuid"] = uuid


def _stamp(clock: Clock, entry: Entry) -> None:
    new, given, user = entry.state, entry.draft.imported, entry.draft.user
    new.previous = entry.old.version if entry.old else None
    new.is_latest = True
    if given is None:
        new.uuid = new.version = str(new.pk)
        new.updated_at, new.updated_by, new.version_created_by = clock.tick(), user, user
        if entry.is_new:
            new.created_at, new.created_by = new.updated_at, user
        return
    moment = given.updated_at or clock.tick()
    clock.witness(moment)
    new.uuid, new.version = given.uuid or str(new.pk), given.version or str(new.pk)
    new.updated_at, new.created_at = moment, given.created_at or moment
    new.created_by, new.updated_by = given.created_by or user, given.updated_by or user
    new.version_created_by, new.kept = given.author or user, given.kept or None
    new.previous = given.previous


def _finish_labels_and_sums(repo: Repo, entry: Entry) -> None:
    new = entry.state
    new.names = [documents.label("name", given=name, uuid="") for name in new.names]
    new.descriptions = [documents.label("description", given=item, uuid="") for item in new.descriptions]
    own = documents.concept_checksums(new)
    entry.digest = own[0]
    given = entry.draft.imported.checksums if entry.draft.imported else {}
    new.standard, new.smart = given.get("standard") or own[0], given.get("smart") or own[1]
    entry.shown = _shown(entry.old, repo) if entry.old else None


def _shown(what: State, repo: Repo) -> str | None:
    kept = what.kept or {}
    found = documents.display(what.names, repo.default_locale)
    return kept.get("display_name") or (found["name"] if found else None)


def _save_rows(repo: Repo, entries: list[Entry]) -> None:
    store.copy(
        Concept,
        _ROW_COLUMNS,
        (
            (e.concept_pk, repo.pk, e.state.id, e.uri, e.state.created_at, e.state.created_by, _shown(e.state, repo))
            for e in entries
            if e.is_new
        ),
    )
    renamed = [e for e in entries if not e.is_new and _shown(e.state, repo) != e.shown]
    if renamed:
        store.execute(
            f"UPDATE {store.table(Concept)} c SET display_name = n.shown"
            " FROM unnest(%s::bigint[], %s::text[]) AS n(pk, shown) WHERE c.id = n.pk",
            [[e.concept_pk for e in renamed], [_shown(e.state, repo) for e in renamed]],
        )


def _save_edges(entries: list[Entry]) -> list[str]:
    """Write who is under whom; the parents whose children changed."""
    touched: dict[str, None] = {}
    moved = []
    for entry in entries:
        before, after = set(entry.old.parents if entry.old else ()), set(entry.state.parents)
        if before != after:
            moved.append(entry)
            touched.update(dict.fromkeys(sorted(before ^ after)))
    gone = [entry.concept_pk for entry in moved if entry.old]
    if gone:
        store.execute(f"DELETE FROM {store.table(ConceptEdge)} WHERE child_id = ANY(%s)", [gone])
    pairs = [(e.concept_pk, uri) for e in moved for uri in dict.fromkeys(e.state.parents)]
    if pairs:
        store.copy(ConceptEdge, ("child_id", "parent_uri"), pairs)
    return list(touched)


def children_of(repo: Repo, uris: Sequence[str]) -> dict[str, list[str]]:
    """URLs of the children, in order of their creation, of concepts of this source."""
    found: dict[str, list[str]] = {}
    for parent, child in store.rows(
        f"SELECT e.parent_uri, c.uri FROM {store.table(ConceptEdge)} e"
        f" JOIN {store.table(Concept)} c ON c.id = e.child_id"
        " WHERE e.parent_uri = ANY(%s) AND c.source_id = %s ORDER BY c.created_at, c.uri",
        [list(uris), repo.pk],
    ):
        found.setdefault(parent, []).append(child)
    return found


def _finished(repo: Repo, what: State, children: dict[str, list[str]]) -> store.Finished:
    uri = f"{repo.uri}concepts/{addresses.quoted(what.id)}/"
    whole = dataclasses.replace(what, children=children.get(uri, []))
    return store.Finished(what.pk, documents.concept(whole, states.home(repo)))


def _retire_old_versions(repo: Repo, entries: list[Entry], children: dict[str, list[str]]) -> None:
    old = [documents.no_longer_latest(entry.old) for entry in entries if entry.old]
    for one in old:
        if one.kept and "is_latest_version" in one.kept:
            one.kept = {**one.kept, "is_latest_version": False}
    store.swap_fragments(ConceptVersion, [_finished(repo, one, children) for one in old], is_latest=False)


def _save_versions(repo: Repo, entries: list[Entry], children: dict[str, list[str]]) -> None:
    keys = store.save_fragments([_finished(repo, entry.state, children) for entry in entries])
    store.copy(ConceptVersion, _VERSION_COLUMNS, (_columns(repo, e, key) for e, key in zip(entries, keys, strict=True)))


def _columns(repo: Repo, entry: Entry, fragment: int) -> tuple[Any, ...]:
    new, given = entry.state, entry.draft.imported
    shown = documents.display(new.names, repo.default_locale) or {}
    return (
        *(new.pk, entry.concept_pk, repo.pk, fragment, new.uuid, new.version, new.previous, new.is_latest, new.retired),
        *(new.external_id, _json(new.extras), new.update_comment, new.retire_reason, new.updated_at, new.updated_by),
        *(new.standard, new.smart, entry.digest, _json(new.kept), given.rank if given else new.pk, search(new)),
        *(new.concept_class, new.datatype, _shown(new, repo), shown.get("locale"), text.dumps(new.names)),
        *(text.dumps(new.descriptions), text.dumps(new.parents), new.version_created_by),
    )


def _json(value: Any) -> str | None:
    return None if value is None else text.dumps(value)


def search(what: State) -> str:
    """The text ``q`` looks through."""
    return "\n".join((what.id, *(str(name["name"]) for name in what.names))).lower()


def renew(repo: Repo, uris: Sequence[str]) -> None:
    """Render the latest versions of these concepts anew, with the children they have now."""
    _renew(repo, uris, children_of(repo, uris))


def _renew(repo: Repo, uris: Iterable[str], children: dict[str, list[str]]) -> None:
    """Render the latest versions of concepts anew: a value of the moment changed."""
    wanted = list(uris)
    if not wanted:
        return
    versions = ConceptVersion.objects.filter(is_latest=True, source=repo, concept__uri__in=wanted)
    finished = [_finished(repo, state(one), children) for one in versions.select_related("concept")]
    store.swap_fragments(ConceptVersion, finished, is_latest=True)


def _renew_mappings(repo: Repo, entries: list[Entry]) -> None:
    """Mappings show the names of their ends: renew those whose end appeared or was renamed."""
    fresh = {e.uri: e.concept_pk for e in entries if e.is_new}
    mappings.renew_about(fresh, [e.concept_pk for e in entries if e.old and e.shown != _shown(e.state, repo)])
