"""The run script, the locks and the container files."""

import fcntl
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from typing import Any

import pytest
import requests
import yaml

from tests import house

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


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_locks_have_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"(?m)^(-i|--(?!hash)|    --(?!hash))", text)
    for block in re.split(r"(?m)^(?=[a-z0-9])", text)[1:]:
        assert block.count("--hash=sha256:") >= 1, block


def test_the_lock_is_that_of_pyproject(run: types.ModuleType) -> None:
    assert not run.lock_is_stale()
    wanted = {normal(each) for each in project()["dependencies"]}
    assert wanted <= set(locked("requirements.lock"))


def test_production_has_the_same_versions_and_neither_servers_nor_tools() -> None:
    production, everything = locked("requirements-production.lock"), locked("requirements.lock")
    assert production.items() <= everything.items()
    extras = project()["optional-dependencies"]
    kept_out = {normal(each) for extra in ("embedded", "dev") for each in extras[extra]}
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


@pytest.fixture
def made(run: types.ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> list[str]:
    """A .venv in an empty folder, made without packages; what was made is listed."""
    log: list[str] = []
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(run, "VENV", tmp_path / "venv")
    monkeypatch.setattr(run, "PYTHON", tmp_path / "venv" / "bin" / "python")

    def make() -> None:
        log.append("made")
        (tmp_path / "venv" / "bin").mkdir(parents=True, exist_ok=True)
        run.PYTHON.unlink(missing_ok=True)
        run.PYTHON.symlink_to(sys.executable)

    monkeypatch.setattr(run, "make_venv", make)
    monkeypatch.setattr(run, "install", lambda _lock: None)
    run.ensure_venv()
    return log


def test_another_python_on_the_path_makes_no_new_venv(
    run: types.ModuleType, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second shell with another python3 must not pull .venv away from under what runs on it."""
    monkeypatch.setattr(sys, "version", "3.99.0 (another)")
    run.ensure_venv()
    assert made == ["made"]
    run.PYTHON.unlink()  # the Python it was made from is gone
    run.ensure_venv()
    assert made == ["made", "made"]


def test_a_running_demo_keeps_its_venv(
    run: types.ModuleType, made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setattr(run, "LOCK", tmp_path / "another.lock")
    run.LOCK.write_text("another==1")
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo" / "env.json").write_text('{"DATABASE_URL": "postgres://"}')
    with (tmp_path / ".demo" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(run.Missing, match="stop the demo first"):
            run.ensure_venv()
    assert made == ["made"]
    run.ensure_venv()
    assert made == ["made", "made"]


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


@pytest.mark.django_db(transaction=True)
def test_the_image_collects_and_serves_its_static_files(
    tmp_path: pathlib.Path, start_web: Callable[..., house.Web]
) -> None:
    """What the Dockerfile does at build, on what it copies, with the environment it sets."""
    text = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    for name in re.findall(r"(?m)^COPY (?!--from)(\S+) ", text):
        place = ROOT / name
        (shutil.copytree if place.is_dir() else shutil.copy)(place, tmp_path / name)
    (env,) = re.findall(r"(?m)^ENV (.*)$", text)
    given = dict(item.split("=", 1) for item in env.split() if not item.startswith("PATH="))
    given["STATIC_ROOT"] = given["STATIC_ROOT"].replace("/app", str(tmp_path))
    (command,) = re.findall(r"&& (DEBUG=1 python manage\.py .*)$", text, re.MULTILINE)
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, env={**given, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    web = start_web(STATIC_ROOT=given["STATIC_ROOT"])
    assert requests.get(f"{web.base_url}/static/core/page.css", timeout=20).status_code == 200
    assert requests.get(f"{web.base_url}/static/admin/css/base.css", timeout=20).status_code == 200


# -- CI on a machine that lacks packages --------------------------------------------------------------------------


@pytest.fixture
def bare(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of `.ci/run` between stubs: root, no package installed, and every program writes down how it is called."""
    (tmp_path / ".ci").mkdir()
    text = (ROOT / ".ci" / "run").read_text().replace("/usr/sbin/policy-rc.d", str(tmp_path / "policy"))
    stub(tmp_path / ".ci" / "run", text)
    note = f'echo "$(basename "$0") $*" >> {tmp_path}/calls\n'
    stub(tmp_path / "run", f"#!/bin/sh\n{note}exit ${{RUN_STATUS:-0}}\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    stub(programs / "id", "#!/bin/sh\necho ${FAKE_ID:-0}\n")
    stub(
        programs / "dpkg-query", "#!/bin/sh\nfor last; do :; done\ncase $last in curl) echo 'ii ';; *) exit 1;; esac\n"
    )
    stub(programs / "apt-get", f"#!/bin/sh\n{note}cat {tmp_path}/policy >> {tmp_path}/calls\nexit ${{APT_STATUS:-0}}\n")
    return tmp_path


def stub(path: pathlib.Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def ci(bare: pathlib.Path, **env: str) -> tuple[int, str, str]:
    """Exit status, what it said, and what it called."""
    path = f"{bare / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        [bare / ".ci" / "run"], env={"PATH": path, **env}, capture_output=True, text=True, check=False
    )
    calls = (bare / "calls").read_text() if (bare / "calls").exists() else ""
    return done.returncode, done.stdout + done.stderr, calls


def test_ci_installs_what_is_missing_and_no_server_starts(bare: pathlib.Path) -> None:
    status, said, calls = ci(bare)
    assert status == 0, said
    policy = "#!/bin/sh\nexit 101\n"
    packages = "apache2 chromium epubcheck nginx-light wrk"
    installing = f"apt-get install -qq -y --no-install-recommends {packages}\n"
    assert calls == f"apt-get update -qq\n{policy}{installing}{policy}run check\nrun test\n"
    assert not (bare / "policy").exists()


def test_ci_says_what_an_ordinary_user_must_ask_for(bare: pathlib.Path) -> None:
    status, said, calls = ci(bare, FAKE_ID="1000")
    assert (status, calls) == (1, "")
    assert "as root, install: apt-get install --no-install-recommends apache2 chromium" in said


def test_ci_stops_when_packages_cannot_be_had(bare: pathlib.Path) -> None:
    """The lists cannot be fetched: nothing is installed, nothing tested, and the policy is gone again."""
    status, _, calls = ci(bare, APT_STATUS="100")
    assert status == 1
    assert "install" not in calls
    assert "run" not in calls.replace("/bin/sh", "").split()
    assert not (bare / "policy").exists()


def test_ci_leaves_a_policy_alone_and_tells_of_one_that_starts_servers(bare: pathlib.Path) -> None:
    stub(bare / "policy", "#!/bin/sh\nexit 0\n")
    status, said, _ = ci(bare)
    assert status == 0
    assert "lets installed servers start" in said
    assert (bare / "policy").read_text() == "#!/bin/sh\nexit 0\n"
    stub(bare / "policy", "#!/bin/sh\nexit 101\n")
    assert "lets installed servers start" not in ci(bare)[1]


def test_ci_runs_the_tests_after_a_failed_check_and_fails(bare: pathlib.Path) -> None:
    status, _, calls = ci(bare, RUN_STATUS="1")
    assert status == 1
    assert calls.endswith("run check\nrun test\n")
