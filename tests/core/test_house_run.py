"""The run script, the locks and the container files."""

import importlib.machinery
import importlib.util
import pathlib
import re
import subprocess
import sys
import tomllib
import types

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LOCKS = ["requirements.lock", "requirements-production.lock", "requirements-compat.lock", "requirements-pycsw.lock"]


@pytest.fixture
def run() -> types.ModuleType:
    """The script as a module."""
    loader = importlib.machinery.SourceFileLoader("run_script", str(ROOT / "run"))
    spec = importlib.util.spec_from_loader("run_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def locked(name: str) -> dict[str, str]:
    """Version by package."""
    return dict(re.findall(r"(?m)^([a-z0-9._-]+)==([^ ;\\]+)", (ROOT / name).read_text()))


def normal(requirement: str) -> str:
    """Package name of a requirement, as locks spell it."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", LOCKS)
def test_locks_have_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"(?m)^(-i|--(?!hash)|    --(?!hash))", text)
    for block in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        assert block.count("--hash=sha256:") >= 1, block


def test_the_lock_is_that_of_pyproject(run: types.ModuleType) -> None:
    assert not run.lock_is_stale()
    wanted = {normal(each) for each in project()["dependencies"]}  # type: ignore[attr-defined]
    assert wanted <= set(locked("requirements.lock"))


def test_production_has_the_same_versions_and_neither_servers_nor_tools() -> None:
    production, everything = locked("requirements-production.lock"), locked("requirements.lock")
    assert production.items() <= everything.items()
    extras = project()["optional-dependencies"]
    kept_out = {normal(each) for extra in ("embedded", "dev") for each in extras[extra]}  # type: ignore[index]
    assert kept_out
    assert not kept_out & set(production)


def test_unwanted_dependencies_stay_out() -> None:
    assert "bas-metadata-library" in locked("requirements.lock")
    assert not {"jwskate", "rfc3987"} & set(locked("requirements.lock"))


@pytest.mark.parametrize(("args", "status"), [([], 2), (["--help"], 0), (["nonsense"], 2)])
def test_usage_needs_no_environment(args: list[str], status: int, tmp_path: pathlib.Path) -> None:
    script = tmp_path / "run"
    script.write_text((ROOT / "run").read_text())
    done = subprocess.run([sys.executable, script, *args], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert "usage: ./run COMMAND" in done.stdout + done.stderr
    assert not (tmp_path / ".venv").exists()


def test_what_is_missing_is_said(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(run, "VENV", tmp_path / "venv")
    monkeypatch.setattr(run.shutil, "which", lambda _name: None)
    monkeypatch.setattr(run, "importable", lambda _module: False)
    with pytest.raises(run.Missing, match="install python3-venv"):
        run.make_venv()


def test_an_old_python_is_said(
    run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "OLDEST", (99, 0))
    monkeypatch.setattr(run.shutil, "which", lambda _name: None)
    with pytest.raises(SystemExit):
        run.require_python()
    assert "Python 3.11 or later is needed" in capsys.readouterr().err


def test_a_stale_lock_is_noticed(run: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "lock_inputs", lambda: "another")
    assert run.lock_is_stale()


def test_an_unknown_benchmark_is_said(run: types.ModuleType) -> None:
    with pytest.raises(run.Missing, match="no benchmark 'none'"):
        run.bench(["none"])


def test_the_compose_file_hands_over_every_required_secret(run: types.ModuleType) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(run.required_secrets()) <= set(compose["x-app"]["environment"])


def test_every_variable_the_compose_file_requires_is_in_the_example_without_a_value() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / ".env.example").read_text()
    required = set(re.findall(r"\$\{([A-Z0-9_]+):\?\}", compose))
    assert required
    assert required == set(re.findall(r"(?m)^([A-Z0-9_]+)=$", example))


def test_the_image_holds_every_app_and_no_tests(run: types.ModuleType) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = set(re.findall(r"(?m)^COPY (\S+) \./", dockerfile))
    assert copied == {"manage.py", "core", *run.APPS}
    assert "USER 10001" in dockerfile
