"""The demo: real servers, seeded data, web, worker and beat under one supervisor.

`python -m core.embedded.demo [--check] [--fresh] [--port N] [--data FOLDER]`. Data stays under `.demo/` between runs;
`--check` works on fresh data of its own, tries every API once and stops. DATABASE_URL, REDIS_URL and S3_ENDPOINT_URL
(with the other S3 settings) each replace an embedded server.
"""

import argparse
import contextlib
import fcntl
import functools
import json
import os
import pathlib
import secrets
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final

from core import process, programs, supervisor
from core.embedded import server, stack

ROOT: Final = pathlib.Path(__file__).resolve().parent.parent.parent
FIRST_PORT: Final = 8000


def main() -> int:
    """Run the demo until it is told to stop, or the check until it is done; returns the exit status."""
    options = parse(sys.argv[1:])
    supervisor.listen()
    try:
        with data_folder(options.data, check=options.check, fresh=options.fresh) as folder:
            return run(folder, check=options.check, port=options.port)
    except process.Failed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, supervisor.Stopped):
        say("stopped")
        return 1 if options.check else 0


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="./run demo", description="Quincunx with demo data on this machine.")
    parser.add_argument("--check", action="store_true", help="try every API once on fresh data, then stop")
    parser.add_argument("--fresh", action="store_true", help="forget the data of earlier runs")
    parser.add_argument("--port", type=int, help="port of the web server (8000, or another when that is taken)")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / ".demo", help="folder for all data (.demo)")
    return parser.parse_args(argv)


@contextlib.contextmanager
def data_folder(folder: pathlib.Path, *, check: bool, fresh: bool) -> Iterator[pathlib.Path]:
    """`folder`, for one demo at a time, or for a check a new one that goes away at the end."""
    if check:
        with tempfile.TemporaryDirectory(prefix="quincunx-demo-") as name:
            yield pathlib.Path(name)
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            raise process.Failed("the demo is running already in this folder") from busy
        if fresh:
            forget(folder)
        yield folder


def forget(folder: pathlib.Path) -> None:
    """Remove everything but the lock that we hold."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != "lock":
            entry.unlink()


def run(folder: pathlib.Path, *, check: bool, port: int | None) -> int:
    """Start everything; then try every API, or tell the person what to try and keep going."""
    with supervisor.Supervisor(say) as house:
        servers = stack.Stack(folder, given=os.environ)
        say("starting " + ", ".join(each.name for each in servers.servers))
        servers.start()
        for each in servers.servers:
            house.add(each)
        port = port or (FIRST_PORT if not check and process.is_free(FIRST_PORT) else process.free_ports(1)[0])
        base_url = f"http://127.0.0.1:{port}"
        env = environment(folder, servers, base_url)
        server.write_private(folder / "env.json", json.dumps({**servers.env(), **settings(folder, base_url)}))
        step(env, "prepare")
        start_programs(house, folder, env, port)
        if check:
            return supervisor.run_once(programs.manage("demo", "check", base_url), env=quiet(env))
        step(env, "lines", base_url)
        say(f"{base_url} · data and logs in {folder} · Ctrl-C stops everything")
        return house.keep()


def environment(folder: pathlib.Path, servers: stack.Stack, base_url: str) -> dict[str, str]:
    """Environment of every process of the demo; what the person has set wins."""
    return {**servers.env(), **settings(folder, base_url), **os.environ}


def settings(folder: pathlib.Path, base_url: str) -> dict[str, str]:
    """The demo's settings: production's, but without https and with this machine's own network open."""
    mail = folder / "mail"
    mail.mkdir(exist_ok=True)
    return {
        "SECRET_KEY": secret_key(folder),
        "DERIVE_SECRETS": "1",
        "DEBUG": "0",
        "HTTPS": "0",
        "ALLOW_PRIVATE_NETWORKS": "1",
        "PUBLIC_BASE_URL": base_url,
        "EMAIL_URL": f"filemail:///{mail}",
        "DEMO_CREDENTIALS": str(folder / "credentials.json"),
        "CONTACT_EMAIL": "support@localhost",
        "REGISTRY_DEMO_SOURCE_PORT": str(source_port()),
    }


@functools.cache
def source_port() -> int:
    """Where the demo's metadata source listens, for as long as this demo runs."""
    return process.free_ports(1)[0]


def secret_key(folder: pathlib.Path) -> str:
    """This demo's own SECRET_KEY, kept with its data."""
    path = folder / "secret_key"
    if not path.exists():
        server.write_private(path, secrets.token_urlsafe(50))
    return path.read_text()


def step(env: dict[str, str], *args: str) -> None:
    """One step that needs Django, in a process of its own, so that this one stays small."""
    if status := supervisor.run_once(programs.manage("demo", *args), env=quiet(env)):
        raise process.Failed(f"manage.py demo {args[0]}: ended with status {status}")


def quiet(env: dict[str, str]) -> dict[str, str]:
    """The environment of a step that prints for the person: log lines only where something is wrong."""
    return {"LOG_LEVEL": "WARNING", **env}


def start_programs(house: supervisor.Supervisor, folder: pathlib.Path, env: dict[str, str], port: int) -> None:
    """Web, worker and beat."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    processors = os.cpu_count() or 1
    web = programs.web(f"127.0.0.1:{port}", workers=min(processors, 4))
    house.add(supervisor.Program("worker", programs.worker(concurrency=min(processors, 4)), env, logs / "worker.log"))
    house.add(supervisor.Program("beat", programs.beat(folder / "beat-schedule"), env, logs / "beat.log"))
    source = programs.manage("registry_demo_source")  # a metadata source for the registry to harvest
    house.add(supervisor.Program("source", source, env, logs / "source.log"))
    house.add(supervisor.Program("web", web, env, logs / "web.log", ready=lambda: answers(f"http://127.0.0.1:{port}")))


def answers(base_url: str) -> bool:
    """Whether the web process is alive and reaches all servers."""
    try:
        with urllib.request.urlopen(f"{base_url}/readyz", timeout=5) as response:  # noqa: S310 - our own
            return bool(response.status == 200)
    except urllib.error.HTTPError as answer:
        answer.close()
        return False
    except OSError:
        return False


def say(line: str) -> None:
    """One line to the person."""
    print(f"demo: {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
