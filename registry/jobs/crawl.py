"""List a web-accessible folder: breadth first, folders below the source only, each page once (contract 4.3).

Links go to the staging table while a page streams in; nothing here grows with the number of documents but the set of
folders seen. A page that is not what it should be fails the run, so that an outage never looks like a purge.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import aiohttp
from django.conf import settings

from core import jobs as core_jobs
from registry.formats import listing, sitemap, thredds, validation
from registry.jobs import client, stage


@dataclass(frozen=True, slots=True)
class Source:
    """What the crawl must know of a harvest; a snapshot, so that later edits do not touch a run."""

    url: str
    erddap: bool
    max_depth: int
    scope: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    skip_broken_folders: bool = False

    @classmethod
    def of(cls, settings_of_run: dict[str, Any]) -> Source:
        return cls(
            url=settings_of_run["url"],
            erddap=settings_of_run["harvest_type"] == "ERDDAP-WAF",
            max_depth=settings_of_run["max_depth"],
            scope=settings_of_run["document_scope"],
            include=tuple(settings_of_run["include"]),
            exclude=tuple(settings_of_run["exclude"]),
            skip_broken_folders=settings_of_run["skip_broken_folders"],
        )


@dataclass(slots=True)
class Found:
    """What a crawl says beside the documents."""

    issues: list[tuple[str, validation.Issue]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    deeper: set[str] = field(default_factory=set)


def wanted(url: str, source: Source, root: str) -> bool:
    """Whether a listed document is within the source's scope and passes its globs."""
    parts, base = urlsplit(url), urlsplit(root)
    if source.scope != "any" and (parts.hostname or "") != (base.hostname or ""):
        return False
    if source.scope == "prefix" and not (
        listing.origin(url) == listing.origin(root) and parts.path.startswith(listing.folder_of(root))
    ):
        return False
    path = unquote(parts.path)
    names = (path, path.rpartition("/")[2])
    if source.include and not _matches(names, source.include):
        return False
    return not _matches(names, source.exclude)


def _matches(names: Iterable[str], globs: Iterable[str]) -> bool:
    patterns = tuple(globs)
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


class Page:
    """One listing page, read on the network's loop and handed over in blocks of links."""

    def __init__(self, network: client.Network, url: str, *, erddap: bool) -> None:
        self._network = network
        self.url = url
        self._erddap = erddap

    def links(self) -> Iterator[list[listing.Link]]:
        """Blocks of links; afterwards `url` is the final one. Raises FetchError for what is no complete listing.

        A page that breaks half-way is read again, so links may repeat.
        """
        blocks: asyncio.Queue[list[listing.Link] | Exception | None] = asyncio.Queue(maxsize=4)
        self._network.start(self._pump(blocks))
        while (block := self._network.call(blocks.get())) is not None:
            if isinstance(block, Exception):
                raise block
            yield block

    async def _pump(self, blocks: asyncio.Queue[list[listing.Link] | Exception | None]) -> None:
        try:
            await self._network.retrying(self.url, lambda: self._read(blocks))
        except Exception as error:
            await blocks.put(error)
        else:
            await blocks.put(None)

    async def _read(self, blocks: asyncio.Queue[list[listing.Link] | Exception | None]) -> None:
        async with self._network.opened(self.url) as (final, response):
            if response.status != 200:
                raise client.FetchError("status", f"The server answered {response.status}.", status=response.status)
            self.url = final
            kind = response.headers.get("Content-Type", "")
            parser = listing.ListingParser(final, content_type=kind, erddap=self._erddap)
            try:
                async for block in self._network.blocks(response, cap=settings.REGISTRY_MAX_LISTING_BYTES):
                    await blocks.put(parser.feed(block))
                await blocks.put(parser.close())
            except listing.UnreadableListingError as problem:
                raise client.FetchError("unreadable", f"The page cannot be read: {problem}.") from problem
            _refuse_cut(response, parser)


def _refuse_cut(response: aiohttp.ClientResponse, parser: listing.ListingParser) -> None:
    """A page whose end only the closing of the connection tells must say itself that it is complete."""
    has_end = "Content-Length" in response.headers or "chunked" in response.headers.get("Transfer-Encoding", "")
    if not has_end and not parser.is_closed:
        raise client.FetchError("truncated", "The listing ended early.")


def crawl(
    network: client.Network,
    source: Source,
    *,
    emit: Callable[[list[stage.Listed]], object],
    check: Callable[[], None],
) -> Found:
    """Walk the source's folders; `emit` gets blocks of documents within the scope, repeats included.

    Raises `Failure("listing_failed")` for a page that cannot be had, `Failure("blocked_address")` if it must not.
    """
    found = Found()
    root = ""
    seen: set[str] = {listing.normalise_url(source.url)}
    folders = deque([(listing.normalise_url(source.url), 0)])
    while folders:
        check()
        url, depth = folders.popleft()
        page = Page(network, url, erddap=source.erddap)
        try:
            for links in page.links():
                check()
                root = root or page.url
                emit([_listed(link) for link in links if _is_wanted(link, source, root)])
                _note_folders(links, depth=depth, source=source, root=root, seen=seen, folders=folders, found=found)
        except client.FetchError as error:
            if depth == 0 or not source.skip_broken_folders:
                raise _failure(url, error) from error
            found.broken.append(url)
            message = f"The folder could not be listed and its records were kept: {error.message}"
            found.issues.append((url, validation.Issue("list", "warning", "broken_folder", message)))
        seen.add(page.url)
    _warn_of_depth(found, source, root)
    return found


def _refuse_many(listings: Collection[object]) -> None:
    """A source that makes up folders without end must not fill the memory."""
    limit = settings.REGISTRY_MAX_DOCUMENTS
    if len(listings) > limit:
        raise core_jobs.Failure("too_many_documents", f"The source has more than {limit} folders.")


def _warn_of_depth(found: Found, source: Source, root: str) -> None:
    if found.deeper:
        message = f"{len(found.deeper)} folders lie deeper than {source.max_depth} levels and were not listed."
        found.issues.append((root, validation.Issue("list", "warning", "depth", message)))


def _failure(url: str, error: client.FetchError) -> core_jobs.Failure:
    code = "blocked_address" if isinstance(error, client.BlockedError) else "listing_failed"
    return core_jobs.Failure(code, f"The listing {url} failed: {error.message}")


def _is_wanted(link: listing.Link, source: Source, root: str) -> bool:
    return listing.is_document(link.url) and wanted(link.url, source, root)


def _listed(link: listing.Link) -> stage.Listed:
    return stage.Listed(link.url, link.url, link.date, link.size)


def _note_folders(
    links: Iterable[listing.Link],
    *,
    depth: int,
    source: Source,
    root: str,
    seen: set[str],
    folders: deque[tuple[str, int]],
    found: Found,
) -> None:
    for link in links:
        if link.url in seen or source.erddap or not listing.is_folder_below(link.url, root):
            continue
        if depth >= source.max_depth:
            found.deeper.add(link.url)
            _refuse_many(found.deeper)
            continue
        seen.add(link.url)
        _refuse_many(seen)
        folders.append((link.url, depth + 1))


def walk_sitemap(
    network: client.Network,
    source: Source,
    *,
    emit: Callable[[list[stage.Listed]], object],
    check: Callable[[], None],
) -> Found:
    """Every address a sitemap names, and those of the sitemaps of an index, within the source's scope."""
    root = listing.normalise_url(source.url)
    seen, waiting = {root}, deque([root])
    while waiting:
        check()
        url = waiting.popleft()
        found = _sitemap(network, url)
        emit([stage.Listed(address, address) for address in found.documents if wanted(address, source, root)])
        fresh = [address for address in found.sitemaps if address not in seen and wanted(address, source, root)]
        seen.update(fresh)
        _refuse_many(seen)
        waiting.extend(fresh)
    return Found()


def _sitemap(network: client.Network, url: str) -> sitemap.Sitemap:
    _final, body = _page(network, url)
    try:  # sitemaps may be gzip files, whatever the server calls them (sitemaps.org)
        return sitemap.read(client.gunzipped(body, cap=settings.REGISTRY_MAX_LISTING_BYTES))
    except client.FetchError as error:
        raise _failure(url, error) from error
    except sitemap.UnreadableSitemapError as error:
        raise core_jobs.Failure("listing_failed", f"The sitemap {url} failed: {error}.") from error


def walk_thredds(
    network: client.Network,
    source: Source,
    *,
    emit: Callable[[list[stage.Listed]], object],
    check: Callable[[], None],
) -> Found:
    """The ISO records of a THREDDS catalogue and of those it refers to on the same host, to the source's depth."""
    root = listing.normalise_url(source.url)
    anywhere = replace(source, include=(), exclude=())
    found, seen, waiting = Found(), {root}, deque([(root, 0)])
    while waiting:
        check()
        url, depth = waiting.popleft()
        catalog = _catalog(network, url)
        emit([stage.Listed(address, address) for address in catalog.documents if wanted(address, source, root)])
        for address in catalog.catalogs:
            if address in seen or not wanted(address, anywhere, root):
                continue
            if depth >= source.max_depth:
                found.deeper.add(address)
                _refuse_many(found.deeper)
                continue
            seen.add(address)
            _refuse_many(seen)
            waiting.append((address, depth + 1))
    _warn_of_depth(found, source, root)
    return found


def _catalog(network: client.Network, url: str) -> thredds.Catalog:
    final, body = _page(network, url)
    try:
        return thredds.read(body, final)
    except thredds.UnreadableCatalogError as error:
        raise core_jobs.Failure("listing_failed", f"The catalogue {url} failed: {error}.") from error


def _page(network: client.Network, url: str) -> tuple[str, bytes]:
    """The final address and the bytes of a listing that is read whole; the run fails if it cannot be had."""
    try:
        answer = network.call(network.fetch(url, cap=settings.REGISTRY_MAX_LISTING_BYTES))
    except client.FetchError as error:
        raise _failure(url, error) from error
    if answer.status != 200:
        raise core_jobs.Failure("listing_failed", f"The listing {url} failed: the server answered {answer.status}.")
    return answer.url, answer.body


def walk_document(
    network: client.Network,
    source: Source,
    *,
    emit: Callable[[list[stage.Listed]], object],
    check: Callable[[], None],
) -> Found:
    """A source that is one document lists itself."""
    url = listing.normalise_url(source.url)
    emit([stage.Listed(url, url)])
    return Found()


WALKS: Final[dict[str, Callable[..., Found]]] = {
    "WAF": crawl,
    "ERDDAP-WAF": crawl,
    "SITEMAP": walk_sitemap,
    "THREDDS": walk_thredds,
    "DOCUMENT": walk_document,
}


def walk(
    network: client.Network,
    settings_of_source: dict[str, Any],
    *,
    emit: Callable[[list[stage.Listed]], object],
    check: Callable[[], None],
) -> Found:
    """List a source the way of its type; `emit` gets blocks of documents, repeats included."""
    kind: str = settings_of_source["harvest_type"]
    return WALKS[kind](network, Source.of(settings_of_source), emit=emit, check=check)
