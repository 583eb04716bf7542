"""The command lines of the service's own processes, said once for the demo, the tests and the container."""

import sys
from collections.abc import Sequence
from pathlib import Path

WORKER_NODE = "quincunx"


def web(bind: str, *, workers: int = 2, threads: int = 8) -> list[str]:
    """gunicorn on `bind` (`host:port`)."""
    argv = [sys.executable, "-m", "gunicorn", "core.wsgi:application", f"--bind={bind}"]
    argv += [f"--workers={workers}", f"--threads={threads}", "--worker-class=gthread", "--reuse-port"]
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
