"""Harvest a CSW catalogue: the pages bring the records with them, so listing and fetching are one (contract 4.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings

from core import jobs as core_jobs
from registry.formats import csw, validation
from registry.jobs import client, inline, stage
from registry.models import HarvestRun


class Catalogue:
    """One run over a catalogue. Where it stands is stored with every page, so a takeover goes on from there."""

    def __init__(self, network: client.Network, run: HarvestRun, staged: stage.Stage) -> None:
        self._network = network
        self._run = run
        self._inline = inline.Inline(network, staged)
        self._url: str = run.settings["url"]
        self._cql: str = run.settings.get("cql_filter", "")
        self.issues: list[tuple[str, validation.Issue]] = []

    def harvest(self, *, check: Callable[[], None], noted: Callable[[list[stage.Result]], None]) -> None:
        """Read all pages; `noted` hears of each page's results. Raises `Failure("csw_exception")` for a bad page."""
        capabilities = self._capabilities()
        state: dict[str, Any] = self._run.resume or {"start": 1, "seen": 0, "repeats": 0}
        start: int | None = state["start"]
        matched = 0
        while start is not None:
            check()
            page = self._page(capabilities, start)
            matched = page.matched
            bodies: dict[str, bytes] = {}
            for identity, body in zip(page.identities, page.records, strict=True):
                bodies.setdefault(identity, body)
            fresh = self._inline.store(bodies, url_of=lambda _identity: self._url, check=check, noted=noted)
            state["seen"] += fresh
            state["repeats"] += len(page.records) - fresh
            limit = settings.REGISTRY_MAX_DOCUMENTS
            if state["seen"] >= limit and page.matched > limit:
                raise core_jobs.Failure("too_many_documents", f"The catalogue has more than {limit} records.")
            start = csw.next_start(start=start, returned=len(page.records), page=page, limit=limit)
            state["start"] = start if start is not None else state["start"]
            HarvestRun.objects.filter(pk=self._run.pk).update(resume=state)
        self._remark(state, matched)

    def _remark(self, state: dict[str, Any], matched: int) -> None:
        if state["repeats"]:
            message = f"{state['repeats']} records came more than once and count once."
            self.issues.append((self._url, validation.Issue("list", "warning", "duplicate", message)))
        if state["seen"] + state["repeats"] < matched:
            message = f"{matched} records were announced, {state['seen']} came."
            self.issues.append((self._url, validation.Issue("list", "warning", "short_delivery", message)))

    def _capabilities(self) -> csw.Capabilities:
        answer = self._answer(csw.capabilities_url(self._url), None)
        try:
            return csw.read_capabilities(answer, self._url)
        except csw.CswError as error:
            raise core_jobs.Failure("csw_exception", f"The catalogue failed: {error}.") from error

    def _page(self, capabilities: csw.Capabilities, start: int) -> csw.Page:
        request = csw.get_records(start=start, schema=capabilities.schema, cql=self._cql)
        answer = self._answer(capabilities.post_url, request)
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
