"""How a download is cited: the text its archive carries, BibTeX and RIS (contract §5.1, §2.4)."""

import datetime
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

FORMATS: Final = {
    "txt": "text/plain; charset=utf-8",
    "bibtex": "application/x-bibtex; charset=utf-8",
    "ris": "application/x-research-info-systems; charset=utf-8",
}
DEFAULT_PORTAL: Final = "https://www.idigbio.org/portal"


class Share(NamedTuple):
    """How many rows of a file one recordset contributed."""

    recordset: str
    rows: int


def ordered(shares: Sequence[Share]) -> list[Share]:
    """By descending count, then uuid."""
    return sorted(shares, key=lambda share: (-share.rows, share.recordset))


def text(
    query: dict[str, Any] | None,
    shares: Sequence[Share],
    *,
    snapshot: datetime.datetime,
    portal: str = DEFAULT_PORTAL,
) -> str:
    """The citation file: `query` normalised (None prints null), `snapshot` the (aware) time of the data version."""
    lines = [
        f"{portal} ({snapshot.year}),",
        f"Query: {json.dumps(query)},",
        f"{sum(share.rows for share in shares)} records, accessed on {_moment(snapshot)},",
        f"contributed by {len(shares)} Recordsets, Recordset identifiers:",
        *(f"{portal}/recordsets/{share.recordset} ({share.rows} records)" for share in ordered(shares)),
    ]
    return "\n".join(lines) + "\n"  # iDigBio: scripts parse these very lines


def _moment(snapshot: datetime.datetime) -> str:
    return snapshot.astimezone(datetime.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def bibtex(uuid: str, *, title: str, publisher: str, url: str, note: str, accessed: datetime.datetime) -> str:
    """A BibTeX entry of type misc."""
    fields = {
        "title": f"{{{_tex(title)}}}",
        "author": f"{{{_tex(publisher)}}}",
        "year": str(accessed.year),
        "url": url,
        "urldate": accessed.date().isoformat(),
        "note": _tex(note),
    }
    body = ",\n".join(f"  {name} = {{{content}}}" for name, content in fields.items())
    return f"@misc{{{uuid},\n{body}\n}}\n"


_TEX: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "_": r"\_",
        "$": r"\$",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
    }
)


def _tex(plain: str) -> str:
    return " ".join(plain.split()).translate(_TEX)


def ris(uuid: str, *, title: str, publisher: str, url: str, note: str, accessed: datetime.datetime) -> str:
    """A RIS record of type DATA."""
    rows = [
        ("TY", "DATA"),
        ("ID", uuid),
        ("TI", title),
        ("AU", publisher),
        ("PB", publisher),
        ("PY", f"{accessed:%Y}"),
        ("DA", f"{accessed:%Y/%m/%d}"),
        ("Y2", f"{accessed:%Y/%m/%d}"),
        ("UR", url),
        ("N1", note),
    ]
    return "".join(f"{tag}  - {' '.join(content.split())}\r\n" for tag, content in rows) + "ER  - \r\n"
