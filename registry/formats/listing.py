"""Read the folder listings of web servers: one tolerant, streaming parser for all of them (contract 4.3).

The parser is fed blocks of bytes and yields links with the date and size printed beside them. Memory does not grow
with the page: nothing but the current line is kept. Servers are never told apart by name; a *line* (text between line
breaks in `<pre>`, a table row, a list item) is the unit, and date and size are looked for in the text around a link.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from lxml import etree

MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTHS: Final = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
ENCODING_SNIFF: Final = 2048
# What stands around a link is looked at no further than this, so that a page cannot fill the memory.
LONGEST_TEXT: Final = 1000
# A size of more digits is none.
SIZE_DIGITS: Final = 15

_DATE = re.compile(
    r"""
    (?P<d1>\d{1,2})-(?P<m1>[A-Za-z]{3})-(?P<y1>\d{4})[ T]+(?P<t1>\d{1,2}:\d\d(?::\d\d)?)  # nginx, ERDDAP
  | (?P<y2>\d{4})-(?P<m2>\d\d)-(?P<d2>\d\d)[ T]+(?P<t2>\d{1,2}:\d\d(?::\d\d)?)Z?  # Apache, ERDDAP
  | (?P<y3>\d{4})-(?P<m3>[A-Za-z]{3})-(?P<d3>\d\d)[ T]+(?P<t3>\d{1,2}:\d\d(?::\d\d)?)  # lighttpd
  | (?P<m4>\d{1,2})/(?P<d4>\d{1,2})/(?P<y4>\d{4})[ T]+  # IIS
    (?P<t4>\d{1,2}:\d\d(?::\d\d)?)\s*(?P<ap4>[AaPp][Mm])?
  | (?P<m5>[A-Z][a-z]{2})[a-z]*\s(?P<d5>\d{1,2}),\s(?P<y5>\d{4})\s+  # IIS 6
    (?P<t5>\d{1,2}:\d\d)\s*(?P<ap5>[AaPp][Mm])?
    """,
    re.VERBOSE,
)
_SIZE = re.compile(r"(?<![\w.,:/-])(?P<number>\d+(?:\.\d+)?)\s?(?P<unit>[KMGTkmgt]i?[Bb]?|[Bb](?:ytes)?)?(?![\w.,:/-])")
_SIMPLE_NAME = re.compile(r"[A-Za-z0-9_~][A-Za-z0-9._~-]*\Z")
_META_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?\s*([A-Za-z0-9._:-]+)", re.IGNORECASE)
_END = re.compile(rb"</html", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SPACE = re.compile(r"\s+")


class UnreadableListingError(ValueError):
    """The page is no listing: not HTML at all, or an ERDDAP page with neither table nor `<pre>`."""


@dataclass(frozen=True, slots=True)
class Link:
    """One anchor of a listing page: `url` absolute and normalised, `date` as printed (UTC), `size` only if exact."""

    url: str
    text: str
    date: datetime | None = None
    size: int | None = None


@dataclass(slots=True)
class _Anchor:
    href: str
    text: str = ""
    tail: str = ""


def normalise_url(url: str) -> str:
    """Give a URL its one spelling: lower-case scheme and host, no default port, dot segments or fragment (4.3)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    port = parts.port
    netloc = host if port is None or port == DEFAULT_PORTS.get(scheme) else f"{host}:{port}"
    path = quote(_without_dots(parts.path) or "/", safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?[]{}|")
    return urlunsplit((scheme, netloc, path, query, ""))


def _without_dots(path: str) -> str:
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            if len(kept) > 1:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


def origin(url: str) -> tuple[str, int | None]:
    """Host and port, with http and https on their default ports counted as one origin (4.3)."""
    parts = urlsplit(url)
    port = parts.port
    return (parts.hostname or "").lower(), None if port in (None, DEFAULT_PORTS.get(parts.scheme)) else port


def exact_origin(url: str) -> str:
    """Scheme, host and port, as secrets need it: http is another origin than https (RFC 6454)."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    return f"{scheme}://{(parts.hostname or '').lower()}:{parts.port or DEFAULT_PORTS.get(scheme)}"


def folder_of(url: str) -> str:
    """The path of the folder a page stands for: up to and with the last slash."""
    path = urlsplit(url).path or "/"
    return path[: path.rfind("/") + 1]


def is_document(url: str) -> bool:
    """A document's path ends in `.xml` (any case, a query is allowed) or its URL speaks of a THREDDS ISO service."""
    return urlsplit(url).path.lower().endswith(".xml") or "thredds/iso" in url


def is_folder_below(url: str, root: str) -> bool:
    """True for a folder of the same origin below the source's path; parent and sort links fall out by this rule."""
    if not url.endswith("/") or origin(url) != origin(root):
        return False
    parts, base = urlsplit(url), folder_of(root)
    return not parts.query and parts.path.startswith(base) and parts.path != base


def page_encoding(head: bytes, content_type: str = "") -> str:
    """The encoding of a page: byte order mark, then the Content-Type header, then `<meta charset>`, else UTF-8."""
    if head.startswith(b"\xef\xbb\xbf"):
        return "utf-8"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    match = re.search(r"charset=[\"']?([A-Za-z0-9._:-]+)", content_type, re.IGNORECASE)
    if match is None:
        meta = _META_CHARSET.search(head[:ENCODING_SNIFF])
        name = meta.group(1).decode("ascii") if meta else "utf-8"
    else:
        name = match.group(1)
    try:
        b"".decode(name)
    except (LookupError, ValueError):
        return "utf-8"
    return name.lower()


def printed_date(text: str) -> tuple[datetime | None, str]:
    """The date printed in a line (read as UTC) and the line without it; no or an impossible date gives `None`."""
    match = _DATE.search(text)
    if match is None:
        return None, text
    rest = text[match.end() :] or text[: match.start()]
    return _date_of(match.groupdict()), rest


def _date_of(found: Mapping[str, str | None]) -> datetime | None:
    for n in "12345":
        if found[f"y{n}"] is None:
            continue
        year, month_text, day = int(found[f"y{n}"] or 0), found[f"m{n}"] or "", int(found[f"d{n}"] or 0)
        month = int(month_text) if month_text.isdigit() else MONTHS.get(month_text[:3].lower(), 0)
        if n == "4" and month > 12:  # an IIS with a European locale prints the day first
            month, day = day, month
        hour, minute, second = ([int(part) for part in (found[f"t{n}"] or "").split(":")] + [0])[:3]
        half = (found.get(f"ap{n}") or "").lower()
        if half:
            hour = hour % 12 + (12 if half == "pm" else 0)
        try:
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            return None
    return None


def printed_size(text: str) -> int | None:
    """The exact size in bytes printed in a line; a rounded one (`15K`, `1.2 MiB`) gives `None`."""
    match = _SIZE.search(text)
    if match is None or "." in match["number"] or len(match["number"]) > SIZE_DIGITS:
        return None
    if match["unit"] and match["unit"][0] not in "bB":
        return None
    return int(match["number"])


class _Events:
    """Target of lxml's push parser: turns tags into lines of anchors."""

    def __init__(self) -> None:
        self.ready: list[tuple[str, list[_Anchor]]] = []
        self.base: str | None = None
        self.has_markup = False
        self.has_body = False  # a table or <pre>, which every ERDDAP folder page has
        self._rows = 0
        self._before = ""
        self._anchors: list[_Anchor] = []
        self._open: _Anchor | None = None
        self._head_depth = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        self.has_markup = True
        if tag == "a":
            self._open = _Anchor(attributes.get("href", ""))
            self._anchors.append(self._open)
        elif tag == "base" and self.base is None and "href" in attributes:
            self.base = attributes["href"]
        elif tag in ("tr", "li", "br", "hr", "p", "div"):
            self._break()
            self._rows += tag == "tr"
        elif tag in ("table", "pre"):
            self.has_body = True
            self._break()
        elif tag in ("title", "script", "style"):
            self._head_depth += 1
        elif tag in ("td", "th"):
            self.data(" ")

    def end(self, tag: str) -> None:
        if tag == "a":
            self._open = None
        elif tag in ("tr", "li", "pre", "table"):
            self._break()
            self._rows -= tag == "tr" and self._rows > 0
        elif tag in ("title", "script", "style"):
            self._head_depth -= 1

    def data(self, data: str | bytes) -> None:
        if self._head_depth > 0:
            return
        text = data if isinstance(data, str) else data.decode()
        if self._open is not None:
            if len(self._open.text) < LONGEST_TEXT:
                self._open.text += text
            return
        if self._rows == 0 and "\n" in text:
            *lines, last = text.split("\n")
            for line in lines:
                self._add(line)
                self._break()
            text = last
        self._add(text)

    def _add(self, text: str) -> None:
        if self._anchors:
            if len(self._anchors[-1].tail) < LONGEST_TEXT:
                self._anchors[-1].tail += text
        elif len(self._before) < LONGEST_TEXT:
            self._before += text

    def _break(self) -> None:
        if self._anchors:
            self.ready.append((self._before, self._anchors))
            self._anchors = []
        self._before = ""

    def comment(self, text: str | bytes) -> None:
        """Comments hold nothing a listing needs."""

    def close(self) -> None:
        self._break()


class ListingParser:
    """Push parser of one listing page.

    `feed(block)` returns the links completed by the block, `close()` the rest. `url` is the page's final URL (after
    redirects). `is_closed` tells whether the page itself says that it ends. For what is no listing
    UnreadableListingError is raised.
    """

    def __init__(self, url: str, *, content_type: str = "", erddap: bool = False) -> None:
        self._url = url
        self._content_type = content_type
        self._erddap = erddap
        self._events = _Events()
        self._parser: etree.HTMLParser | None = None
        self._held = b""
        self._base: str | None = None
        self._base_folder = ""
        self._text_seen = False
        self._tail = b""
        self.is_closed = False

    def feed(self, block: bytes) -> list[Link]:
        self._look_for_end(block)
        if self._parser is None:
            self._held += block
            if len(self._held) < ENCODING_SNIFF:
                return []
            self._start()
            block, self._held = self._held, b""
        self._push(block)
        return self._drain()

    def close(self) -> list[Link]:
        if self._parser is None and self._held:
            self._start()
            self._push(self._held)
        if self._parser is None:
            raise UnreadableListingError("the page is empty")
        if not self._events.has_markup or not self._text_seen:
            raise UnreadableListingError("the page is not HTML")
        self._parser.close()
        if self._erddap and not self._events.has_body:
            raise UnreadableListingError("the page has neither table nor <pre>")
        return self._drain()

    def _look_for_end(self, block: bytes) -> None:
        """In the bytes: the parser closes whatever is open at the end, and does not tell that it did."""
        if self.is_closed:
            return
        text = self._tail + block.replace(b"\0", b"")
        self.is_closed = _END.search(text) is not None
        self._tail = text[-len("</html") :]

    def _start(self) -> None:
        encoding = page_encoding(self._held, self._content_type)
        self._text_seen = b"<" in self._held.replace(b"\0", b"")
        self._parser = etree.HTMLParser(target=self._events, encoding=encoding, no_network=True, huge_tree=True)  # type: ignore[arg-type]

    def _push(self, block: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed(block)
        except etree.ParserError as error:
            raise UnreadableListingError("the page is not HTML") from error

    def _drain(self) -> list[Link]:
        lines, self._events.ready = self._events.ready, []
        found: list[Link] = []
        for before, anchors in lines:
            found.extend(self._links(before, anchors))
        return found

    def _links(self, before: str, anchors: Sequence[_Anchor]) -> Iterator[Link]:
        # an icon and a name with the same target share the line's text; other neighbours only own what follows them
        alone = len({anchor.href for anchor in anchors}) == 1
        whole = before + " " + " ".join(anchor.tail for anchor in anchors) if alone else ""
        for anchor in anchors:
            text = _SPACE.sub(" ", anchor.text).strip()
            if self._erddap and not text.lower().endswith(".xml"):
                continue
            url = self._resolve(anchor.href.strip())
            if url is None:
                continue
            date, rest = printed_date(whole or anchor.tail)
            yield Link(url, text, date, printed_size(rest) if date else None)

    def _found_base(self) -> tuple[str, str]:
        """What links are relative to, and its folder; a base that is no address counts as none (HTML, 4.2.3)."""
        for base in (self._events.base, self._url):
            with contextlib.suppress(ValueError):
                found = urljoin(self._url, (base or "").strip())
                if found.lower().startswith(("http://", "https://")):
                    return found, normalise_url(urljoin(found, "."))
        raise UnreadableListingError("the page has no address")

    def _resolve(self, href: str) -> str | None:
        """Make a link absolute; `None` for empty, foreign-scheme and broken ones."""
        if not href or href.startswith(("#", "?")):
            return None
        if self._base is None:
            self._base, self._base_folder = self._found_base()
        if _SIMPLE_NAME.match(href):
            return self._base_folder + href
        scheme = _SCHEME.match(href)
        if scheme and scheme.group().lower() not in ("http:", "https:"):
            return None
        try:
            absolute = urljoin(self._base, href)
            if not absolute.lower().startswith(("http://", "https://")) or "\0" in absolute:
                return None
            return normalise_url(absolute)
        except ValueError:
            return None
