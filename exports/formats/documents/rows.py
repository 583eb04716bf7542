"""The documents of concepts (35 keys) and mappings (47), contract §5, key by key in their order."""

import datetime as dt
from dataclasses import dataclass, field, replace
from typing import Any

from exports.formats import addresses, stamps, text

Json = dict[str, Any]

NAME_FIELDS = ("uuid", "name", "external_id", "type", "locale", "locale_preferred", "name_type", "checksum", "retired",
               "retire_reason")  # fmt: skip
DESCRIPTION_FIELDS = ("uuid", "description", "external_id", "type", "locale", "locale_preferred", "description_type",
                      "checksum", "retired", "retire_reason")  # fmt: skip


@dataclass(frozen=True)
class Home:
    """The repository a row lives in."""

    mnemonic: str
    url: str
    owner: str
    owner_type: str  # Organization | User
    owner_url: str
    default_locale: str = "en"


@dataclass
class ConceptState:
    """One version of a concept, all that its document needs."""

    id: str
    pk: int = 0
    uuid: str = ""
    version: str = ""
    previous: str | None = None
    external_id: str | None = None
    concept_class: str = ""
    datatype: str = "N/A"
    names: list[Json] = field(default_factory=list)
    descriptions: list[Json] = field(default_factory=list)
    extras: Json | None = field(default_factory=dict)
    retired: bool = False
    parents: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    update_comment: str | None = None
    retire_reason: str | None = None
    created_at: dt.datetime | None = None
    created_by: str = ""
    updated_at: dt.datetime | None = None
    updated_by: str = ""
    version_created_by: str = ""
    is_latest: bool = True
    standard: str = ""
    smart: str = ""
    kept: Json | None = None


def label(kind: str, *, given: Json, uuid: str) -> Json:
    """A stored name (kind ``name``) or description (kind ``description``), its ten keys in order."""
    is_name = kind == "name"
    wanted = {
        "uuid": given.get("uuid") or uuid,
        kind: given.get(kind),
        "external_id": given.get("external_id"),
        "type": "ConceptName" if is_name else "ConceptDescription",
        "locale": given.get("locale"),
        "locale_preferred": bool(given.get("locale_preferred", False)),
        f"{kind}_type": _short_type(given.get(f"{kind}_type")),
        "checksum": given.get("checksum") or "",
        "retired": bool(given.get("retired", False)),
        "retire_reason": given.get("retire_reason"),
    }
    wanted["checksum"] = wanted["checksum"] or text.digest(_label_core(wanted, kind))
    return wanted


def _short_type(value: Any) -> Any:
    # 2015 files write "Fully Specified"; everything since writes FULLY_SPECIFIED
    return "FULLY_SPECIFIED" if value in ("Fully Specified", "FULLY SPECIFIED") else value


def _label_core(given: Json, kind: str) -> Json:
    keys = (kind, f"{kind}_type", "locale", "locale_preferred", "external_id", "retired")
    return {key: given.get(key) for key in keys}


def display(names: list[Json], default_locale: str) -> Json | None:
    """Preferred name in the default locale, else any in it, else any preferred, else the first."""
    local = [name for name in names if name["locale"] == default_locale]
    ranked = [
        *(name for name in local if name["locale_preferred"]),
        *local,
        *(name for name in names if name["locale_preferred"]),
        *names,
    ]
    return ranked[0] if ranked else None


def concept_checksums(state: ConceptState) -> tuple[str, str]:
    """(standard, smart) as contract §5 defines them."""
    names = [_label_core(name, "name") for name in state.names]
    smart = {
        "concept_class": state.concept_class,
        "datatype": state.datatype,
        "retired": state.retired,
        "names": [name for name in names if name["name_type"] == "FULLY_SPECIFIED"],
    }
    standard = {
        **smart,
        "names": names,
        "descriptions": [_label_core(item, "description") for item in state.descriptions],
        "external_id": state.external_id,
        "extras": state.extras,
        "parent_concept_urls": state.parents,
    }
    return text.digest(standard), text.digest(smart)


def concept(state: ConceptState, home: Home) -> Json:
    """A concept version in export shape."""
    url = f"{home.url}concepts/{addresses.quoted(state.id)}/"
    shown = display(state.names, home.default_locale) or {}
    kept = state.kept or {}
    updated = stamps.iso(state.updated_at)
    return {
        "type": "Concept",
        "uuid": state.uuid,
        "id": state.id,
        "external_id": state.external_id,
        "concept_class": state.concept_class,
        "datatype": state.datatype,
        "display_name": kept.get("display_name", shown.get("name")),
        "display_locale": kept.get("display_locale", shown.get("locale")),
        "names": state.names,
        "descriptions": state.descriptions,
        "extras": state.extras,
        "retired": state.retired,
        "source": home.mnemonic,
        "source_url": home.url,
        "owner": home.owner,
        "owner_name": home.owner,
        "owner_url": home.owner_url,
        "version": state.version,
        "created_on": stamps.iso(state.created_at),
        "updated_on": updated,
        "version_created_on": kept.get("version_created_on", updated),
        "version_created_by": state.version_created_by,
        "update_comment": state.update_comment,
        "is_latest_version": kept.get("is_latest_version", state.is_latest),
        "locale": next((name["name"] for name in state.names if name["name_type"] == "ISO 639-1"), None),
        "url": url,
        "owner_type": home.owner_type,
        "version_url": f"{url}{state.version}/",
        "previous_version_url": f"{url}{state.previous}/" if state.previous else kept.get("previous_version_url"),
        "parent_concept_urls": state.parents,
        "child_concept_urls": state.children or kept.get("child_concept_urls", []),
        "version_updated_on": kept.get("version_updated_on", updated),
        "version_updated_by": state.updated_by,
        "checksums": {"smart": state.smart, "standard": state.standard},
        "retire_reason": state.retire_reason,
    }


@dataclass(frozen=True)
class Target:
    """What we know about the other end of a mapping."""

    source_is_here: bool = False
    concept_is_here: bool = False
    display_name: str | None = None


@dataclass
class MappingState:
    """One version of a mapping, all that its document needs. ``number`` is the row id of the mapping itself."""

    id: str
    number: int = 0
    pk: int = 0
    uuid: str = ""
    version: str = ""
    previous: str | None = None
    external_id: str | None = None
    map_type: str = ""
    retired: bool = False
    from_url: str = ""
    from_name: str | None = None
    from_source_version: str | None = None
    to_url: str | None = None
    to_source_url: str | None = None
    to_code: str | None = None
    to_name: str | None = None
    to_source_version: str | None = None
    sort_weight: float | None = None
    extras: Json | None = field(default_factory=dict)
    update_comment: str | None = None
    retire_reason: str | None = None
    created_at: dt.datetime | None = None
    created_by: str = ""
    updated_at: dt.datetime | None = None
    updated_by: str = ""
    is_latest: bool = True
    public: bool = True
    standard: str = ""
    smart: str = ""
    origin: Target = field(default_factory=Target)
    target: Target = field(default_factory=Target)
    kept: Json | None = None


def mapping_checksums(state: MappingState) -> tuple[str, str]:
    """(standard, smart) as contract §5 defines them."""
    smart = {
        "map_type": state.map_type,
        "from_concept_url": state.from_url,
        "from_concept_name": state.from_name,
        "to_source_url": state.to_source_url,
        "to_concept_code": state.to_code,
        "to_concept_name": state.to_name,
        "retired": state.retired,
    }
    standard = {
        **smart,
        "from_source_version": state.from_source_version,
        "to_source_version": state.to_source_version,
        "sort_weight": state.sort_weight,
        "external_id": state.external_id,
        "extras": state.extras,
    }
    return text.digest(standard), text.digest(smart)


def code_of(url: str | None) -> str | None:
    """The concept id a concept URL ends in, as the id, not as it stands in the URL."""
    found = addresses.expression(url or "")
    return found.row_id if found else None


def _origin_of(state: MappingState) -> Json:
    place = addresses.place(state.from_url)
    return {
        "from_source_owner": place.owner if place else "",
        "from_source_owner_type": place.owner_type if place else None,
        "from_source_url": place.repo_url if place else None,
        "from_source_name": place.repo if place else None,
    }


def _target_of(state: MappingState) -> Json:
    place = addresses.place(state.to_source_url)
    if state.target.source_is_here and place:
        url = f"{place.repo_url}concepts/{addresses.quoted(state.to_code)}/" if state.to_code else None
        return {
            "to_concept_url": state.to_url or url,
            "to_source_owner": place.owner,
            "to_source_owner_type": place.owner_type,
            "to_source_url": place.repo_url,
            "to_source_name": place.repo,
        }
    parts = [part for part in (state.to_source_url or "").split("/") if part]
    away = {
        "to_concept_url": None,
        "to_source_owner": "",
        "to_source_owner_type": None,
        "to_source_url": state.to_source_url,
        "to_source_name": parts[-1] if parts else None,
    }
    return {**away, **{key: value for key, value in (state.kept or {}).items() if key in away}}


def mapping(state: MappingState, home: Home) -> Json:
    """A mapping version in export shape: 47 keys, 46 when the target concept is not stored here."""
    url = f"{home.url}mappings/{addresses.quoted(state.id)}/"
    kept = state.kept or {}
    origin, target = _origin_of(state), _target_of(state)
    updated = stamps.iso(state.updated_at)
    resolved: Json = {"from_concept_name_resolved": state.origin.display_name or kept.get("from_concept_name_resolved")}
    if state.target.concept_is_here:
        resolved["to_concept_name_resolved"] = state.target.display_name
    elif "to_concept_name_resolved" in kept:
        resolved["to_concept_name_resolved"] = kept["to_concept_name_resolved"]
    return {
        "type": "Mapping",
        "uuid": state.uuid,
        "id": state.id,
        "external_id": state.external_id,
        "retired": state.retired,
        "map_type": state.map_type,
        "source": home.mnemonic,
        "owner": home.owner,
        "owner_type": home.owner_type,
        "owner_url": home.owner_url,
        "from_concept_code": code_of(state.from_url),
        "from_concept_name": state.from_name,
        "from_concept_url": state.from_url,
        "to_concept_code": state.to_code,
        "to_concept_name": state.to_name,
        "to_concept_url": target["to_concept_url"],
        "from_source_owner": origin["from_source_owner"],
        "from_source_owner_type": origin["from_source_owner_type"],
        "from_source_url": origin["from_source_url"],
        "from_source_name": origin["from_source_name"],
        "to_source_owner": target["to_source_owner"],
        "to_source_owner_type": target["to_source_owner_type"],
        "to_source_url": target["to_source_url"],
        "to_source_name": target["to_source_name"],
        "from_source_version": state.from_source_version,
        "to_source_version": state.to_source_version,
        "url": url,
        "version": state.version,
        "versioned_object_id": kept.get("versioned_object_id", state.number),
        "versioned_object_url": url,
        "is_latest_version": kept.get("is_latest_version", state.is_latest),
        "update_comment": state.update_comment,
        "version_url": f"{url}{state.version}/",
        "created_on": stamps.iso(state.created_at),
        "updated_on": updated,
        "created_by": state.created_by,
        "updated_by": state.updated_by,  # the true last editor; the original repeated created_by
        "version_created_on": kept.get("version_created_on", updated),
        "version_updated_on": kept.get("version_updated_on", updated),
        "version_updated_by": state.updated_by,
        **resolved,
        "sort_weight": state.sort_weight,
        "retire_reason": state.retire_reason,
        "extras": state.extras,
        "public_can_view": kept.get("public_can_view", state.public),
        "checksums": {"smart": state.smart, "standard": state.standard},
    }


def no_longer_latest(state: ConceptState | MappingState) -> Any:
    """The same version after a newer one was written."""
    return replace(state, is_latest=False)
