"""Read a CSW catalogue: the pages bring the records with them, so listing and fetching are one (contract 4.3)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.conf import settings

from core import jobs as core_jobs
from registry.formats import csw, validation
from registry.jobs import client, inline, stage
from registry.models import HarvestRun


class Catalogue:
    """One run over a catalogue. Where it stands is stored with every page, so a takeover goes on from there."""

    def __init__(self, network: client.Network, run: HarvestRun, staged: stage.Stage) -> None:
        self._run = run
        self._inline = inline.Inline(network, staged)
        self._reader = Reader(network, run.settings)
        self._url: str = run.settings["url"]
        self.issues: list[tuple[str, validation.Issue]] = []

    def harvest(self, *, check: Callable[[], None], noted: Callable[[list[stage.Result]], None]) -> None:
        """Read all pages; `noted` hears of each page's results. Raises `Failure("csw_exception")` for a bad page."""
        limit = settings.REGISTRY_MAX_DOCUMENTS
        # the next page to ask for (None after the last), how many records came and how many were announced
        state: dict[str, Any] = self._run.resume or {"start": 1, "came": 0, "matched": 0}
        seen = self._run.staged.count()
        for page, start in self._reader.pages(state["start"]):
            check()
            bodies: dict[str, bytes] = {}
            for identity, body in zip(page.identities, page.records, strict=True):
                bodies.setdefault(identity, body)
            state = {"start": start, "came": state["came"] + len(page.records), "matched": page.matched}
            seen += self._inline.store(
                bodies, url_of=lambda _identity: self._url, check=check, noted=noted, resume=state
            )
            if seen >= limit:
                break
        if seen >= limit and state["matched"] > limit:
            raise core_jobs.Failure("too_many_documents", f"The catalogue has more than {limit} records.")
        self._remark(seen=seen, came=state["came"], matched=state["matched"])

    def _remark(self, *, seen: int, came: int, matched: int) -> None:
        if came > seen:
            message = f"{came - seen} records came more than once and count once."
            self.issues.append((self._url, validation.Issue("list", "warning", "duplicate", message)))
        if came < matched:
            message = f"{matched} records were announced, {seen} came."
            self.issues.append((self._url, validation.Issue("list", "warning", "short_delivery", message)))


class Reader:
    """The pages of the catalogue that the settings of a source name."""

    def __init__(self, network: client.Network, source: Mapping[str, Any]) -> None:
        self._network = network
        self._url: str = source["url"]
        self._cql: str = source.get("cql_filter", "")

    def pages(self, start: int | None = 1) -> Iterator[tuple[csw.Page, int | None]]:
        """The pages from a position on, each with the position of the next one, None at the end.

        Raises `Failure("csw_exception")` for a bad page, `Failure("blocked_address")` if the address must not be asked.
        """
        limit = settings.REGISTRY_MAX_DOCUMENTS
        while start is not None:
            page = self._page(start)
            start = csw.next_start(start=start, returned=len(page.records), page=page, limit=limit)
            yield page, start

    @functools.cached_property
    def _capabilities(self) -> csw.Capabilities:
        answer = self._answer(csw.capabilities_url(self._url), None)
        try:
            return csw.read_capabilities(answer, self._url)
        except csw.CswError as error:
            raise core_jobs.Failure("csw_exception", f"The catalogue failed: {error}.") from error

    def _page(self, start: int) -> csw.Page:
        request = csw.get_records(start=start, schema=self._capabilities.schema, cql=self._cql)
        answer = self._answer(self._capabilities.post_url, request)
        try:
            return csw.read_page(answer)
        except csw.CswError as error:
            raise core_jobs.Failure("csw_exception", f"The page from {start} failed: {error}.") from error

    def _answer(self, url: str, post: bytes | None) -> bytes:
        headers = {"Content-Type": "application/xml"} if post is not None else {}
        work = self._network.fetch(url, cap=settings.REGISTRY_MAX_LISTING_BYTES, headers=headers, post=post)
        try:
            answer = self._network.call(work)
        except client.BlockedError as error:
            raise core_jobs.Failure("blocked_address", f"{url}: {error.message}") from error
        except client.FetchError as error:
            raise core_jobs.Failure("csw_exception", f"The catalogue failed: {error.message}") from error
        if answer.status != 200:
            raise core_jobs.Failure("csw_exception", f"The catalogue answered {answer.status}.")
        return answer.body
