"""The command lines of the service's own processes, said once for the demo, the tests and the container."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

WORKER_NODE = "quincunx"


def web(bind: str, *, workers: int = 2, threads: int = 8) -> list[str]:
    """gunicorn on `bind` (`host:port`).

    Measured against granian's WSGI: that takes about 0.2 ms of CPU less per request, but folds headers with an
    underscore into the ones proxies set, takes Content-Length beside Transfer-Encoding, and its workers outlive it.
    """
    argv = [sys.executable, "-m", "gunicorn", "core.wsgi:application", f"--bind={bind}"]
    argv += [f"--workers={workers}", f"--threads={threads}", "--worker-class=gthread", "--reuse-port"]
    argv += ["--config=python:core.gunicorn_conf"]
    # Heartbeat files in memory; a disk that stalls would have workers killed. No socket for remote control.
    return [*argv, "--worker-tmp-dir=/dev/shm", "--no-control-socket", "--keep-alive=30", "--graceful-timeout=30"]


def worker(
    queues: Sequence[str] = (), *, concurrency: int = 2, node: str = WORKER_NODE, level: str = "info"
) -> list[str]:
    """A Celery worker for these queues (none named: for all there are); `node` is its name on the broker."""
    argv = [sys.executable, "-m", "celery", "--app=core.celery:app", "worker", f"--concurrency={concurrency}"]
    argv += [f"--hostname={node}@%h", f"--loglevel={level}", "--without-gossip", "--without-mingle"]
    return [*argv, f"--queues={','.join(queues)}"] if queues else argv


def beat(schedule: Path, *, level: str = "info") -> list[str]:
    """Celery's clock; `schedule` is the file where it remembers what it did."""
    argv = [sys.executable, "-m", "celery", "--app=core.celery:app", "beat", f"--schedule={schedule}"]
    return [*argv, "--pidfile=", f"--loglevel={level}"]


def manage(*args: str) -> list[str]:
    """Django's command line."""
    return [sys.executable, str(Path(__file__).resolve().parent.parent / "manage.py"), *args]


def main() -> None:
    """`python -m core.programs web|worker|beat …`: become that process (the container's command lines)."""
    parser = argparse.ArgumentParser(prog="python -m core.programs")
    which = parser.add_subparsers(dest="program", required=True)
    options = which.add_parser("web")
    options.add_argument("--bind", default="127.0.0.1:8000")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--threads", type=int, default=8)
    options = which.add_parser("worker")
    options.add_argument("--queues", type=lambda text: text.split(","), default=())
    options.add_argument("--concurrency", type=int, default=2)
    options.add_argument("--node", default=WORKER_NODE)
    options = which.add_parser("beat")
    options.add_argument("--schedule", type=Path, default=Path("/tmp/beat-schedule"))  # noqa: S108 - the container's own
    chosen = vars(parser.parse_args())
    lines: dict[str, Callable[..., list[str]]] = {"web": web, "worker": worker, "beat": beat}
    argv = lines[chosen.pop("program")](**chosen)
    os.execv(argv[0], argv)  # noqa: S606 - taking the program's place is the purpose


if __name__ == "__main__":
    main()
