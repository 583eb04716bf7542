"""A metadata source with every habit and every fault: folders in each listing style, an ERDDAP page and a CSW.

The demo and the tests harvest it instead of the internet. Nothing here is part of the service itself.
"""

from __future__ import annotations

import functools
import hashlib
import posixpath
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from lxml import etree

from registry.formats import csw, samples

MONTHS: Final = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
STYLES: Final = ("nginx", "apache", "apache-table", "lighttpd", "iis", "python")
RESTED: Final = timedelta(days=30)


@dataclass(slots=True)
class Document:
    """A file of the source: its bytes and when they changed."""

    body: bytes
    modified: datetime

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:20]}"'


@dataclass(slots=True)
class Source:
    """The source's state, changed by tests and switches while it is served.

    `files` by path relative to a folder style's root. `faults` by path (as requested, without query): a status number,
    or one of `slow`, `truncated`, `endless`, `bomb`, `html`, `empty`, `hang`; `times` limits how often one strikes.
    `csw_fault`: `next0`, `beyond`, `absent`, `stuck`, `duplicates`, `exception2`.
    """

    files: dict[str, Document] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    times: dict[str, int] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    csw_fault: str = ""
    csw_schema: str = csw.GMD_SCHEMA
    csw_page: int = 0
    retry_after: str = ""
    robots: str = ""
    validators: bool = True
    dates: bool = True
    delay: float = 0.0
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)
    posts: list[bytes] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, body: bytes, *, age: timedelta = RESTED) -> None:
        """Add or replace a file that changed `age` ago."""
        self.files[path] = Document(body, (datetime.now(UTC) - age).replace(microsecond=0))

    def fill(self, documents: Iterable[tuple[str, bytes]]) -> None:
        """Add files."""
        for path, body in documents:
            self.put(path, body)

    def paths(self) -> list[str]:
        """What was asked for so far, in order."""
        return [path for _method, path, _headers in self.requests]

    def strikes(self, path: str) -> str:
        """The fault that meets a request for a path now, if any."""
        fault = self.faults.get(path, "")
        if fault and path in self.times:
            if self.times[path] <= 0:
                return ""
            self.times[path] -= 1
        return fault


class Server:
    """The source on a loopback port: `with Server(source) as server: server.url("nginx")`."""

    def __init__(self, source: Source, *, port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"source": source})
        self.source = source
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str) -> str:
        """The address of a style's folder (`nginx`), of a path with slashes, or of `csw`."""
        slash = "" if "/" in path or path == "csw" else "/"
        return f"http://127.0.0.1:{self.port}/{path}{slash}"

    def __enter__(self) -> Server:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def serve(self) -> None:
        """Serve in this thread until interrupted."""
        self._server.serve_forever(0.2)

    def close(self) -> None:
        """Stop listening; held requests are let go."""
        self.source.hold.set()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One request: a fault if one is switched on, else a listing, a file or a catalogue answer."""

    source: ClassVar[Source]
    protocol_version = "HTTP/1.1"
    server_version = "DemoSource"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet; the requests are kept in `source.requests`."""

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        source, path = self.source, unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        source.requests.append((self.command, self.path, dict(self.headers.items())))
        if source.delay:
            time.sleep(source.delay)
        if path in source.redirects:
            self._send(302, b"", {"Location": source.redirects[path]})
            return
        fault = source.strikes(path)
        if path == "/robots.txt" and source.robots and not fault:
            self._send(200, source.robots.encode(), {"Content-Type": "text/plain"})
        elif fault:
            self._fault(fault, path)
        elif path == "/csw":
            self._catalogue(body)
        else:
            self._folder_or_file(path)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        found = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in found.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def _fault(self, fault: str, path: str) -> None:
        if fault.isdigit():
            extra = {"Retry-After": self.source.retry_after} if self.source.retry_after else {}
            self._send(int(fault), b"secret of the remote host", {"Content-Type": "text/plain", **extra})
        elif fault == "slow":
            self.source.hold.wait(1.0)
            self._folder_or_file(path)
        elif fault == "hang":
            self.source.hold.wait(30)
            self.close_connection = True
        elif fault == "truncated":
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if path.endswith("/") else "application/xml")
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(b'<html><body><a href="station_000.xml">station_000.xml</a>')
            self.close_connection = True
        elif fault in ("endless", "bomb"):
            self._flood(fault)
        elif fault == "html":
            self._send(200, b"<!DOCTYPE html><html><body>Please log in</body></html>", {"Content-Type": "text/html"})
        elif fault == "empty":
            self._send(200, b"", {"Content-Type": "application/xml"})

    def _flood(self, fault: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        if fault == "bomb":
            body = _bomb()
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self._write_until_closed(lambda: body, once=True)
            return
        self.end_headers()
        block = b"<p>more and more</p>\n" * 3000
        self._write_until_closed(lambda: block, once=False)
        self.close_connection = True

    def _write_until_closed(self, block: Callable[[], bytes], *, once: bool) -> None:
        try:
            self.wfile.write(block())
            while not once and not self.source.hold.is_set():
                self.wfile.write(block())
        except OSError:
            self.close_connection = True

    # --- folders and files ------------------------------------------------------------------------------------

    def _folder_or_file(self, path: str) -> None:
        style, _, inner = path.lstrip("/").partition("/")
        document = self.source.files.get(inner)
        if document is not None:
            self._file(document)
            return
        known = {posixpath.dirname(name) for name in self.source.files}
        folder = inner.rstrip("/")
        is_folder = not folder or any(f"{name}/".startswith(f"{folder}/") for name in known)
        if (style in STYLES or style == "erddap") and path.endswith("/") and is_folder:
            self._send(200, self._listing(style, folder).encode(), {"Content-Type": "text/html;charset=utf-8"})
            return
        self._send(404, b"<html><body>Not found</body></html>", {"Content-Type": "text/html"})

    def _file(self, document: Document) -> None:
        headers = {"Content-Type": "application/xml"}
        if self.source.validators:
            headers |= {"ETag": document.etag, "Last-Modified": format_datetime(document.modified, usegmt=True)}
            if self.headers.get("If-None-Match") == document.etag:
                self._send(304, b"", {name: value for name, value in headers.items() if name != "Content-Type"})
                return
        self._send(200, document.body, headers)

    def _listing(self, style: str, folder: str) -> str:
        prefix = f"{folder}/" if folder else ""
        inside = [name[len(prefix) :] for name in self.source.files if name.startswith(prefix)]
        folders = sorted({name.partition("/")[0] for name in inside if "/" in name})
        files = sorted((name, self.source.files[prefix + name]) for name in inside if "/" not in name)
        path = f"/{style}/{prefix}"
        if style == "erddap":
            return _erddap(files)
        rows = [_row(style, path, f"{name}/", None, dates=self.source.dates) for name in folders]
        rows += [_row(style, path, name, document, dates=self.source.dates) for name, document in files]
        return _page(style, path, rows)

    # --- the catalogue ----------------------------------------------------------------------------------------

    def _catalogue(self, body: bytes) -> None:
        source = self.source
        if self.command != "POST":
            asked = {name.lower(): values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            if asked.get("request") == "GetCapabilities":
                self._send(200, _capabilities(self._own_url(), source.csw_schema), {"Content-Type": "application/xml"})
            else:
                self._send(400, _exception(), {"Content-Type": "application/xml"})
            return
        source.posts.append(body)
        request = etree.fromstring(body)
        start, most = int(request.get("startPosition", "1")), int(request.get("maxRecords", "10"))
        self._send(200, self._page_of_records(start, source.csw_page or most), {"Content-Type": "application/xml"})

    def _own_url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/csw"  # type: ignore[index]

    def _page_of_records(self, start: int, most: int) -> bytes:
        source = self.source
        documents = (document.body for _name, document in sorted(source.files.items()))
        records = [_bare(body) for body in documents if _fits(body)]
        if source.csw_fault == "exception2" and start > 1:
            return _exception()
        matched = len(records)
        if source.csw_fault == "duplicates" and records:
            records = records + records[: len(records) // 2]
            matched = len(records)
        page = records[start - 1 : start - 1 + most]
        following = start + len(page) if start + len(page) <= matched else 0
        attribute = _next_record(source.csw_fault, following, start=start, matched=matched)
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<csw:GetRecordsResponse xmlns:csw="{csw.CSW}" version="2.0.2"><csw:SearchStatus/>'
            f'<csw:SearchResults numberOfRecordsMatched="{matched}" numberOfRecordsReturned="{len(page)}"{attribute}>'
            + "".join(page)
            + "</csw:SearchResults></csw:GetRecordsResponse>"
        ).encode()


@functools.cache
def _bomb() -> bytes:
    """200 MB of blanks, packed a megabyte at a time so that making it costs no memory."""
    pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    blank = b" " * 1_000_000
    return b"".join([pack.compress(b"<pre>"), *(pack.compress(blank) for _ in range(200)), pack.flush()])


def _next_record(fault: str, following: int, *, start: int, matched: int) -> str:
    """The `nextRecord` attribute as a catalogue with this fault writes it."""
    if fault == "absent":
        return ""
    value = {"next0": 0, "stuck": start}.get(fault, following)
    if fault == "beyond" and not following:
        value = matched + 1
    return f' nextRecord="{value}"'


@functools.lru_cache(maxsize=1000)
def _fits(document: bytes) -> bool:
    """Whether a document can stand inside another: it is well-formed and brings no document type."""
    try:
        root = etree.fromstring(document, etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True))
    except etree.XMLSyntaxError:
        return False
    return root.getroottree().docinfo.internalDTD is None


def _bare(document: bytes) -> str:
    """A record without its XML declaration."""
    return re.sub(rb"^\s*<\?xml[^>]*\?>", b"", document).decode()


def _capabilities(url: str, schema: str) -> bytes:
    return (
        f'<?xml version="1.0"?><csw:Capabilities xmlns:csw="{csw.CSW}" xmlns:ows="{csw.OWS}" '
        f'xmlns:xlink="{csw.XLINK}" version="2.0.2"><ows:OperationsMetadata>'
        f'<ows:Operation name="GetRecords"><ows:DCP><ows:HTTP><ows:Get xlink:href="{url}"/>'
        f'<ows:Post xlink:href="{url}"><ows:Constraint name="PostEncoding"><ows:Value>XML</ows:Value>'
        "</ows:Constraint></ows:Post></ows:HTTP></ows:DCP>"
        f'<ows:Parameter name="outputSchema"><ows:Value>{csw.CSW}</ows:Value><ows:Value>{schema}</ows:Value>'
        "</ows:Parameter></ows:Operation></ows:OperationsMetadata></csw:Capabilities>"
    ).encode()


def _exception() -> bytes:
    return (
        f'<?xml version="1.0"?><ows:ExceptionReport xmlns:ows="{csw.OWS}" version="1.0.0">'
        '<ows:Exception exceptionCode="NoApplicableCode"><ows:ExceptionText>out of order</ows:ExceptionText>'
        "</ows:Exception></ows:ExceptionReport>"
    ).encode()


# --- listing styles ---------------------------------------------------------------------------------------------


def _row(style: str, path: str, name: str, document: Document | None, *, dates: bool) -> str:
    href, shown = quote(name), escape(name)
    moment = document.modified if document else datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    month = MONTHS[moment.month - 1]
    size = str(len(document.body)) if document else "-"
    rounded = f"{len(document.body) / 1024:.0f}K" if document else "  - "
    if not dates or style == "python":
        return f'<li><a href="{href}">{shown}</a></li>' if style == "python" else f'<a href="{href}">{shown}</a>'
    if style == "nginx":
        return f'<a href="{href}">{shown}</a>{" " * 8}{moment:%d}-{month}-{moment:%Y %H:%M}{size:>20}'
    if style == "apache":
        return (
            f'<img src="/icons/text.gif" alt="[TXT]"> <a href="{href}">{shown}</a>  {moment:%Y-%m-%d %H:%M}  {rounded} '
        )
    if style == "apache-table":
        return (
            f'<tr><td valign="top"><img src="/icons/text.gif" alt="[TXT]"></td><td><a href="{href}">{shown}</a></td>'
            f'<td align="right">{moment:%Y-%m-%d %H:%M}  </td><td align="right">{rounded}</td><td>&nbsp;</td></tr>'
        )
    if style == "lighttpd":
        kind = "application/xml" if document else "Directory"
        return (
            f'<tr><td class="n"><a href="{href}">{shown}</a></td><td class="m">{moment:%Y}-{month}-{moment:%d %H:%M:%S}'
            f'</td><td class="s">{rounded if document else "-  "}</td><td class="t">{kind}</td></tr>'
        )
    hour = moment.hour % 12 or 12
    return (
        f"{moment.month}/{moment.day}/{moment.year} {hour:>2}:{moment:%M} {'AM' if moment.hour < 12 else 'PM'}"
        f'{size if document else "&lt;dir&gt;":>13} <A HREF="{path}{href}">{shown}</A><br>'
    )


def _page(style: str, path: str, rows: list[str]) -> str:
    title = f"Index of {escape(path)}"
    if style == "nginx":
        body = f'<h1>{title}</h1><hr><pre><a href="../">../</a>\n' + "\n".join(rows) + "\n</pre><hr>"
    elif style == "apache":
        sort = '<a href="?C=N;O=D">Name</a> <a href="?C=M;O=A">Last modified</a> <a href="?C=S;O=A">Size</a><hr>'
        body = f'<h1>{title}</h1><pre>{sort}<a href="/">Parent Directory</a>   -\n' + "\n".join(rows) + "\n<hr></pre>"
    elif style == "apache-table":
        sort = '<tr><th></th><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>'
        parent = '<tr><td></td><td><a href="/">Parent Directory</a></td><td>&nbsp;</td><td>  - </td></tr>'
        body = f"<h1>{title}</h1><table>{sort}{parent}\n" + "\n".join(rows) + "\n</table>"
    elif style == "lighttpd":
        parent = '<tr><td class="n"><a href="../">..</a>/</td><td></td><td class="s">-  </td><td>Directory</td></tr>'
        body = f'<h2>{title}</h2><div class="list"><table><tbody>{parent}' + "".join(rows) + "</tbody></table></div>"
    elif style == "iis":
        body = f'<H1>127.0.0.1 - {escape(path)}</H1><hr><pre><A HREF="/">[To Parent Directory]</A><br><br>'
        body += "".join(rows) + "</pre><hr>"
    else:
        body = f"<h1>Directory listing for {escape(path)}</h1><hr><ul>" + "\n".join(rows) + "</ul><hr>"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{body}</body></html>"


def _erddap(files: list[tuple[str, Document]]) -> str:
    rows = "".join(
        f'<tr><td><img src="/images/xml.gif" alt="[XML]"></td><td><a href="{quote(name)}">{escape(name)}</a></td>'
        f"<td>{document.modified:%d-%b-%Y %H:%M}</td><td>{len(document.body)}</td></tr>\n"
        for name, document in files
    )
    return (
        "<!DOCTYPE html><html><head><title>ERDDAP - Index</title></head><body>"
        '<a href="/erddap/index.html">ERDDAP</a> &gt; <a href="readme.xml">how to use this folder</a>'
        '<h1>ERDDAP, Version 2.23</h1><table class="compact"><tr><th></th><th><a href="?C=N">Name</a></th>'
        f'<th>Last modified</th><th>Size</th></tr><tr><td></td><td><a href="../">Parent Directory</a></td></tr>{rows}'
        '</table><p>Questions? <a href="mailto:erddap@example.org">erddap@example.org</a></p></body></html>'
    )


def demo() -> Source:
    """The source the demo harvests: the generated collection, partly in sub-folders."""
    source = Source()
    for number, (name, body) in enumerate(samples.collection()):
        source.put(f"moored/{name}" if number % 4 == 1 else name, body)
    return source
