"""The embedded servers: data survives every way to end, ports stay, strangers are refused, nothing survives us."""

import pathlib
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

import boto3
import botocore.client
import botocore.exceptions
import psycopg2
import pytest
import redis

from core import process
from core.embedded import postgres, seaweedfs, stack, valkey
from tests import house, processes

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stack.Stack]:
    """A stack of this module's own."""
    servers = stack.Stack(tmp_path_factory.mktemp("stack"), buckets=["first", "second"])
    servers.start()
    yield servers
    servers.stop()


def client(store: seaweedfs.SeaweedFS, *, secret: str | None = None) -> "S3Client":
    config = botocore.client.Config(
        signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}
    )
    made: S3Client = boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        region_name="us-east-1",
        aws_access_key_id=store.access_key,
        aws_secret_access_key=secret or store.secret_key,
        config=config,
    )
    return made


def execute(server: postgres.Postgres, sql: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(server.url())
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_postgres_keeps_what_was_committed(own: stack.Stack, end: str) -> None:
    assert own.postgres is not None
    port = own.postgres.port
    execute(own.postgres, f"CREATE TABLE kept_{end} AS SELECT 7 AS n")
    getattr(own.postgres, end)()
    with pytest.raises(psycopg2.OperationalError):
        psycopg2.connect(own.postgres.url())
    own.postgres.start()
    assert own.postgres.port == port
    assert execute(own.postgres, f"SELECT n FROM kept_{end}") == [(7,)]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_valkey_keeps_its_data(own: stack.Stack, end: str) -> None:
    assert own.valkey is not None
    with redis.Redis.from_url(own.valkey.url(3)) as connection:
        connection.set("kept", end)
        connection.execute_command("BGREWRITEAOF")
        house.wait_for(lambda: not connection.info("persistence")["aof_rewrite_in_progress"], what="append-only file")
    getattr(own.valkey, end)()
    own.valkey.start()
    with redis.Redis.from_url(own.valkey.url(3)) as connection:
        assert connection.get("kept") == end.encode()
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_store_keeps_its_objects(own: stack.Stack, end: str) -> None:
    assert own.store is not None
    s3 = client(own.store)
    s3.put_object(Bucket="second", Key=f"a/{end}", Body=b"x" * 100_000)
    getattr(own.store, end)()
    own.store.start()
    assert s3.get_object(Bucket="second", Key=f"a/{end}")["Body"].read() == b"x" * 100_000


def test_postgres_and_valkey_refuse_strangers(own: stack.Stack) -> None:
    assert own.postgres is not None
    assert own.valkey is not None
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host="127.0.0.1", port=own.postgres.port, user="quincunx", password="guess", dbname="postgres")
    with redis.Redis(port=own.valkey.port) as connection, pytest.raises(redis.exceptions.AuthenticationError):
        connection.ping()


def test_the_store_refuses_strangers_unknown_buckets_and_full_buckets(own: stack.Stack) -> None:
    assert own.store is not None
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{own.store.endpoint}/first/")
    refused.value.close()
    assert refused.value.code == 403
    with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
        client(own.store, secret="guess").list_objects_v2(Bucket="first")
    s3 = client(own.store)
    with pytest.raises(botocore.exceptions.ClientError, match="NoSuchBucket"):
        s3.put_object(Bucket="third", Key="k", Body=b"")
    s3.put_object(Bucket="first", Key="k", Body=b"x")
    with pytest.raises(botocore.exceptions.ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket="first")


def test_servers_listen_on_loopback_only(own: stack.Stack) -> None:
    """Every listening socket of the three process groups, read from the kernel's table."""
    inodes = {inode for each in own.servers for inode in socket_inodes(each.child.pid)}  # type: ignore[union-attr]
    listening = []
    for table in ("tcp", "tcp6"):
        for line in pathlib.Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                listening.append(fields[1].partition(":")[0])
    assert listening
    assert set(listening) == {"0100007F"}


def socket_inodes(pid: int) -> set[str]:
    links = (str(path.readlink()) for path in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def test_credentials_are_private_and_not_in_the_process_list(own: stack.Stack) -> None:
    for each in own.servers:
        assert each.child is not None
        told = pathlib.Path(f"/proc/{each.child.pid}/cmdline").read_text()
        for path in each.folder.glob("*.json"):
            if path.name != "ports.json":
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for name in ("password", "access_key", "secret_key"):
            assert each.secret(name)[:20] not in told


def test_a_second_start_finds_the_ports_of_the_first(tmp_path: pathlib.Path) -> None:
    first = valkey.Valkey(tmp_path)
    first.start()
    first.stop()
    second = valkey.Valkey(tmp_path)
    second.start()
    second.stop()
    assert second.port == first.port


def test_a_taken_port_is_left_to_its_owner(tmp_path: pathlib.Path, own: stack.Stack) -> None:
    assert own.valkey is not None
    late = valkey.Valkey(tmp_path)
    late.folder.mkdir(exist_ok=True)
    late.ports = {"valkey": own.valkey.port}
    late.start()
    late.stop()
    assert late.port != own.valkey.port


def test_a_server_that_cannot_start_says_why(tmp_path: pathlib.Path) -> None:
    server = postgres.Postgres(tmp_path)
    server.reserve()
    server.prepare()
    (server.data / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(process.Failed, match="incompatible"):
        server.start()


def test_paused_servers_answer_again(own: stack.Stack) -> None:
    assert own.valkey is not None
    own.valkey.pause()
    with redis.Redis.from_url(own.valkey.url(), socket_timeout=0.2, retry=None) as connection:
        with pytest.raises(redis.exceptions.TimeoutError):
            connection.ping()
        own.valkey.resume()
    assert own.valkey.is_ready()


def test_given_addresses_replace_servers(tmp_path: pathlib.Path) -> None:
    servers = stack.Stack(tmp_path, given={"DATABASE_URL": "postgres://elsewhere/db", "REDIS_URL": "redis://elsewhere"})
    assert [each.name for each in servers.servers] == ["SeaweedFS"]
    servers.reserve()
    assert set(servers.env()) >= {"S3_ENDPOINT_URL", "S3_BUCKET"}
    assert "DATABASE_URL" not in servers.env()
    servers.stop()


def test_reserved_ports_are_nobody_elses(tmp_path: pathlib.Path) -> None:
    """Between the promise of an address and the first start, which may be minutes later."""
    server = seaweedfs.SeaweedFS(tmp_path)
    server.reserve()
    assert not any(process.is_free(port) for port in server.ports.values())
    server.start()
    assert server.is_ready()
    server.kill()


def test_nothing_survives_a_killed_owner(tmp_path: pathlib.Path) -> None:
    script = (
        "import pathlib, sys, time; from core.embedded import stack; s = stack.Stack(pathlib.Path(sys.argv[1]));"
        "s.start(); print(*(each.child.pid for each in s.servers), flush=True); time.sleep(100)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    groups = [int(pid) for pid in owner.stdout.readline().split()]
    assert len(groups) == 3
    owner.kill()
    owner.wait()
    owner.stdout.close()
    house.wait_for(lambda: not any(processes.group(group) for group in groups), what="end of all servers")
