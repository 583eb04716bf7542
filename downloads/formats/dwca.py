"""`meta.xml`, the descriptor of a Darwin Core Archive (contract §5.1, §5.3; Darwin Core Text Guide)."""

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from downloads.formats import members, terms

NAMESPACE: Final = "http://rs.tdwg.org/dwc/text/"
_DELIMITERS: Final = {",": ",", "\t": "\\t"}


def meta_xml(files: Sequence[members.Member], *, compat: str = "") -> bytes:
    """The descriptor of these data files, core first; `compat="2016"` writes it as the original did."""
    described = [member for member in files if member.row_type]
    if compat == "2016":
        body = "".join(_old_extension(member) for member in described)
        return f'\n<archive xmlns="{NAMESPACE}">\n{body}</archive>\n'.encode()
    parts = [_part("core" if member.is_core else "extension", member) for member in described]
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<archive xmlns="{NAMESPACE}" metadata="eml.xml">\n'
    return f"{head}{''.join(parts)}</archive>\n".encode()


def _part(tag: str, member: members.Member) -> str:
    key = "id" if tag == "core" else "coreid"
    return _element(tag, key, member, encoding="UTF-8", lines="\\r\\n")


def _old_extension(member: members.Member) -> str:
    # iDigBio 2016: no core, "\n" though rows end CRLF
    return _element("extension", "coreid", member, encoding="utf-8", lines="\\n")


def _element(tag: str, key: str, member: members.Member, *, encoding: str, lines: str) -> str:
    attributes = {
        "encoding": encoding,
        "fieldsTerminatedBy": _DELIMITERS[member.delimiter],
        "linesTerminatedBy": lines,
        "fieldsEnclosedBy": '"',
        "ignoreHeaderLines": "1",
        "rowType": member.row_type,
    }
    written = " ".join(f"{name}={_quoted(text)}" for name, text in attributes.items())
    fields = "".join(
        f'    <field index="{place}" term={_quoted(terms.uri(column.header))}/>\n'
        for place, column in enumerate(member.columns, start=1)
    )
    return (
        f"  <{tag} {written}>\n"
        f"    <files>\n      <location>{escape(member.name)}</location>\n    </files>\n"
        f'    <{key} index="0"/>\n{fields}  </{tag}>\n'
    )


def _quoted(text: str) -> str:
    return quoteattr(text) if '"' not in text else f'"{escape(text, {chr(34): "&quot;"})}"'
