"""Writing mappings in sets, and keeping the names of their ends as they are at the moment."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from exports.formats import addresses, documents, text
from exports.models import Concept, Mapping, MappingVersion, Repo
from exports.selectors import access, states
from exports.writing import drafts, store
from exports.writing.clock import Clock

State = documents.MappingState
Target = documents.Target

_PLAIN = ("external_id", "map_type", "extras", "retired", "retire_reason", "update_comment", "from_url", "from_name",
          "from_source_version", "to_url", "to_source_url", "to_code", "to_name", "to_source_version",
          "sort_weight")  # fmt: skip
_ROW_COLUMNS = ("id", "source_id", "mnemonic", "uri", "created_at", "created_by", "from_concept_id", "to_concept_id",
                "from_uri", "to_uri")  # fmt: skip
_VERSION_COLUMNS = (
    "id",
    "mapping_id",
    *store.VERSION_COLUMNS,
    "map_type",
    "from_url",
    "from_name",
    "from_source_version",
    "to_url",
    "to_source_url",
    "to_code",
    "to_name",
    "to_source_version",
    "sort_weight",
)


@dataclasses.dataclass
class Entry:
    """A mapping being written."""

    draft: drafts.Draft
    state: State
    uri: str
    old: State | None = None
    digest: str = ""

    @property
    def is_new(self) -> bool:
        return self.old is None


@dataclasses.dataclass(frozen=True)
class Ends:
    """What is stored here of the places a set of mappings points at."""

    concepts: dict[str, tuple[int, str | None]]  # uri → (row id, display name)
    repos: dict[str, Repo]

    def origin(self, what: State, repo: Repo) -> Target:
        return self._target(what.from_url, what.from_url, repo)

    def target(self, what: State, repo: Repo) -> Target:
        return self._target(to_uri(what), what.to_source_url, repo)

    def _target(self, uri: str | None, source_url: str | None, repo: Repo) -> Target:
        """A private source of another owner is to a mapping what a source elsewhere is: its names stay in it."""
        place = addresses.place(source_url)
        source = self.repos.get(place.repo_url) if place else None
        if source is None or (source.is_private and access.owner_key(source) != access.owner_key(repo)):
            return Target()
        pk, name = self.concepts.get(uri or "", (0, None))
        return Target(source_is_here=True, concept_is_here=bool(pk), display_name=name)


def to_uri(what: State) -> str | None:
    """URL of the concept a mapping points to, whether or not it is stored here; None when it never can be."""
    place = addresses.place(what.to_source_url)
    if not place or not what.to_code or not addresses.is_row_id(what.to_code):
        return None
    return f"{place.repo_url}concepts/{addresses.quoted(what.to_code)}/"


def sources_of(*urls: str | None) -> set[str]:
    """URLs of the sources that ends of mappings are in."""
    return {place.repo_url for place in map(addresses.place, urls) if place}


def stored_sources(source_id: int, mnemonics: Sequence[str]) -> set[str]:
    """The same of mappings as they are stored at the moment."""
    found = Mapping.objects.filter(source=source_id, mnemonic__in=mnemonics).values_list("from_uri", "to_uri")
    return sources_of(*(uri for pair in found for uri in pair)) if mnemonics else set()


def hold(condition: str, *values: Any) -> list[int]:
    """Hold the mappings ``m`` that a condition names, of whatever source, until the transaction ends; their ids.
    Whoever changes what mappings of other sources show holds all of them first, by id, so that no two of them wait for
    each other."""
    return [
        pk
        for (pk,) in store.rows(
            f"SELECT m.id FROM {store.table(Mapping)} m WHERE {condition} ORDER BY m.id FOR NO KEY UPDATE", values
        )
    ]


def ends_of(states: Sequence[State]) -> Ends:
    """Look up both ends of mappings; two statements for any number."""
    uris = {uri for what in states for uri in (what.from_url, to_uri(what)) if uri}
    repos = sources_of(*(url for what in states for url in (what.from_url, what.to_source_url)))
    found = Concept.objects.filter(uri__in=uris).values_list("uri", "pk", "display_name")
    here = Repo.objects.filter(uri__in=repos).only("uri", "public_access", "organization", "user")
    return Ends({uri: (pk, name) for uri, pk, name in found}, {repo.uri: repo for repo in here})


def write(clock: Clock, wanted: Sequence[drafts.Draft]) -> list[drafts.Outcome]:
    """Write drafts of one source, in order; the outcomes in the same order. Constant SQL per batch."""
    outcomes: dict[int, drafts.Outcome] = {}
    for wave in _waves(clock, wanted):
        outcomes.update(_write_wave(clock, wave))
    return [outcomes[id(draft)] for draft in wanted]


def _waves(clock: Clock, wanted: Sequence[drafts.Draft]) -> Iterator[list[drafts.Draft]]:
    """Number the nameless and split so that no mapping comes twice in a set."""
    wave: dict[str, drafts.Draft] = {}
    for draft in wanted:
        if draft.id:
            clock.used(draft.id)
        else:
            draft.id = clock.mapping_number()
        if draft.id in wave:
            yield list(wave.values())
            wave = {}
        wave[draft.id] = draft
    if wave:
        yield list(wave.values())


def _write_wave(clock: Clock, wave: list[drafts.Draft]) -> dict[int, drafts.Outcome]:
    repo = clock.repo
    known = {found.id: found for found in latest(repo, [draft.id or "" for draft in wave])}
    outcomes: dict[int, drafts.Outcome] = {}
    entries: list[Entry] = []
    for draft in wave:
        old = known.get(draft.id or "")
        error = drafts.refusal(draft, exists=old is not None, kind="Mapping")
        if error:
            outcomes[id(draft)] = drafts.failed(draft, error)
            continue
        entry = _entry(repo, draft, old)
        if old and not draft.force and entry.digest == documents.mapping_checksums(old)[0]:
            outcomes[id(draft)] = drafts.Outcome("unchanged", id=old.id, url=entry.uri, pk=old.number)
            continue
        entries.append(entry)
    if entries:
        _save(clock, entries)
    for entry in entries:
        result: drafts.Result = "created" if entry.is_new else "updated"
        outcomes[id(entry.draft)] = drafts.Outcome(result, id=entry.state.id, url=entry.uri, pk=entry.state.number)
    return outcomes


def latest(repo: Repo, mnemonics: Sequence[str]) -> Iterator[State]:
    """Latest states of the mappings of a source with these ids."""
    versions = MappingVersion.objects.filter(is_latest=True, mapping__source=repo, mapping__mnemonic__in=mnemonics)
    return (state(version, repo) for version in versions.select_related("mapping"))


def state(version: MappingVersion, repo: Repo) -> State:
    """A stored version as its document needs it; the ends are looked up by whoever renders."""
    return State(
        id=version.mapping.mnemonic,
        number=version.mapping_id,
        pk=version.pk,
        uuid=version.uuid,
        version=version.version,
        previous=version.previous,
        external_id=version.external_id,
        map_type=version.map_type,
        retired=version.retired,
        from_url=version.from_url,
        from_name=version.from_name,
        from_source_version=version.from_source_version,
        to_url=version.to_url,
        to_source_url=version.to_source_url,
        to_code=version.to_code,
        to_name=version.to_name,
        to_source_version=version.to_source_version,
        sort_weight=version.sort_weight,
        extras=version.extras,
        update_comment=version.update_comment,
        retire_reason=version.retire_reason,
        created_at=version.mapping.created_at,
        created_by=version.mapping.created_by,
        updated_at=version.updated_at,
        updated_by=version.updated_by,
        is_latest=version.is_latest,
        public=not repo.is_private,
        standard=version.standard,
        smart=version.smart,
        kept=version.kept,
    )


def _entry(repo: Repo, draft: drafts.Draft, old: State | None) -> Entry:
    base = old or State(id=draft.id or "")
    changes = {key: draft.changes[key] for key in _PLAIN if key in draft.changes}
    new = dataclasses.replace(base, **{"update_comment": None, **changes}, kept=None, public=not repo.is_private)
    uri = f"{repo.uri}mappings/{addresses.quoted(new.id)}/"
    return Entry(draft, new, uri, old=old, digest=documents.mapping_checksums(new)[0])


def _save(clock: Clock, entries: list[Entry]) -> None:
    fresh = [entry for entry in entries if entry.is_new]
    for entry, pk in zip(fresh, store.ids(Mapping, len(fresh)), strict=True):
        entry.state.number = pk
    old = [documents.no_longer_latest(entry.old) for entry in entries if entry.old]
    new = [entry.state for entry in entries]
    clock.hold_sources(sources_of(*(url for what in new for url in (what.from_url, what.to_source_url))))
    clock.hold_collections("mapping", [one.number for one in old])
    if old:
        hold("m.id = ANY(%s)", [one.number for one in old])
    for entry, pk in zip(entries, store.ids(MappingVersion, len(entries)), strict=True):
        entry.state.pk = pk
        _stamp(clock, entry)
    ends = ends_of([*old, *new])
    _save_rows(clock.repo, entries, ends)
    store.swap_fragments(MappingVersion, [_finished(clock.repo, one, ends) for one in old], is_latest=False)
    keys = store.save_fragments([_finished(clock.repo, entry.state, ends) for entry in entries])
    store.copy(
        MappingVersion,
        _VERSION_COLUMNS,
        (_columns(clock.repo, e, key) for e, key in zip(entries, keys, strict=True)),
    )


def _stamp(clock: Clock, entry: Entry) -> None:
    new, given, user = entry.state, entry.draft.imported, entry.draft.user
    own = documents.mapping_checksums(new)
    sums = given.checksums if given else {}
    new.standard, new.smart = sums.get("standard") or own[0], sums.get("smart") or own[1]
    new.previous = entry.old.version if entry.old else None
    new.is_latest = True
    if given is None:
        new.uuid = new.version = str(new.pk)
        new.updated_at, new.updated_by = clock.tick(), user
        if entry.is_new:
            new.created_at, new.created_by = new.updated_at, user
        return
    moment = given.updated_at or clock.tick()
    clock.witness(moment)
    new.uuid, new.version = given.uuid or str(new.pk), given.version or str(new.pk)
    new.updated_at, new.created_at = moment, given.created_at or moment
    new.created_by, new.updated_by = given.created_by or user, given.updated_by or user
    new.kept = given.kept or None


def _save_rows(repo: Repo, entries: list[Entry], ends: Ends) -> None:
    def link(uri: str | None) -> int | None:
        return ends.concepts.get(uri or "", (None, None))[0]

    store.copy(
        Mapping,
        _ROW_COLUMNS,
        (
            (e.state.number, repo.pk, e.state.id, e.uri, e.state.created_at, e.state.created_by,
             link(e.state.from_url), link(to_uri(e.state)), e.state.from_url, to_uri(e.state))
            for e in entries
            if e.is_new
        ),
    )  # fmt: skip
    moved = [
        e.state for e in entries if e.old and (e.old.from_url, to_uri(e.old)) != (e.state.from_url, to_uri(e.state))
    ]
    if moved:
        store.execute(
            f"UPDATE {store.table(Mapping)} m"
            " SET from_uri = n.a, to_uri = n.b, from_concept_id = n.c, to_concept_id = n.d"
            " FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[]) AS n(pk, a, b, c, d)"
            " WHERE m.id = n.pk",
            [
                [one.number for one in moved],
                [one.from_url for one in moved],
                [to_uri(one) for one in moved],
                [link(one.from_url) for one in moved],
                [link(to_uri(one)) for one in moved],
            ],
        )


def _finished(repo: Repo, what: State, ends: Ends) -> store.Finished:
    whole = dataclasses.replace(what, origin=ends.origin(what, repo), target=ends.target(what, repo))
    return store.Finished(what.pk, documents.mapping(whole, states.home(repo)))


def _columns(repo: Repo, entry: Entry, fragment: int) -> tuple[Any, ...]:
    new, given = entry.state, entry.draft.imported
    extras = None if new.extras is None else text.dumps(new.extras)
    return (
        *(new.pk, new.number, repo.pk, fragment, new.uuid, new.version, new.previous, new.is_latest, new.retired),
        *(new.external_id, extras, new.update_comment, new.retire_reason, new.updated_at, new.updated_by),
        *(new.standard, new.smart, entry.digest, text.dumps(new.kept) if new.kept else None),
        *(given.rank if given else new.pk, search(new), new.map_type, new.from_url, new.from_name),
        *(new.from_source_version, new.to_url, new.to_source_url, new.to_code, new.to_name, new.to_source_version),
        new.sort_weight,
    )


def search(what: State) -> str:
    """The text ``q`` looks through."""
    parts = (what.id, documents.code_of(what.from_url), what.from_name, what.to_code, what.to_name)
    return "\n".join(part for part in parts if part).lower()


def renew_about(fresh: dict[str, int], renamed: Sequence[int]) -> None:
    """Mappings tell of concepts that have just appeared, URLs with row ids, and of those that were renamed."""
    if not fresh and not renamed:
        return
    uris, pks = list(fresh), list(renamed)
    held = hold(
        "m.from_uri = ANY(%s) OR m.to_uri = ANY(%s) OR m.from_concept_id = ANY(%s) OR m.to_concept_id = ANY(%s)",
        *(uris, uris, pks, pks),
    )
    for side in ("from", "to") if held and fresh else ():
        store.execute(
            f"UPDATE {store.table(Mapping)} m SET {side}_concept_id = n.pk"
            f" FROM unnest(%s::text[], %s::bigint[]) AS n(uri, pk) WHERE m.{side}_uri = n.uri AND m.id = ANY(%s)",
            [uris, list(fresh.values()), held],
        )
    renew(held)


def renew(mapping_pks: Sequence[int]) -> None:
    """Render the latest versions of mappings that are held anew."""
    if not mapping_pks:
        return
    versions = MappingVersion.objects.filter(mapping__in=mapping_pks, is_latest=True)
    found = versions.select_related("mapping", "source").order_by("pk")
    states = [(state(version, version.source), version.source) for version in found]
    ends = ends_of([what for what, _ in states])
    store.swap_fragments(MappingVersion, [_finished(repo, what, ends) for what, repo in states], is_latest=True)
