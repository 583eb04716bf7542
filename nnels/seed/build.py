"""Making the demo titles: files, items, accounts. Repeatable: the same UUIDs, the same bytes."""

import hashlib
import io
import uuid as uuids
import zipfile

from django.db import connection, transaction

from core import blobs
from core.models import User
from nnels import models
from nnels.formats import epub_writer, metadata, recognise
from nnels.jobs import catalogue
from nnels.seed import library

_STAMP = (1980, 1, 1, 0, 0, 0)
_MODIFIED = "2020-01-01T00:00:00Z"
ACCESSIBILITY = {
    "accessMode": ["textual"],
    "accessModeSufficient": ["textual"],
    "accessibilityFeature": ["readingOrder", "structuralNavigation", "tableOfContents"],
    "accessibilityHazard": ["none"],
    "accessibilitySummary": "Text with headings and a table of contents; no images, sound or scripts.",
}


def uuid_of(work: library.Work) -> uuids.UUID:
    """A work's UUID, the same on every run."""
    return uuids.UUID(work.uuid) if work.uuid else uuids.uuid5(metadata.NAMESPACE, f"seed:{work.title}")


def contents(work: library.Work) -> dict[str, bytes]:
    """Format → bytes of a work."""
    made = {"epub": epub(work)}
    if "txt" in work.more:
        made["txt"] = "\n\n".join([work.title, work.creator, *work.text, ""]).encode()
    if "brf" in work.more:
        made["brf"] = braille(work)
    if "daisy202" in work.more:
        made["daisy202"] = daisy(work)
    return made


def epub(work: library.Work) -> bytes:
    """The work as EPUB 3."""
    return epub_writer.build(
        epub_writer.Book(
            uuid=str(uuid_of(work)),
            title=work.title,
            creators=[work.creator],
            language=work.language,
            chapters=[(f"{number}", [sentence]) for number, sentence in enumerate(work.text, 1)],
            modified=_MODIFIED,
            date=work.year,
            publisher="Quincunx",
            isbn=work.isbn,
            subjects=work.subjects,
            description=work.description,
        )
    )


def braille(work: library.Work) -> bytes:
    """Upper-case ASCII in 40 cells a line: what an embosser takes as uncontracted braille."""
    words = metadata.clean(" ".join([work.title, *work.text])).upper().encode("ascii", "ignore").decode().split()
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) + 1 > 40:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\r\n".join([*lines, line, "\f"]).encode("ascii")


def daisy(work: library.Work) -> bytes:
    """A small DAISY 2.02 book of text only (NCC, SMIL, content), byte-identical on every run."""
    heading = f'<h1 class="title" id="h1"><a href="text.smil#p1">{work.title}</a></h1>'
    meta = {
        "dc:title": work.title, "dc:creator": work.creator, "dc:identifier": str(uuid_of(work)),
        "dc:language": work.language, "dc:date": "2020-01-01", "dc:format": "Daisy 2.02", "dc:publisher": "Quincunx",
        "ncc:charset": "utf-8", "ncc:pageFront": "0", "ncc:pageNormal": "0", "ncc:pageSpecial": "0",
        "ncc:tocItems": "1", "ncc:totalTime": "0:00:00", "ncc:multimediaType": "textNcc",
    }  # fmt: skip
    tags = "".join(f'<meta name="{name}" content="{value}"/>' for name, value in meta.items())
    head = f'<head><title>{work.title}</title><meta http-equiv="Content-type" content="text/html; charset=utf-8"/>'
    xhtml = '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml">'
    ncc = f"{xhtml}{head}{tags}</head><body>{heading}</body></html>\n"
    paragraphs = "".join(f"<p>{sentence}</p>" for sentence in work.text)
    text = f'{xhtml}{head}</head><body><h1 id="t1">{work.title}</h1>{paragraphs}</body></html>\n'
    smil = (
        '<?xml version="1.0" encoding="utf-8"?>\n<smil><head><meta name="dc:format" content="Daisy 2.02"/></head>'
        '<body><seq><par endsync="last" id="p1"><text src="text.html#t1" id="x1"/></par></seq></body></smil>\n'
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as target:
        for name, content in (("ncc.html", ncc), ("text.html", text), ("text.smil", smil)):
            target.writestr(zipfile.ZipInfo(name, _STAMP), content.encode(), compress_type=zipfile.ZIP_STORED)
    return out.getvalue()


def titles() -> dict[str, int]:
    """Make or update every work; how many items are new, changed, unchanged."""
    done = {"created": 0, "updated": 0, "unchanged": 0}
    # The work with a node id of its own first: no other may take it.
    for work in sorted(library.WORKS, key=lambda work: work.nid is None):
        done[_store(work)] += 1
    restart_sequence()
    return done


def _store(work: library.Work) -> str:
    fields = {
        "label": work.title,
        "creators": [work.creator],
        "languages": [work.language],
        "isbn": [work.isbn] if work.isbn else [],
        "published_date": work.year or None,
        "subjects": list(work.subjects),
        "description": work.description,
        "publisher": "Quincunx",
        "rights": "open" if work.is_open else "restricted",
        "published": work.is_published,
        "accessibility": ACCESSIBILITY,
        "source": "seed",
    }
    uuid = uuid_of(work)
    with transaction.atomic():
        item = models.Item.objects.select_for_update().filter(uuid=uuid).first()
        was_published = item is not None and item.published
        outcome = "updated" if item else "created"
        if item is None:
            is_changed, item = True, catalogue.create(uuid, fields, nid=_free_nid(work.nid))
        else:
            is_changed = catalogue.update(item, fields)
        for code, content in contents(work).items():
            is_changed |= _place(item, code, content)
        if not is_changed:
            return "unchanged"
        catalogue.settle(item, was_published=was_published)
    return outcome


def _free_nid(nid: int | None) -> int | None:
    return nid if nid is not None and not models.Item.objects.filter(id=nid).exists() else None


def _place(item: models.Item, code: str, content: bytes) -> bool:
    digest = hashlib.sha256(content).hexdigest()
    if models.File.objects.filter(item=item, format=code, part=1, sha256=digest, missing=False).exists():
        return False
    media_type = recognise.MEDIA_TYPES[code]
    key = catalogue.blob_key(item.uuid, digest, recognise.EXTENSIONS[code])
    blobs.put(key, content, media_type)
    return catalogue.place_file(
        item, format_code=code, part=1, media_type=media_type, size=len(content), sha256=digest, key=key
    )


def restart_sequence() -> None:
    """Let the next node id follow the highest one."""
    with connection.cursor() as cursor:
        for table in ("nnels_item", "core_user"):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "
                f"greatest((SELECT max(id) FROM {table}), 1), (SELECT count(*) > 0 FROM {table}))"
            )


# --- accounts -------------------------------------------------------------------------------------------------------


def accounts(*, staff_password: str) -> list[str]:
    """The document's account, an unverified reader and a staff account; the user names made or found."""
    with transaction.atomic():
        reader = _account("test-account", "notReal", nid=117)
        library_, _ = models.Library.objects.get_or_create(name="Demo Public Library", defaults={"code": "DEMO"})
        models.Reader.objects.update_or_create(
            user=reader, defaults={"print_disability_verified": True, "home_library": library_}
        )
        _account("unverified-reader", "notReal")
        _account("nnels-staff", staff_password, is_staff=True)
        restart_sequence()
    return ["test-account", "unverified-reader", "nnels-staff"]


def _account(name: str, password: str, *, nid: int | None = None, is_staff: bool = False) -> User:
    found = User.objects.filter(username=name).first()
    if found is not None:
        return found
    fields: dict[str, object] = {"is_staff": is_staff, "is_validated": True}
    if nid is not None and not User.objects.filter(pk=nid).exists():
        fields["id"] = nid
    return User.objects.create_user(name, f"{name}@example.org", password, **fields)
