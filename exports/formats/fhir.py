"""A version's content as FHIR R4 resources and as the package that holds them (contract §10.3).

Sources: hl7.org/fhir/R4 (CodeSystem, ValueSet, ConceptMap) and the FHIR NPM package specification: a tgz whose folder
``package`` holds ``package.json``, ``.index.json`` and one file per resource. Nothing empty is written: FHIR's JSON has
no empty strings, arrays or objects.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Any

from exports.formats import addresses, stamps, text

Json = dict[str, Any]
FHIR_VERSION = "4.0.1"
_PROPERTIES = "http://hl7.org/fhir/concept-properties#"
_SEMVER = re.compile(r"[vV]?(\d+)(?:\.(\d+))?(?:\.(\d+))?(?![\d.])[-_+]?(.*)", re.ASCII)
#: how R4 says of the target what the map types say of the source
_EQUIVALENCE = {"SAME-AS": "equivalent", "NARROWER-THAN": "wider", "BROADER-THAN": "narrower"}


def identity(*words: str) -> str:
    """A resource id: at most 64 letters, digits, hyphens and dots."""
    return re.sub(r"[^A-Za-z0-9.-]", "-", "-".join(words))[:64]


def computable(name: str) -> str:
    """A name programs may use: a capital, then letters, digits and underscores."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_0123456789")[:254]
    return plain[:1].upper() + plain[1:] if plain else "Repository"


def package_name(owner: str, repo: str) -> str:
    """``ocl.myorg.src1``: parts of lower-case letters, digits and hyphens that begin with a letter."""
    plain = (re.sub(r"[^a-z0-9-]+", "-", part.lower()).strip("-") for part in (owner, repo))
    return ".".join(["ocl", *(part if part[:1].isalpha() else f"x{part}" for part in plain)])


def package_version(name: str) -> str:
    """A version's name as semantic versioning wants it: ``v1.0`` is ``1.0.0``, ``draft`` is ``0.0.0-draft``."""
    found = _SEMVER.fullmatch(name)
    numbers = ".".join(str(int(part or 0)) for part in found.groups()[:3]) if found else "0.0.0"
    rest = re.sub(r"[^A-Za-z0-9.-]+", "-", found[4] if found else name).strip(".-")
    return f"{numbers}-{rest}" if rest else numbers


def system(uri: str | None, *, canonical: Any = None, base: str = "") -> str | None:
    """The canonical URL of a repository: its own, else its address at ``base``, else a URN; what is one stays."""
    if isinstance(canonical, str) and canonical:
        return canonical
    if not uri or "://" in uri or uri.startswith("urn:"):
        return uri or None
    return f"{base}{uri}".rstrip("/") if base else "urn:ocl" + addresses.wire(uri).rstrip("/").replace("/", ":")


def package(*, name: str, version: str, canonical: str, title: str, description: str | None, author: str,
            stamp: dt.datetime) -> Json:  # fmt: skip
    """``package.json``."""
    return _full(
        {
            "name": name,
            "version": version,
            "canonical": canonical,
            "title": title,
            "description": description or title,
            "author": author,
            "date": stamps.digits(stamp),
            "type": "Conformance",
            "fhirVersions": [FHIR_VERSION],
            "dependencies": {"hl7.fhir.r4.core": FHIR_VERSION},
        }
    )


def index(heads: Iterable[tuple[str, Json]]) -> Json:
    """``.index.json`` over (file name, head of the resource)."""
    keys = ("resourceType", "id", "url", "version", "content", "valueSet")
    files = [{"filename": name, **{key: head[key] for key in keys if key in head}} for name, head in heads]
    return {"index-version": 1, "files": files}


def head(kind: str, header: Json, *, id: str, url: str, title: str, stamp: dt.datetime) -> Json:
    """What resources of all three kinds begin with; ``header`` is that of the export."""
    status = "retired" if header.get("retired") else ("active" if header.get("released") else "draft")
    return _full(
        {
            "resourceType": kind,
            "id": id,
            "url": url,
            "version": header["version"],
            "name": computable(header["short_code"]),
            "title": title,
            "status": status,
            "experimental": header.get("experimental") if isinstance(header.get("experimental"), bool) else None,
            "date": stamps.iso(stamp),
            "publisher": _words(header.get("publisher")) or header["owner"],
            "description": _words(header.get("description")),
            "copyright": _words(header.get("copyright")),
        }
    )


def code_system(top: Json, *, value_set: str | None, content: str, count: int) -> Json:
    """A CodeSystem but for its concepts; ``content`` is ``complete`` or ``fragment``."""
    properties = [
        {"code": "concept_class", "description": "Class of the concept", "type": "string"},
        {"code": "datatype", "description": "Data type of the concept", "type": "string"},
        {"code": "inactive", "uri": f"{_PROPERTIES}inactive", "description": "Retired", "type": "boolean"},
        {"code": "parent", "uri": f"{_PROPERTIES}parent", "description": "Parent concepts", "type": "code"},
    ]
    return {**top, **({"valueSet": value_set} if value_set else {}), "content": content, "count": count,
            "property": properties}  # fmt: skip


def concept(row: Json) -> Json:
    """A concept of a CodeSystem, from its export document."""
    names = [name for name in row["names"] if not name.get("retired") and name.get("name")]
    told = [one for one in row["descriptions"] if not one.get("retired") and one.get("description")]
    designations = [
        _full({"language": name.get("locale"), "use": _full({"display": name.get("name_type")}), "value": name["name"]})
        for name in names
    ]
    definition = next((one["description"] for one in told if one.get("locale") == row["display_locale"]), None)
    return _full(
        {
            "code": row["id"],
            "display": row["display_name"],
            "definition": definition or (told[0]["description"] if told else None),
            "designation": designations,
            "property": _properties(row),
        }
    )


def _properties(row: Json) -> list[Json]:
    found: list[Json] = [
        {"code": code, "valueString": row[code]} for code in ("concept_class", "datatype") if row.get(code)
    ]
    if row["retired"]:
        found.append({"code": "inactive", "valueBoolean": True})
    for url in row["parent_concept_urls"]:
        parent = addresses.expression(url)
        # a parent elsewhere has no code in this system
        if parent and parent.row_id and parent.place.repo_url == row["source_url"]:
            found.append({"code": "parent", "valueCode": parent.row_id})
    return found


def member(row: Json) -> Json:
    """A concept of a ValueSet."""
    return _full({"code": row["id"], "display": row["display_name"]})


def target(row: Json) -> Json:
    """The target of a ConceptMap's element, from the mapping's export document."""
    kind = row["map_type"]
    return _full(
        {
            "code": row["to_concept_code"],
            "display": row.get("to_concept_name_resolved") or row["to_concept_name"],
            "equivalence": _EQUIVALENCE.get(kind, "relatedto"),
            # R4 asks for words beside "narrower"; the map type is worth keeping beside every inexact one
            "comment": None if kind == "SAME-AS" else f"Map type {kind}",
        }
    )


def element(rows: Iterator[Json]) -> Iterator[str]:
    """All mappings of one concept into one system, at least one; there may be very many."""
    first = next(rows)
    display = first.get("from_concept_name_resolved") or first["from_concept_name"]
    yield opened(_full({"code": first["from_concept_code"], "display": display}))
    yield from array("target", (text.dumps(target(row)) for row in itertools.chain([first], rows)))
    yield "}"


def opened(value: Json) -> str:
    """An object without its closing brace, for one more key."""
    return text.dumps(value)[:-1]


def array(key: str, items: Iterable[str | Iterator[str]], *, comma: bool = True) -> Iterator[str]:
    """``, "key": [items]``, or nothing when there are no items; an item may come in pieces."""
    is_open = False
    for item in items:
        yield ", " if is_open else f'{", " if comma else ""}"{key}": ['
        yield from (item,) if isinstance(item, str) else item
        is_open = True
    if is_open:
        yield "]"


def _words(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _full(value: Json) -> Json:
    return {key: item for key, item in value.items() if item not in (None, "", [], {})}
