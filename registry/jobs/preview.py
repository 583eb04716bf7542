"""Look at a source or a folder of files without storing anything (contract 6, `registry_check`; 7, preview)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from core import jobs as core_jobs
from registry import selectors
from registry.formats import validation
from registry.jobs import catalogue, client, crawl, inline, stage, upload
from registry.jobs import harvest as harvesting
from registry.models import Harvest, HarvestType

PREVIEW_SECONDS: Final = 15.0
PREVIEW_DOCUMENTS: Final = 1000
PREVIEW_CONNECTIONS: Final = 4

# Places and what validation says of them.
Verdicts = Iterator[tuple[str, validation.Verdict]]


class EnoughError(Exception):
    """The preview has seen as much as it shows."""


@dataclass(slots=True)
class Seen:
    """What an address yields: the first documents, remarks, and why it ended early, if it did."""

    documents: list[stage.Listed] = field(default_factory=list)
    remarks: list[tuple[str, validation.Issue]] = field(default_factory=list)
    is_cut: bool = False
    failure: str = ""


def source_at(url: str, *, harvest_type: str = "", access: selectors.Access | None = None) -> Harvest:
    """The source of an address if there is one, else a new one, which is not stored; a type that is given wins.

    `access`: of whom; the credentials and settings of a source are not for people who may not manage it.
    """
    source = Harvest.objects.filter(url=url, deleting=False).first()
    if source is None or (access is not None and not access.may_manage(source)):
        source = Harvest(url=url)
    source.harvest_type = harvest_type or source.harvest_type
    return source


def look(source: Harvest, *, seconds: float = PREVIEW_SECONDS, most: int = PREVIEW_DOCUMENTS) -> Seen:
    """List what a source yields, asked as a run asks it, within seconds and documents."""
    seen = Seen()
    deadline = time.monotonic() + seconds
    told = harvesting.snapshot(source)
    connections = min(source.max_connections or PREVIEW_CONNECTIONS, PREVIEW_CONNECTIONS)
    limits = client.Limits(connections, connections, 5.0, seconds / 2, seconds, 0.2)

    def check() -> None:
        if time.monotonic() > deadline or len(seen.documents) >= most:
            raise EnoughError

    try:
        with harvesting.network_of(told, source.credentials, limits=limits) as network:
            if source.harvest_type == HarvestType.CSW:
                _look_at_catalogue(catalogue.Reader(network, told), source.url, seen)
            else:
                seen.remarks = crawl.walk(network, told, emit=seen.documents.extend, check=check).issues
    except EnoughError:
        seen.is_cut = True
    except core_jobs.Failure as failure:
        seen.failure = failure.message
    seen.documents = list({document.identity: document for document in seen.documents}.values())[:most]
    return seen


def _look_at_catalogue(reader: catalogue.Reader, url: str, seen: Seen) -> None:
    """The first page of a catalogue."""
    page, _following = next(reader.pages())
    seen.documents = [stage.Listed(identity, url) for identity in page.identities]
    seen.is_cut = page.matched > len(page.identities)


@dataclass(slots=True)
class Checked:
    """Counts and issues of a check."""

    good: int = 0
    bad: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: validation.Verdict) -> None:
        self.codes.update(issue.code for issue in verdict.issues)
        if not any(issue.stage == "list" for issue in verdict.issues):  # a remark on the listing is no document
            self.good += verdict.is_valid
            self.bad += not verdict.is_valid


def check_path(path: Path) -> Verdicts:
    """Validate each document of a file, folder or zip."""
    if path.is_file() and path.suffix.lower() == ".xml":
        with path.open("rb") as file:
            yield str(path), _examined(file.read(settings.REGISTRY_MAX_DOCUMENT_BYTES + 1))
        return
    with upload.pack(path) as archive:
        for name, body in upload.documents(archive):
            yield name, _examined(body)


def _examined(body: bytes) -> validation.Verdict:
    problem = inline.too_large(body)
    return validation.Verdict(None, (problem,)) if problem else validation.validate(body)


def check_source(source: Harvest, *, check: Callable[[], None]) -> Verdicts:
    """List a source, asked as a run asks it, and validate each document; one that cannot be had gets an error.

    `check` is called between requests and may raise. Raises the failures of a run whose listing fails.
    """
    told = harvesting.snapshot(source)
    with harvesting.network_of(told, source.credentials) as network:
        verdicts = _of_catalogue if source.harvest_type == HarvestType.CSW else _of_folder
        yield from verdicts(network, told, check)


def _of_catalogue(network: client.Network, told: dict[str, Any], check: Callable[[], None]) -> Verdicts:
    seen: set[str] = set()
    for page, _following in catalogue.Reader(network, told).pages():
        check()
        for identity, body in zip(page.identities, page.records, strict=True):
            if identity not in seen:
                seen.add(identity)
                yield identity, _examined(body)


def _of_folder(network: client.Network, told: dict[str, Any], check: Callable[[], None]) -> Verdicts:
    limit = settings.REGISTRY_MAX_DOCUMENTS
    urls: dict[str, None] = {}

    def emit(documents: list[stage.Listed]) -> None:
        urls.update((document.url, None) for document in documents)
        if len(urls) > limit:
            raise core_jobs.Failure("too_many_documents", f"The source lists more than {limit} documents.")

    for place, issue in crawl.walk(network, told, emit=emit, check=check).issues:
        yield place, validation.Verdict(None, (issue,))
    for url in urls:
        check()
        yield url, _verdict(network, url)


def _verdict(network: client.Network, url: str) -> validation.Verdict:
    try:
        answer = network.call(network.fetch(url, cap=settings.REGISTRY_MAX_DOCUMENT_BYTES))
    except client.FetchError as error:
        return validation.Verdict(None, (validation.Issue("fetch", "error", error.code, error.message),))
    if answer.status != 200:
        message = f"The server answered {answer.status}."
        return validation.Verdict(None, (validation.Issue("fetch", "error", "status", message),))
    return validation.validate(answer.body)
