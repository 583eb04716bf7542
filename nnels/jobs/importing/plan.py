"""Which titles a folder holds, and which files belong to each (contract section 6)."""

import dataclasses
import pathlib

from nnels.formats import archive, folder, metadata, recognise, sidecar, xml

SIDECARS = ("metadata.csv", "metadata.tsv", "metadata.xml")
_BESIDES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".opf", ".nfo", ".db", ".ini"})


@dataclasses.dataclass
class Planned:
    """A title to be imported: where it is (relative), its files or folders, and what the sidecar says.

    `refusal`: why it cannot be taken at all.
    """

    path: str
    sources: list[pathlib.Path]
    said: metadata.Metadata | None = None
    refusal: metadata.Rejected | None = None


def find_sidecar(root: pathlib.Path) -> pathlib.Path | None:
    """The sidecar an import takes when none is named."""
    return next((root / name for name in SIDECARS if (root / name).is_file()), None)


def read_sidecar(path: pathlib.Path) -> sidecar.Sidecar:
    """Read a sidecar; `sidecar.Unreadable` when it cannot be."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise sidecar.Unreadable(f"{path.name}: {error.strerror}") from None
    # A table may well be longer than the limit of one XML document.
    if path.suffix.lower() == ".xml" and len(raw) > xml.LIMIT:
        raise sidecar.Unreadable(f"{path.name}: larger than 4 MiB")
    return sidecar.read(raw, name=path.name)


def titles(root: pathlib.Path, *, table: sidecar.Sidecar | None, besides: pathlib.Path | None) -> list[Planned]:
    """Every title below `root`: rows of the sidecar first, then sub-folders and loose files nobody named."""
    planned = [_row(root, said) for said in table.titles] if table else []
    claimed = {path for one in planned for path in one.sources}
    taken_folders = claimed | {path.parent for path in claimed if path.parent != root}
    loose: dict[str, list[pathlib.Path]] = {}
    for path in sorted(root.iterdir(), key=lambda path: path.name):
        if path.name.startswith(".") or path in claimed or path == besides or path.suffix.lower() in _BESIDES:
            continue
        if why := _unsafe(path):
            planned.append(Planned(shown(path.name), [], refusal=metadata.Rejected("unsafe_path", why)))
        elif path.is_dir():
            if path not in taken_folders:
                planned.append(_folder(root, path))
        else:
            loose.setdefault(path.stem, []).append(path)
    planned += [Planned(shown(paths[0].name), paths) for paths in loose.values()]
    return planned


def shown(name: str) -> str:
    """A name as text: what is not UTF-8 in it (names of old archives) stands there as `\\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _unsafe(path: pathlib.Path) -> str:
    """Why a thing of the folder is not even looked at; a pipe would keep its reader waiting for ever."""
    if path.is_symlink():
        return "a symbolic link"
    return "" if path.is_file() or path.is_dir() else "neither a file nor a folder"


def _row(root: pathlib.Path, said: metadata.Metadata) -> Planned:
    first = next(iter(said.files), "")
    try:
        return Planned(first, [_named(root, name) for name in said.files], said)
    except metadata.Rejected as refusal:
        return Planned(first, [], said, refusal)


def _named(root: pathlib.Path, name: str) -> pathlib.Path:
    if not archive.is_safe(name):
        raise metadata.Rejected("unsafe_path", name)
    path = root / name
    if not path.exists() and "/" not in name:
        path = next((found for found in sorted(root.rglob(name)) if found.is_file()), path)
    steps = [path, *(parent for parent in path.parents if root in parent.parents)]
    if any(step.is_symlink() for step in steps):
        raise metadata.Rejected("unsafe_path", f"{name} is behind a symbolic link")
    if not path.exists():
        raise metadata.Rejected("file_not_found", name)
    if why := _unsafe(path):
        raise metadata.Rejected("unsafe_path", f"{name} is {why}")
    return path


def _folder(root: pathlib.Path, path: pathlib.Path) -> Planned:
    name = shown(path.relative_to(root).as_posix())
    for one in path.rglob("*"):
        if why := _unsafe(one):
            return Planned(name, [], refusal=metadata.Rejected("unsafe_path", f"the folder holds {why}"))
    try:
        if recognise.directory(path) is not None:
            _check_names(path)
            return Planned(name, [path])
    except metadata.Rejected as refusal:
        return Planned(name, [], refusal=refusal)
    inside = sorted((one for one in path.iterdir() if not one.name.startswith(".")), key=lambda one: one.name)
    sources = [one for one in inside if one.is_dir() or one.suffix.lower() not in _BESIDES]
    return Planned(name, sources)


def _check_names(path: pathlib.Path) -> None:
    """Refuse a folder whose zip could not name its members as the folder's own pages do."""
    for one in folder.members(path):
        name = one.relative_to(path).as_posix()
        if shown(name) != name:
            raise metadata.Rejected("unsafe_path", f"the name {shown(name)} is not UTF-8")


def size(path: pathlib.Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    return sum(one.stat().st_size for one in folder.members(path)) if path.is_dir() else path.stat().st_size
