"""Fixtures all tests share: the real servers, real processes of the service, a mail sink and a browser.

Django's settings are read here, before any test module or app `conftest.py` is imported, with the addresses of this
pytest process's own servers (see tests/house.py). The servers themselves start when the first test needs them.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import django
import hypothesis
import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import DjangoDbBlocker, Settings

from core import process
from core.embedded import server
from core.embedded.seaweedfs import SeaweedFS
from tests import house, mailbox, network

if django_settings.configured:
    raise pytest.UsageError("the tests configure Django themselves; unset DJANGO_SETTINGS_MODULE")

HOUSE = house.House()
os.environ.update(HOUSE.env)
# Only while Django is set up: xdist's workers inherit the environment and must not read settings before they have
# addresses of their own.
os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings"
django.setup()
del os.environ["DJANGO_SETTINGS_MODULE"]

from django.contrib.auth import hashers  # noqa: E402 - after the setup above
from django.core.cache import caches  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.test import override_settings  # noqa: E402

from core import jobs, programs, throttle  # noqa: E402
from core.models import Job  # noqa: E402
from tests import emptying  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

# How long an example takes says something about the machine, not about the property.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
    derandomize="CI" in os.environ,  # new examples are looked for at desks, not while something is to land
)
hypothesis.settings.load_profile("house")


def pytest_configure() -> None:
    """Shut the network, and make password hashing and emptying the database quick."""
    network.shut()
    emptying.install()
    hashers.BCryptSHA256PasswordHasher.rounds = 4


def pytest_unconfigure() -> None:
    """Stop the servers, also after Ctrl-C."""
    HOUSE.close()


# -- servers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def running_house() -> house.House:
    """PostgreSQL, Valkey and SeaweedFS, running."""
    HOUSE.start()
    return HOUSE


@pytest.fixture
def servers(running_house: house.House) -> Iterator[house.House]:
    """For tests that take servers down: `servers.postgres|valkey|store` with start, stop, kill, pause, resume.

    Whatever the test leaves stopped or frozen runs again for the next one.
    """
    yield running_house
    running_house.start()
    connections.close_all()


@pytest.fixture
def store(running_house: house.House) -> SeaweedFS:
    """The running object store, for tests that need no database."""
    return running_house.store


@pytest.fixture(scope="session")
def django_db_modify_db_settings(running_house: house.House) -> None:
    """PostgreSQL must run before pytest-django makes the test database."""


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """A kept cluster has the test database already."""
    return HOUSE.is_migrated


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    """pytest-django's own set-up; a database it had to make is kept for the next run."""
    if not HOUSE.is_migrated:
        with django_db_blocker.unblock():
            connections.close_all()
        HOUSE.keep_tables()


@pytest.fixture
def drill_stack(servers: house.House, transactional_db: None) -> house.House:
    """Servers to take down, on committed data; goes with `start_worker`, `start_web` and `start_beat`."""
    return servers


@pytest.fixture
def valkey(drill_stack: house.House) -> server.Server:
    """Valkey, to take down."""
    return drill_stack.valkey


@pytest.fixture
def postgres(drill_stack: house.House) -> server.Server:
    """PostgreSQL, to take down."""
    return drill_stack.postgres


# -- programs ---------------------------------------------------------------------------------------------------------


def program_env(**more: str) -> dict[str, str]:
    """Environment of a program of the service that works on this process's test database."""
    database = HOUSE.postgres.url(connection.settings_dict["NAME"])
    base_url = f"http://127.0.0.1:{HOUSE.web_port}"
    own = {"DATABASE_URL": database, "PUBLIC_BASE_URL": base_url, "IDLE_TRANSACTION_SECONDS": "15"}
    return {**os.environ, **HOUSE.env, **own, **more}


@pytest.fixture(scope="session")
def program_folder() -> pathlib.Path:
    """Where the programs write their logs."""
    folder = HOUSE.folder / "programs"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def shared_web(django_db_setup: None, program_folder: pathlib.Path) -> Iterator[house.Web]:
    """The one gunicorn of this session."""
    web = house.Web(port=HOUSE.web_port, env=program_env(), folder=program_folder)
    yield web
    web.stop()


@pytest.fixture
def web(shared_web: house.Web, transactional_db: None) -> Iterator[house.Web]:
    """A real web process on committed data; `web.base_url`. Started again when a test has killed it."""
    shared_web.start()
    yield shared_web
    end_foreign_sessions()


@pytest.fixture(scope="session")
def shared_worker(django_db_setup: None, program_folder: pathlib.Path) -> Iterator[house.Worker]:
    """The one Celery worker of this session; frozen while no test asks for it."""
    worker = house.Worker(env=program_env(), folder=program_folder, node="shared")
    yield worker
    worker.kill()


@pytest.fixture
def worker(shared_worker: house.Worker, transactional_db: None) -> Iterator[house.Worker]:
    """A real Celery worker on every queue, on committed data. Between tests it is frozen, so that jobs of tests
    without a worker stay queued."""
    shared_worker.start()
    yield shared_worker
    shared_worker.pause()
    if end_foreign_sessions():
        shared_worker.kill()


def end_foreign_sessions() -> int:
    """End transactions that other processes have left open in the test database; they would block its emptying."""
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
        )
        ended: int = cursor.fetchone()[0]
    return ended


@pytest.fixture
def start_worker(
    transactional_db: None, program_folder: pathlib.Path, shared_worker: house.Worker
) -> Iterator[Callable[..., house.Worker]]:
    """Start a worker of the test's own: `start_worker(queues=[…], concurrency=1, JOB_LEASE_SECONDS="2")`."""
    with contextlib.ExitStack() as started:

        def start(*, queues: list[str] | None = None, concurrency: int = 2, **env: str) -> house.Worker:
            worker = house.Worker(env=program_env(**env), folder=program_folder, queues=queues, concurrency=concurrency)
            started.callback(worker.kill)
            swallows = shared_worker.is_frozen  # the broker still hands it the first message of each queue
            if swallows:
                shared_worker.kill()
            worker.start()
            for job in Job.objects.filter(state="queued") if swallows else ():
                jobs.ring(job)
            return worker

        yield start
    end_foreign_sessions()


@pytest.fixture
def start_web(transactional_db: None, program_folder: pathlib.Path) -> Iterator[Callable[..., house.Web]]:
    """Start a web process of the test's own, with settings of its own: `start_web(TRUSTED_PROXIES="127.0.0.0/8")`."""
    with contextlib.ExitStack() as started:

        def start(*, workers: int = 1, **env: str) -> house.Web:
            port = process.free_ports(1)[0]
            own = program_env(**{"PUBLIC_BASE_URL": f"http://127.0.0.1:{port}", **env})
            web = house.Web(port=port, env=own, folder=program_folder, workers=workers)
            started.callback(web.kill)
            web.start()
            return web

        yield start
    end_foreign_sessions()


@pytest.fixture
def start_shell(transactional_db: None, program_folder: pathlib.Path) -> Iterator[Callable[..., house.Program]]:
    """Run lines of Python in a process of the service, which a test may freeze or kill: `start_shell("import …")`."""
    with contextlib.ExitStack() as started:

        def start(lines: str, **env: str) -> house.Program:
            argv = programs.manage("shell", "-c", lines)
            shell = house.Program("shell", argv, env=program_env(**env), folder=program_folder)
            started.callback(shell.kill)
            shell.start()
            return shell

        yield start
    end_foreign_sessions()


@pytest.fixture
def start_beat(transactional_db: None, program_folder: pathlib.Path) -> Iterator[Callable[..., house.Beat]]:
    """Start the clock: sweeps and other ticks happen by themselves while it runs."""
    with contextlib.ExitStack() as started:

        def start(**env: str) -> house.Beat:
            beat = house.Beat(env=program_env(**env), folder=program_folder)
            started.callback(beat.kill)
            beat.start()
            return beat

        yield start
    end_foreign_sessions()


# -- what programs talk to --------------------------------------------------------------------------------------------


@pytest.fixture
def smtp(settings: Settings) -> Iterator[mailbox.Mailbox]:
    """A mail server that keeps what it is sent, for this process and for `web` and `worker`."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", HOUSE.smtp_port
    with mailbox.serve(HOUSE.smtp_port) as box:
        yield box


@pytest.fixture(autouse=True)
def _one_connection(request: pytest.FixtureRequest) -> Iterator[None]:
    """Directory searches have a connection of their own, which cannot see what a test's transaction wrote.

    Not by the fixture `settings`: begun here it would end last, after the clean-up of tests that change settings.
    """
    own = {} if "transactional_db" in request.fixturenames else {"USERMGMT_SEARCH_DATABASE": "default"}
    with override_settings(**own):
        yield


@pytest.fixture(autouse=True)
def _no_leftovers() -> Iterator[None]:
    """Counters and caches of one test must not reach the next."""
    yield
    for cache in caches.all(initialized_only=True):
        cache.clear()
    throttle.forget()
    flush_valkey()


def flush_valkey() -> None:
    """Empty Valkey when it runs: throttle counters and messages, but not the bindings that kombu declares only once."""
    if not HOUSE.valkey.is_running:
        return
    with redis.Redis.from_url(HOUSE.valkey.url(), socket_timeout=5) as client:
        keys = [key for key in client.scan_iter(count=1000) if not key.startswith(b"_kombu.binding.")]
        if keys:
            client.delete(*keys)


@pytest.fixture(scope="session")
def dwca_compat() -> pathlib.Path:
    """Folder with python-dwca-reader 0.16.4 (put it on PYTHONPATH of a process of its own); made by `./run test`."""
    folder = pathlib.Path(__file__).parent.parent / ".cache" / "compat"
    assert (folder / "dwca").is_dir(), "run the tests with ./run test, which installs requirements-compat.lock"
    return folder


# -- browser ----------------------------------------------------------------------------------------------------------

CHROMIUM_ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator["BrowserContext"]:
    """The system's Chromium, driven by Playwright; for one module, since no test may use asyncio while it runs."""
    from playwright import sync_api  # heavy; only browser tests pay for it

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "the browser tests need Debian's package chromium"
    # Playwright's event loop lives in this thread; Django must not take it for asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    profile = tempfile.mkdtemp(prefix="chromium-", dir=HOUSE.folder)
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=program, args=CHROMIUM_ARGS, headless=True
        )
        context.set_default_timeout(1000 * house.PATIENCE_SECONDS)
        yield context
        context.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def browser(chromium: "BrowserContext") -> Iterator["Page"]:
    """A Playwright page with no cookies; a script error on a page fails the test."""
    chromium.clear_cookies()
    page = chromium.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert not errors, f"scripts failed: {errors}"
