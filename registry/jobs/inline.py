"""Documents that are at hand already (a catalogue's page, an upload): check, store and stage them (contract 4.3, 6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from registry.formats import validation
from registry.jobs import client, fetch, stage


class Inline:
    """Stages batches of documents with what validation says; nothing is fetched."""

    def __init__(self, network: client.Network, staged: stage.Stage) -> None:
        self._network = network
        self._stage = staged

    def store(
        self,
        bodies: Mapping[str, bytes],
        *,
        url_of: Callable[[str], str],
        check: Callable[[], None],
        noted: Callable[[list[stage.Result]], None],
        resume: Mapping[str, Any] | None = None,
    ) -> int:
        """Stage documents by identity, and with them where a takeover goes on; how many were new to this run."""
        fresh = self._stage.place([stage.Listed(identity, url_of(identity)) for identity in bodies])
        waiting = self._stage.waiting_of(list(bodies))
        threads = self._network.threads
        pending = [threads.submit(examined, item, bodies[item.identity], self._stage) for item in waiting]
        results: list[stage.Result] = []
        for done in pending:
            check()
            results.append(done.result())
        self._network.call(self._upload([(r, bodies[i.identity]) for r, i in zip(results, waiting, strict=True)]))
        self._stage.store(results, resume=resume)
        noted(results)
        return fresh

    async def _upload(self, pairs: list[tuple[stage.Result, bytes]]) -> None:
        for result, body in pairs:
            if result.outcome == "fetched":
                await fetch.store(self._network, result.columns["content_sha256"], body)


def too_large(body: bytes) -> validation.Issue | None:
    """What is wrong with a document of more bytes than one may have (4.1, limits)."""
    cap: int = settings.REGISTRY_MAX_DOCUMENT_BYTES
    if len(body) <= cap:
        return None
    return validation.Issue("fetch", "error", "too_large", f"The document is larger than {cap} bytes.")


def examined(waiting: stage.Waiting, body: bytes, staged: stage.Stage) -> stage.Result:
    """What a document at hand is, compared with the stored one; one that is too large is as good as not there."""
    problem = too_large(body)
    if problem is not None:
        return staged.failed(waiting, problem.code, problem.message)
    sha256 = hashlib.sha256(body).hexdigest()
    fetched: dict[str, Any] = {"fetched_at": datetime.now(UTC)}
    if sha256 == waiting.content_sha256 and waiting.validator_version == validation.VALIDATOR_VERSION:
        return stage.Result(waiting.id, "unchanged", waiting.url, fetched, is_good=waiting.valid)
    verdict = validation.validate(body)
    columns = stage.content_columns(verdict, url=waiting.url, sha256=sha256, size=len(body)) | fetched
    columns["waf_name"] = staged.waf_name(waiting.identity)
    issues = [issue.as_dict() for issue in verdict.issues]
    return stage.Result(
        waiting.id, "fetched", waiting.url, columns, issues, is_good=verdict.is_valid, received=len(body)
    )
