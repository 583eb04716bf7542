"""The import contracts bite: one forbidden import of each kind is planted in a copy and must be found."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGES = ["core", "downloads", "exports", "registry", "usermgmt", "nnels"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The Python files of the tree."""
    folder = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=not_python)
    (folder / "tests").mkdir()
    (folder / "tests" / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "contracts.py", folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def not_python(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not (name.endswith(".py") or pathlib.Path(folder, name).is_dir())}


def lint(folder: pathlib.Path) -> str:
    program = pathlib.Path(sys.executable).with_name("lint-imports")
    env = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([program, "--no-cache"], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def module_file(folder: pathlib.Path, module: str) -> pathlib.Path:
    path = folder.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.fixture(scope="module")
def before(copy: pathlib.Path) -> str:
    """The report on the tree as it is."""
    return lint(copy)


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("usermgmt.models", "import registry.models", "Apps never import each other"),
        ("core.jobs", "import exports.models", "The core knows no app"),
        ("usermgmt.services", "import rest_framework.response", "The domain knows no HTTP"),
        ("usermgmt.selectors", "from django.http import Http404", "The domain knows no HTTP"),
        ("usermgmt.jobs", "from django import http", "The domain knows no HTTP"),
        ("usermgmt.views", "def hidden() -> None:\n    import celery", "Only tasks and the core import celery"),
        ("core.jobs", "from botocore import exceptions", "Only core.blobs imports boto3"),
        ("usermgmt.models", "from usermgmt import services", "Inside an app imports go down only"),
    ],
)
def test_a_planted_import_is_found(copy: pathlib.Path, before: str, module: str, line: str, contract: str) -> None:
    path = module_file(copy, module)
    kept = path.read_text()
    path.write_text(f"{kept}\n{line}\n")
    try:
        report = lint(copy)
    finally:
        path.write_text(kept)
    assert f"{contract} BROKEN" in report
    assert new_lines(before, report, module)


def new_lines(before: str, after: str, module: str) -> list[str]:
    """What the second report says about a module and the first does not."""
    return [line for line in after.splitlines() if module in line and line not in before]
