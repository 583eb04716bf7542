"""What a version can be exported as. Each variant has builds, states, links and files of its own; the plain one is the
export of contract §2.3, the others are those of §10."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from urllib import parse

from exports.formats import addresses, names, stamps


@dataclasses.dataclass(frozen=True)
class Variant:
    """``key`` tells a version's builds apart and says what to build, ``label`` stands in file names, ``place`` and
    ``query`` make the address below ``export/``; ``base`` is the id of the version a delta starts from."""

    key: str = ""
    label: str = ""
    place: str = ""
    query: str = ""
    forms: tuple[str, ...] = names.FORMATS
    base: int | None = None

    def path(self, version_uri: str, tail: str = "") -> str:
        """The address of this export of a version, or of what lies below it, as it goes onto a request line."""
        query = f"?{self.query}" if self.query else ""
        return addresses.wire(f"{version_uri}export/{self.place}{tail}") + query


PLAIN = Variant()
#: of a state that goes on changing: rows as lines are read from it anew, so they are not among its formats
HEAD_FORMS = ("tgz", "zip", "tar")
FHIR = Variant("fhir", "fhir", "fhir.tgz/", forms=("tgz",))
CSV = Variant("csv", "csv", "csv.zip/", forms=("zip",))
_FIXED = {variant.key: variant for variant in (FHIR, CSV)}
#: what can be had of every version
FIXED = (PLAIN, FHIR, CSV)
_DELTA = "delta"
_PART = "part"


def of_head(variant: Variant) -> Variant:
    """The same of a state that goes on changing."""
    return dataclasses.replace(variant, forms=HEAD_FORMS)


def delta_of(base: int, name: str) -> Variant:
    """What a version has become since another version of its repository."""
    return Variant(
        f"{_DELTA}:{base}", f"{_DELTA}_{name}", f"{_DELTA}/", parse.urlencode({"since": name}), names.FORMATS, base
    )


def delta_since(moment: dt.datetime) -> Variant:
    """What changed in a version at or after an instant."""
    since = stamps.iso(moment) or ""
    query = parse.urlencode({"since": since})
    return Variant(f"{_DELTA}@{since}", f"{_DELTA}_{stamps.digits(moment)}", f"{_DELTA}/", query)


def part(locales: Sequence[str], *, retired: bool) -> Variant:
    """The export with the names and descriptions of some locales only, or without retired rows; the plain one when
    nothing is left out."""
    told = {"locale": ",".join(locales)} if locales else {}
    told |= {} if retired else {"includeRetired": "false"}
    if not told:
        return PLAIN
    label = "_".join([*(["-".join(locales)] if locales else []), *([] if retired else ["active"])])
    query = parse.urlencode(told, safe=",")
    return Variant(f"{_PART}?{query}", label, query=query)


@dataclasses.dataclass(frozen=True)
class Part:
    """A part's key read back; no locales: all of them."""

    locales: tuple[str, ...] = ()
    retired: bool = True


def read_part(key: str) -> Part | None:
    """The part a key stands for, all of it for the plain one; None when it is another variant's."""
    if not key:
        return Part()
    if not key.startswith(f"{_PART}?"):
        return None
    told = dict(parse.parse_qsl(key.partition("?")[2]))
    locales = tuple(told["locale"].split(",")) if "locale" in told else ()
    return Part(locales, "includeRetired" not in told)


@dataclasses.dataclass(frozen=True)
class Delta:
    """A delta's key read back: from a version's id, or since an instant."""

    base: int | None
    moment: dt.datetime | None


def read_delta(key: str) -> Delta | None:
    """The delta a key stands for; None when it is another variant's."""
    if key.startswith(f"{_DELTA}:"):
        return Delta(int(key.partition(":")[2]), None)
    if key.startswith(f"{_DELTA}@"):
        return Delta(None, stamps.parse(key.partition("@")[2]))
    return None


def of(key: str, *, label: str, base: int | None, base_name: str) -> Variant:
    """The variant a build was made for, from what its row keeps."""
    if key in _FIXED or not key:
        return _FIXED.get(key, PLAIN)
    some = read_part(key)
    if some is not None:
        return part(some.locales, retired=some.retired)
    delta = read_delta(key)
    if delta is not None and delta.moment is not None:
        return delta_since(delta.moment)
    if delta is not None and base is not None:
        return delta_of(base, base_name)
    return Variant(key, label, base=base)


def stored(key: str) -> tuple[str, ...]:
    """The formats a build of a variant stores."""
    return _FIXED[key].forms if key in _FIXED else names.STORED
