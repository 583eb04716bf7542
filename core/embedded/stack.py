"""The three servers together, each replaced by its variable of the environment when that is set."""

import pathlib
from collections.abc import Mapping, Sequence

from core.embedded import postgres, seaweedfs, server, valkey


class Stack:
    """The servers the environment does not name, with their data under `folder`.

    `given` is the environment to look for DATABASE_URL, REDIS_URL and S3_ENDPOINT_URL in. `durable=False` lets
    PostgreSQL skip waiting for the disk, for data that is thrown away.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        *,
        given: Mapping[str, str] | None = None,
        durable: bool = True,
        buckets: Sequence[str] = ("quincunx",),
    ) -> None:
        given = given or {}
        self.postgres = None if given.get("DATABASE_URL") else postgres.Postgres(folder / "postgres", durable=durable)
        self.valkey = None if given.get("REDIS_URL") else valkey.Valkey(folder / "valkey")
        self.store = (
            None if given.get("S3_ENDPOINT_URL") else seaweedfs.SeaweedFS(folder / "seaweedfs", buckets=buckets)
        )

    @property
    def servers(self) -> list[server.Server]:
        """The servers that are ours to start and stop."""
        return [each for each in (self.postgres, self.valkey, self.store) if each is not None]

    def reserve(self) -> None:
        """Settle every address before the first start, for settings that must be known early."""
        for each in self.servers:
            each.reserve()

    def start(self) -> None:
        """Start all and return when every one is ready; when one fails none is left running."""
        try:
            for each in reversed(self.servers):  # the slowest first, so that the others start beside it
                each.launch()
            for each in self.servers:
                each.await_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all, the last started first."""
        for each in self.servers:
            each.stop()

    def env(self, *, redis_number: int = 0) -> dict[str, str]:
        """What core.settings reads to find our servers."""
        env: dict[str, str] = {}
        if self.postgres:
            env["DATABASE_URL"] = self.postgres.url()
        if self.valkey:
            env["REDIS_URL"] = self.valkey.url(redis_number)
        if self.store:
            env |= {
                "S3_ENDPOINT_URL": self.store.endpoint,
                "S3_PUBLIC_ENDPOINT_URL": self.store.endpoint,
                "S3_ACCESS_KEY_ID": self.store.access_key,
                "S3_SECRET_ACCESS_KEY": self.store.secret_key,
                "S3_BUCKET": self.store.buckets[0],
                "S3_REGION": "us-east-1",
            }
        return env
