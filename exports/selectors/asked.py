"""Which variant of a version's export a request names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib import parse

from core import errors
from exports.formats import stamps, variants
from exports.models import ExportBuild, RepoVersion
from exports.models.repos import HEAD

_LONGEST = ExportBuild._meta.get_field("variant").max_length or 0
_LONGEST_LABEL = ExportBuild._meta.get_field("label").max_length or 0

_LOCALE = re.compile(r"[A-Za-z0-9@._-]{1,50}", re.ASCII)
_MOST_LOCALES = 10


def part(version: RepoVersion, locale: str | None, *, retired: bool) -> variants.Variant:
    """The export, or the part of it in some locales (one, or several between commas, the first that has a name
    showing) or without retired rows. Raises ``errors.Invalid``."""
    locales = list(dict.fromkeys(locale.split(","))) if locale else []
    if len(locales) > _MOST_LOCALES or not all(_LOCALE.fullmatch(one) for one in locales):
        raise errors.Invalid(f"At most {_MOST_LOCALES} locales between commas are expected.", field="locale")
    found = variants.part(locales, retired=retired)
    if len(found.key) > _LONGEST or len(found.label) > _LONGEST_LABEL:
        raise errors.Invalid("The locales are too long together.", field="locale")
    return variants.of_head(found) if version.is_head else found


def named(version: RepoVersion, words: Mapping[str, str]) -> variants.Variant:
    """The export that a page's form or link names by ``words``: the last part of its address under ``export``, and the
    parameters the API has for it. Raises ``errors.Invalid``, and ``errors.NotFound`` when a version has no such one."""
    place = words.get("export", "")
    fixed = {variant.place.strip("/"): variant for variant in variants.FIXED if variant.place}
    if not place:
        locales = words.get("locale", "").replace(" ", "")
        return part(version, locales, retired=words.get("includeRetired", "") != "false")
    if version.is_head:
        raise errors.NotFound
    if place == "delta":
        return delta(version, words.get("since", "").strip())
    if place not in fixed:
        raise errors.NotFound
    return fixed[place]


def words(variant: variants.Variant) -> dict[str, str]:
    """What ``named`` is to be told of a variant; nothing for the whole export."""
    place = {"export": variant.place.strip("/")} if variant.place else {}
    return {**place, **dict(parse.parse_qsl(variant.query))}


def delta(version: RepoVersion, since: str | None) -> variants.Variant:
    """The delta since a version of the same repository or an instant; a version's name wins over a date that reads
    the same. Raises ``errors.Invalid``."""
    if not since:
        raise errors.Invalid("This field is required.", field="since")
    versions = RepoVersion.objects.filter(repo=version.repo_id).exclude(name=HEAD)
    if since == "latest":
        found = versions.filter(released=True).order_by("-created_at", "-id").first()
    else:
        found = versions.filter(name=since).first() if "\0" not in since else None
    if found is not None:
        return variants.delta_of(found.pk, found.name)
    moment = stamps.parse(since)
    if moment is None:
        raise errors.Invalid(f'"{since}" is neither a version of this repository nor a timestamp.', field="since")
    return variants.delta_since(moment)
