"""Look at a source or a folder of files without storing anything (contract 6, `registry_check`; 7, preview)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from core import jobs as core_jobs
from registry.formats import csw, validation
from registry.jobs import client, crawl, stage, upload
from registry.models import HarvestType

PREVIEW_SECONDS: Final = 15.0
PREVIEW_DOCUMENTS: Final = 1000


class EnoughError(Exception):
    """The preview has seen as much as it shows."""


@dataclass(slots=True)
class Seen:
    """What an address yields: the first documents, remarks, and why it ended early, if it did."""

    documents: list[stage.Listed] = field(default_factory=list)
    remarks: list[tuple[str, validation.Issue]] = field(default_factory=list)
    is_cut: bool = False
    failure: str = ""


def look(url: str, *, harvest_type: str, seconds: float = PREVIEW_SECONDS, most: int = PREVIEW_DOCUMENTS) -> Seen:
    """List what a source yields, within seconds and documents."""
    seen = Seen()
    deadline = time.monotonic() + seconds
    limits = client.Limits(4, 4, 5.0, seconds / 2, seconds, 0.2)

    def check() -> None:
        if time.monotonic() > deadline or len(seen.documents) >= most:
            raise EnoughError

    with client.Network(limits) as network:
        try:
            if harvest_type == HarvestType.CSW:
                _look_at_catalogue(network, url, seen)
            else:
                source = crawl.Source(url, harvest_type == HarvestType.ERDDAP_WAF, 2, "host")
                walk = crawl.WALKS.get(harvest_type, crawl.crawl)
                found = walk(network, source, emit=seen.documents.extend, check=check)
                seen.remarks = found.issues
        except EnoughError:
            seen.is_cut = True
        except core_jobs.Failure as failure:
            seen.failure = failure.message
    seen.documents = list({document.identity: document for document in seen.documents}.values())[:most]
    return seen


def _look_at_catalogue(network: client.Network, url: str, seen: Seen) -> None:
    """The first page of a catalogue."""
    cap = settings.REGISTRY_MAX_LISTING_BYTES
    try:
        answer = network.call(network.fetch(csw.capabilities_url(url), cap=cap))
        capabilities = csw.read_capabilities(answer.body, url)
        body = csw.get_records(start=1, schema=capabilities.schema)
        headers = {"Content-Type": "application/xml"}
        page = csw.read_page(
            network.call(network.fetch(capabilities.post_url, cap=cap, headers=headers, post=body)).body
        )
    except client.FetchError as error:
        raise core_jobs.Failure("csw_exception", f"The catalogue failed: {error.message}") from error
    except csw.CswError as error:
        raise core_jobs.Failure("csw_exception", f"The catalogue failed: {error}.") from error
    seen.documents = [stage.Listed(identity, url) for identity in page.identities]
    seen.is_cut = page.matched > len(page.identities)


@dataclass(slots=True)
class Checked:
    """Counts and issues of a check."""

    good: int = 0
    bad: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, verdict: validation.Verdict) -> None:
        self.good += verdict.is_valid
        self.bad += not verdict.is_valid
        self.codes.update(issue.code for issue in verdict.issues)


def check_path(path: Path) -> Iterator[tuple[str, validation.Verdict]]:
    """Validate each document of a file, folder or zip."""
    if path.is_file() and path.suffix.lower() == ".xml":
        yield str(path), validation.validate(path.read_bytes())
        return
    with upload.pack(path) as archive:
        for name, body in upload.documents(archive):
            yield name, validation.validate(body)


def check_source(url: str, *, harvest_type: str) -> Iterator[tuple[str, validation.Verdict]]:
    """List a folder source and validate each document; a document that cannot be had gets an error."""
    seen = look(url, harvest_type=harvest_type, seconds=3600, most=settings.REGISTRY_MAX_DOCUMENTS)
    if seen.failure:
        raise core_jobs.Failure("listing_failed", seen.failure)
    for place, issue in seen.remarks:
        yield place, validation.Verdict(None, (issue,))
    with client.Network(client.Limits.of(None)) as network:
        for document in seen.documents:
            yield document.url, _verdict(network, document.url)


def _verdict(network: client.Network, url: str) -> validation.Verdict:
    try:
        answer: Any = network.call(network.fetch(url, cap=settings.REGISTRY_MAX_DOCUMENT_BYTES))
    except client.FetchError as error:
        return validation.Verdict(None, (validation.Issue("fetch", "error", error.code, error.message),))
    if answer.status != 200:
        message = f"The server answered {answer.status}."
        return validation.Verdict(None, (validation.Issue("fetch", "error", "status", message),))
    return validation.validate(answer.body)
