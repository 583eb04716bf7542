"""What a change of a repository's own settings does to values of the moment: HEAD tells the new ones, what frozen
versions hold stays. A source's own rows are renewed by one statement of a kind, however many they are."""

from dataclasses import dataclass
from typing import Any

from exports.formats import text
from exports.models import Concept, ConceptVersion, Fragment, HeadMember, Mapping, MappingVersion, Repo
from exports.writing import mappings, store
from exports.writing.clock import Clock

#: mappings of other sources rendered anew in one go
RENEWED = 1000


@dataclass(frozen=True)
class Before:
    """The settings of a repository that values of the moment depend on, as they were."""

    is_private: bool
    default_locale: str


def before(repo: Repo) -> Before:
    return Before(repo.is_private, repo.default_locale)


def renew(lock: Clock, was: Before) -> None:
    """Bring a locked and saved repository's HEAD in line with its settings."""
    repo = lock.repo
    has_turned = repo.is_private != was.is_private
    is_renamed = repo.is_source and repo.default_locale != was.default_locale
    if not has_turned and not is_renamed:
        return
    shows_more = has_turned and repo.is_source != repo.is_private
    store.execute("SET LOCAL statement_timeout = 0")
    if repo.is_source:
        if shows_more:
            lock.hold_all_collections()
        hold_mappings(repo)
    if repo.is_source and has_turned:
        _renew_access(repo)
    if is_renamed:
        _renew_names(repo)
    if shows_more:
        _reveal(lock)


def _renew_access(repo: Repo) -> None:
    """After a source became private or public: its own mappings say so from now on, in one statement, and those of
    other owners show the names of its concepts, or show them no longer. What frozen versions hold stays."""
    fragment, version = store.table(Fragment), store.table(MappingVersion)
    store.execute(
        f"""
        WITH told AS (
            SELECT v.id, f.id AS old, f.body, regexp_replace(
                f.body, '"public_can_view": (true|false), ("checksums": {{[^{{}}]*}}}})$', %s) AS fresh
            FROM {version} v JOIN {fragment} f ON f.id = v.fragment_id WHERE v.source_id = %s
        ), made AS (
            INSERT INTO {fragment} (body, length, sha256, row)
            SELECT fresh, length(fresh), sha256(convert_to(fresh, 'UTF8')), id FROM told WHERE fresh <> body
            RETURNING id, row
        ), gone AS (
            UPDATE {fragment} f SET replaced_at = now() FROM told, made WHERE made.row = told.id AND f.id = told.old
        )
        UPDATE {version} v SET fragment_id = made.id, kept = (v.kept::jsonb - 'public_can_view')::text
        FROM made WHERE v.id = made.row
        """,
        [f'"public_can_view": {text.dumps(not repo.is_private)}, \\2', repo.pk],
    )
    _renew_others(
        repo,
        "(s.organization_id IS DISTINCT FROM %s OR s.user_id IS DISTINCT FROM %s)",
        repo.organization_id,
        repo.user_id,
    )


def renew_about(repo: Repo) -> None:
    """After a source came or went: mappings of other sources tell of their ends as they are now."""
    if repo.is_source:
        _renew_others(repo, "true")


def hold_mappings(repo: Repo) -> None:
    """Hold a source's own mappings, and those of other sources with an end in it."""
    mappings.hold(f"m.source_id = %s OR {_ABOUT}", repo.pk, *_under(repo))


#: mappings with an end in a source, whether or not it is stored here; what begins with its URL, which ends in a slash,
#: lies before the same with the next letter
_ABOUT = " OR ".join(f"m.{side}_uri ~>=~ %s AND m.{side}_uri ~<~ %s" for side in ("from", "to"))


def _under(repo: Repo) -> list[str]:
    return [repo.uri, f"{repo.uri[:-1]}0"] * 2


def _renew_others(repo: Repo, condition: str, *values: Any) -> None:
    """Mappings with an end in a source are rendered anew, some at a time: those that a condition over their own source
    ``s`` names."""
    every = store.table(Repo)
    pks = mappings.hold(
        f"({_ABOUT}) AND EXISTS (SELECT 1 FROM {every} s WHERE s.id = m.source_id AND {condition})",
        *_under(repo),
        *values,
    )
    for start in range(0, len(pks), RENEWED):
        mappings.renew(pks[start : start + RENEWED])


def _renew_names(repo: Repo) -> None:
    """After a source's default locale changed: its concepts are shown under their names in the new one, and so they
    are in mappings. The documents are pure ASCII and ``json`` keeps a value's own spelling, so pieces of them are
    exchanged as they stand; before ``display_name`` and ``…_resolved`` there are only plain values, so the first such
    key is the document's own."""
    concept, version, fragment = store.table(Concept), store.table(ConceptVersion), store.table(Fragment)
    store.execute(
        f"""
        WITH shown AS (
            SELECT v.id, v.concept_id, v.is_latest, f.id AS old, f.body, n.item,
                ', "display_name": ' || (f.body::json -> 'display_name')::text
                || ', "display_locale": ' || (f.body::json -> 'display_locale')::text AS was,
                ', "display_name": ' || (n.item -> 'name')::text
                || ', "display_locale": ' || (n.item -> 'locale')::text AS now
            FROM {version} v JOIN {fragment} f ON f.id = v.fragment_id CROSS JOIN LATERAL (
                SELECT e.item FROM json_array_elements(v.names::json) WITH ORDINALITY AS e(item, place)
                ORDER BY coalesce(e.item ->> 'locale' = %s, false) DESC, (e.item ->> 'locale_preferred')::boolean DESC,
                    e.place LIMIT 1
            ) n WHERE v.source_id = %s
        ), told AS (
            SELECT id, old, overlay(body PLACING now FROM strpos(body, was) FOR length(was)) AS fresh
            FROM shown WHERE was <> now
        ), made AS (
            INSERT INTO {fragment} (body, length, sha256, row)
            SELECT fresh, length(fresh), sha256(convert_to(fresh, 'UTF8')), id FROM told RETURNING id, row
        ), gone AS (
            UPDATE {fragment} f SET replaced_at = now() FROM told WHERE f.id = told.old
        ), renamed AS (
            UPDATE {concept} c SET display_name = s.item ->> 'name' FROM shown s
            WHERE s.is_latest AND c.id = s.concept_id AND c.display_name IS DISTINCT FROM s.item ->> 'name'
        )
        UPDATE {version} v SET fragment_id = coalesce(made.id, v.fragment_id), display_name = s.item ->> 'name',
            display_locale = s.item ->> 'locale', kept = (v.kept::jsonb - 'display_name' - 'display_locale')::text
        FROM shown s LEFT JOIN made ON made.row = s.id
        WHERE v.id = s.id AND (made.id IS NOT NULL OR v.kept::jsonb ?| ARRAY['display_name', 'display_locale'])
        """,
        [repo.default_locale, repo.pk],
    )
    _renew_resolved(repo)
    _renew_others(
        repo,
        f"s.id <> %s AND EXISTS (SELECT 1 FROM {concept} c WHERE c.source_id = %s"
        " AND c.id IN (m.from_concept_id, m.to_concept_id))",
        repo.pk,
        repo.pk,
    )


def _renew_resolved(repo: Repo) -> None:
    """The source's own mappings show its concepts as they are shown now."""
    concept, mapping, fragment = store.table(ConceptVersion), store.table(MappingVersion), store.table(Fragment)
    store.execute(
        f"""
        WITH shown AS (
            SELECT v.concept_id AS pk, nullif((f.body::json -> 'display_name')::text, 'null') AS name
            FROM {concept} v JOIN {fragment} f ON f.id = v.fragment_id WHERE v.source_id = %s AND v.is_latest
        ), named AS (
            SELECT v.id, f.id AS old, f.body, a.name AS a, b.name AS b,
                (f.body::json -> 'from_concept_name_resolved')::text AS was_a,
                (f.body::json -> 'to_concept_name_resolved')::text AS was_b
            FROM {mapping} v JOIN {fragment} f ON f.id = v.fragment_id
            JOIN {store.table(Mapping)} m ON m.id = v.mapping_id
            LEFT JOIN shown a ON a.pk = m.from_concept_id LEFT JOIN shown b ON b.pk = m.to_concept_id
            WHERE v.source_id = %s AND v.is_latest
        ), pieces AS (
            SELECT id, old, body,
                ', "from_concept_name_resolved": ' || was_a
                || coalesce(', "to_concept_name_resolved": ' || was_b, '') AS was,
                ', "from_concept_name_resolved": ' || coalesce(a, was_a)
                || coalesce(', "to_concept_name_resolved": ' || CASE WHEN was_b IS NULL THEN NULL
                    ELSE coalesce(b, was_b) END, '') AS now
            FROM named
        ), told AS (
            SELECT id, old, overlay(body PLACING now FROM strpos(body, was) FOR length(was)) AS fresh
            FROM pieces WHERE was <> now
        ), made AS (
            INSERT INTO {fragment} (body, length, sha256, row)
            SELECT fresh, length(fresh), sha256(convert_to(fresh, 'UTF8')), id FROM told RETURNING id, row
        ), gone AS (
            UPDATE {fragment} f SET replaced_at = now() FROM told WHERE f.id = told.old
        )
        UPDATE {mapping} v SET fragment_id = made.id FROM made WHERE v.id = made.row
        """,
        [repo.pk, repo.pk],
    )


def _reveal(lock: Clock) -> None:
    """Rows of a source that has become public show again in other owners' public collections, and a collection that
    has become private shows other owners' private rows again. For a subscriber they come anew, so their membership
    counts from now on: they are in the next diff (contract §2.6)."""
    repo = lock.repo
    moment, member, every = lock.tick(), store.table(HeadMember), store.table(Repo)
    mine, other = ("s", "k") if repo.is_source else ("k", "s")
    hidden = "k.public_access <> 'None'" if repo.is_source else "s.public_access = 'None'"
    for model, key in ((Concept, "concept"), (Mapping, "mapping")):
        store.execute(
            f"UPDATE {member} m SET since = %s FROM {store.table(model)} t, {every} s, {every} k"
            f" WHERE t.id = m.{key}_id AND s.id = t.source_id AND k.id = m.collection_id AND {mine}.id = %s"
            f" AND {hidden} AND ({other}.organization_id IS DISTINCT FROM {mine}.organization_id"
            f" OR {other}.user_id IS DISTINCT FROM {mine}.user_id)",
            [moment, repo.pk],
        )
