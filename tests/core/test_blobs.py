"""core.blobs against the real SeaweedFS: whole or not at all, ranges, links, house-keeping, a store that is away."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import random
import socket
import threading
import time
import tracemalloc
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.conf import settings as django_settings
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from core import blobs, errors
from core.blobs import client, reading
from tests import house

MIB = 1024 * 1024
PREFIX = "core-test/"


@pytest.fixture(autouse=True)
def bucket(running_house: house.House) -> Iterator[None]:
    blobs.ensure_bucket()
    yield
    blobs.delete(*[entry.key for entry in blobs.keys(PREFIX)])
    blobs.abort_stale_uploads(timedelta(seconds=-60), prefix=PREFIX)


def uploads() -> list[str]:
    """Keys of the multipart uploads the store still holds."""
    answer = client.client().list_multipart_uploads(Bucket=django_settings.S3_BUCKET, Prefix=PREFIX)
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def fetch(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20) as answer:
            return answer.status, dict(answer.headers.items()), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read()


# --- writing and reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 17 * MIB + 12_345])
def test_what_is_written_is_read_back(size: int) -> None:
    data = random.Random(size).randbytes(size)
    key = f"{PREFIX}round trip/é {size}.bin"
    with blobs.writer(key, content_type="application/zip") as blob:
        for start in range(0, size, 300_001):
            blob.write(data[start : start + 300_001])
    assert (blob.size, blob.sha256) == (size, hashlib.sha256(data).hexdigest())
    found = blobs.stat(key)
    assert found is not None
    assert (found.size, found.content_type, found.etag) == (size, "application/zip", blob.etag)
    assert abs(datetime.now(UTC) - found.modified) < timedelta(minutes=5)
    whole = blobs.reader(key)
    assert (whole.size, whole.total, whole.etag) == (size, size, blob.etag)
    assert b"".join(whole) == data
    assert uploads() == []


@pytest.mark.parametrize(
    "sizes",
    [
        [(100, 0), (6 * MIB, 1), (200, 0), (7 * MIB, 1), (6 * MIB, 1), (50, 0)],  # header, body, header, bodies, end
        [(5 * MIB, 1), (5 * MIB - 1, 1), (3, 1), (0, 1), (9 * MIB, 1)],  # small ones pass through, large ones do not
        [(4 * MIB, 0), (5 * MIB, 1), (6 * MIB, 1)],  # what is left of the first would be too small for a part
        [(9 * MIB, 0), (20 * MIB, 1)],
        [(10, 1), (20, 1)],
    ],
)
def test_blobs_are_put_together_by_the_store(sizes: list[tuple[int, int]]) -> None:
    pieces = [random.Random(number).randbytes(size) for number, (size, _) in enumerate(sizes)]
    expected = b"".join(pieces)
    passed = []
    real = client.client(signs_bodies=False).upload_part

    def counted(**arguments: Any) -> Any:
        passed.append(len(arguments["Body"]))
        return real(**arguments)

    with (
        mock.patch.object(client.client(signs_bodies=False), "upload_part", counted),
        blobs.writer(f"{PREFIX}whole", content_type="application/zip", hashed=False) as blob,
    ):
        for number, (piece, (size, is_copied)) in enumerate(zip(pieces, sizes, strict=True)):
            if is_copied:
                blobs.put(f"{PREFIX}piece {number}", piece)
                blob.copy(f"{PREFIX}piece {number}", size=size, crc=zlib.crc32(piece))
            else:
                blob.write(piece)
    assert (blob.size, blob.crc, blob.sha256) == (len(expected), zlib.crc32(expected), "")
    assert b"".join(blobs.reader(f"{PREFIX}whole")) == expected
    stored = blobs.stat(f"{PREFIX}whole")
    assert stored is not None
    assert stored.content_type == "application/zip"
    heads = sum(size for size, is_copied in sizes if not is_copied)
    assert sum(passed) <= heads + 5 * MIB * len(sizes)
    assert uploads() == []


@pytest.mark.parametrize("size", [100, 6 * MIB])
def test_only_what_is_read_back_goes_without_a_sum_in_its_signature(size: int) -> None:
    said: list[str] = []

    def listen(request: Any, **_kwargs: Any) -> None:
        if request.body:
            said.append(bytes(request.headers["X-Amz-Content-SHA256"]).decode())

    data = random.Random(size).randbytes(size)
    for hashed in (True, False):
        events = client.client(signs_bodies=hashed).meta.events
        events.register("before-send.s3.PutObject", listen)
        events.register("before-send.s3.UploadPart", listen)
        try:
            with blobs.writer(f"{PREFIX}whole", hashed=hashed) as blob:
                blob.write(data)
        finally:
            events.unregister("before-send.s3.PutObject", listen)
            events.unregister("before-send.s3.UploadPart", listen)
        assert b"".join(blobs.reader(f"{PREFIX}whole")) == data
    signed = [hashlib.sha256(part).hexdigest() for part in (data[: 5 * MIB], data[5 * MIB :]) if part]
    assert said == signed + ["UNSIGNED-PAYLOAD"] * len(signed)


def test_a_writer_that_hashes_copies_nothing() -> None:
    with pytest.raises(ValueError, match="must see"), blobs.writer(f"{PREFIX}whole") as blob:
        blob.copy(f"{PREFIX}piece", size=1, crc=0)


def test_a_blob_to_copy_that_is_gone_leaves_nothing() -> None:
    for size in (10, 6 * MIB):
        with pytest.raises(blobs.Missing), blobs.writer(f"{PREFIX}whole", hashed=False) as blob:
            blob.copy(f"{PREFIX}none", size=size, crc=0)
    assert blobs.stat(f"{PREFIX}whole") is None
    assert uploads() == []


def test_a_blob_of_many_gibibytes_is_copied_in_even_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    spans: list[tuple[int, int]] = []
    blob = blobs.writer("never", hashed=False)
    monkeypatch.setattr(blob, "_send_copy", lambda _key, low, high: spans.append((low, high)))
    size = 10 * 1024**3 + 1
    blob.copy("huge", size=size, crc=0)
    assert {high - low for low, high in spans} == {size // 3, size // 3 + 1}
    assert [low for low, _ in spans] + [size] == [0] + [high for _, high in spans]


def test_verify_reads_a_blob_back() -> None:
    data = os.urandom(MIB)
    blobs.put(f"{PREFIX}whole", data)
    seen: list[int] = []
    size, crc = len(data), zlib.crc32(data)
    assert blobs.verify(f"{PREFIX}whole", size=size, crc=crc, note=seen.append) == hashlib.sha256(data).hexdigest()
    assert sum(seen) == len(data)
    for wrong_size, wrong_crc in ((size - 1, crc), (size, crc ^ 1)):
        with pytest.raises(blobs.StoreUnavailable, match="as they were"):
            blobs.verify(f"{PREFIX}whole", size=wrong_size, crc=wrong_crc)
    with pytest.raises(blobs.StoreUnavailable, match="did not keep the file"):
        blobs.verify(f"{PREFIX}none", size=size, crc=crc)


def test_one_huge_write_becomes_parts_of_five_mebibytes() -> None:
    data = bytes(17 * MIB)
    with blobs.writer(f"{PREFIX}huge") as blob:
        blob.write(memoryview(data))  # type: ignore[arg-type]  # any buffer will do
    assert blob.etag.endswith("-4")
    kept = blobs.stat(f"{PREFIX}huge")
    assert kept is not None
    assert kept.size == 17 * MIB


def test_ranges() -> None:
    key = f"{PREFIX}range"
    blobs.put(key, b"0123456789", "text/plain")
    for start, end in [(0, None), (0, 1), (3, 7), (9, None), (9, 10), (5, 500)]:
        with blobs.reader(key, start, end) as part:
            assert part.total == 10
            assert part.size == len(b"0123456789"[start:end])
            assert part.read() == b"0123456789"[start:end]
    with pytest.raises(errors.Invalid, match="behind the end"):
        blobs.reader(key, 10)
    with blobs.reader(key) as part:
        assert (part.read(4), part.read(4), part.read(4), part.read(4)) == (b"0123", b"4567", b"89", b"")


def test_an_exception_leaves_nothing() -> None:
    class Stop(Exception):
        pass

    for size in (10, 20 * MIB):
        with pytest.raises(Stop), blobs.writer(f"{PREFIX}aborted") as blob:  # noqa: PT012 - the exit is the point
            blob.write(bytes(size))
            raise Stop
        assert blob.sha256 == ""
    assert blobs.stat(f"{PREFIX}aborted") is None
    assert uploads() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("blob-upload")]


def _write(key: str, mebibytes: int) -> None:
    with blobs.writer(key) as blob:
        for _ in range(mebibytes):
            blob.write(bytes(MIB))


def test_a_failing_part_aborts_the_upload() -> None:
    real = client.client().upload_part
    calls = []

    def failing(**arguments: Any) -> Any:
        calls.append(arguments["PartNumber"])
        if arguments["PartNumber"] == 2:
            raise ConnectionResetError("gone")
        return real(**arguments)

    with mock.patch.object(client.client(), "upload_part", failing), pytest.raises(blobs.StoreUnavailable):
        _write(f"{PREFIX}failing", 64)
    assert calls == [1, 2]  # noticed at the next part, not at the end
    assert blobs.stat(f"{PREFIX}failing") is None
    assert uploads() == []


def test_a_failing_completion_leaves_nothing() -> None:
    with (
        mock.patch.object(client.client(), "complete_multipart_upload", side_effect=TimeoutError("slow")),
        pytest.raises(blobs.StoreUnavailable),
        blobs.writer(f"{PREFIX}incomplete") as blob,
    ):
        blob.write(bytes(9 * MIB))
    assert blobs.stat(f"{PREFIX}incomplete") is None
    assert uploads() == []


def test_a_store_that_keeps_too_little_is_found_out() -> None:
    """The size the store tells is compared with what was written before anybody learns the key."""
    short = blobs.Stat(5, "x", datetime.now(UTC), "")
    with (
        mock.patch.object(reading, "stat", return_value=short),
        pytest.raises(blobs.StoreUnavailable, match="did not keep"),
        blobs.writer(f"{PREFIX}short") as blob,
    ):
        blob.write(bytes(9 * MIB))
    assert blobs.stat(f"{PREFIX}short") is None


def test_memory_stays_flat() -> None:
    """A writer holds at most a few parts, whatever the size."""
    block = os.urandom(MIB)
    with blobs.writer(f"{PREFIX}warm") as blob:
        blob.write(block * 9)
    tracemalloc.start()
    try:
        with blobs.writer(f"{PREFIX}flat") as blob:
            for _ in range(120):
                blob.write(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert blob.size == 120 * MIB
    assert peak < 17 * MIB


def test_parts_grow_so_that_ten_thousand_suffice_for_hundreds_of_gibibytes() -> None:
    blob = blobs.writer("never")
    total = 0
    for number in range(10_000):
        blob._parts = [""] * number
        total += blob._part_size()
    assert total > 290 * 1024 * MIB
    blob._parts = []
    assert blob._part_size() == 5 * MIB


def test_a_blob_carries_its_file_name() -> None:
    with blobs.writer(f"{PREFIX}named", content_type="text/plain", filename='Ä "x".txt') as blob:
        blob.write(b"a")
    blobs.put(f"{PREFIX}put", b"a", "text/plain", filename="b.txt")
    for key, ends in (("named", "filename*=UTF-8''%C3%84%20_x_.txt"), ("put", "filename*=UTF-8''b.txt")):
        assert fetch(blobs.url(PREFIX + key))[1]["Content-Disposition"].endswith(ends)


def test_missing_blobs() -> None:
    assert blobs.stat(f"{PREFIX}none") is None
    with pytest.raises(blobs.Missing) as caught:
        blobs.reader(f"{PREFIX}none")
    assert isinstance(caught.value, errors.NotFound)
    assert caught.value.details["key"] == f"{PREFIX}none"


def test_a_process_after_fork_has_its_own_client() -> None:
    blobs.put(f"{PREFIX}before", b"parent")
    parent = client.client()
    context = multiprocessing.get_context("fork")
    answers: Any = context.SimpleQueue()

    def child() -> None:
        blobs.put(f"{PREFIX}forked", b"child")
        answers.put((client.client() is parent, b"".join(blobs.reader(f"{PREFIX}before"))))

    process = context.Process(target=child)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert answers.get() == (False, b"parent")
    assert client.client() is parent
    assert b"".join(blobs.reader(f"{PREFIX}forked")) == b"child"


def test_threads_share_the_client() -> None:
    failures = []

    def work(number: int) -> None:
        try:
            key = f"{PREFIX}thread/{number}"
            blobs.put(key, key.encode())
            assert b"".join(blobs.reader(key)) == key.encode()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# --- listing and removing -------------------------------------------------------------------------------------


def test_keys_and_delete() -> None:
    names = [f"{PREFIX}list/{number:04}" for number in range(25)] + [f"{PREFIX}list-other"]
    for name in names:
        blobs.put(name, b"abc")
    found = list(blobs.keys(f"{PREFIX}list/"))
    assert sorted(entry.key for entry in found) == names[:-1]
    assert {entry.size for entry in found} == {3}
    blobs.delete(*names[:20], f"{PREFIX}never-there")
    assert {entry.key for entry in blobs.keys(f"{PREFIX}list")} == {*names[20:]}
    blobs.delete()


def test_stale_uploads_are_ended_and_fresh_ones_are_not() -> None:
    s3 = client.client()
    upload = s3.create_multipart_upload(Bucket=django_settings.S3_BUCKET, Key=f"{PREFIX}stale")
    assert blobs.abort_stale_uploads(timedelta(hours=1), prefix=PREFIX) == 0
    assert uploads() == [f"{PREFIX}stale"]
    assert upload["UploadId"]
    assert blobs.abort_stale_uploads(timedelta(seconds=-60), prefix=PREFIX) == 1
    assert uploads() == []


def test_orphans_are_swept_after_a_grace() -> None:
    for name in ("live", "dead", "dead2"):
        blobs.put(f"{PREFIX}{name}", b"x")
    asked: list[str] = []

    def is_live(keys: Sequence[str]) -> set[str]:
        asked.extend(keys)
        return {f"{PREFIX}live", "another/key"}

    assert blobs.sweep_orphans(PREFIX[:-1], is_live) == 0  # all are younger than a day
    assert asked == []
    assert blobs.sweep_orphans(PREFIX[:-1], is_live, timedelta(seconds=-60)) == 2
    assert [entry.key for entry in blobs.keys(PREFIX)] == [f"{PREFIX}live"]


def test_ensure_bucket_makes_it_once(settings: Settings) -> None:
    settings.S3_BUCKET = f"made-{random.randrange(10**9)}"
    assert not blobs.answers()
    with pytest.raises(blobs.Missing):
        blobs.put("core-test/x", b"")
    blobs.ensure_bucket()
    blobs.ensure_bucket()
    assert blobs.answers()
    client.client().delete_bucket(Bucket=settings.S3_BUCKET)


# --- a store that is away -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda: blobs.put("core-test/x", b"x"),
        lambda: blobs.stat("core-test/x"),
        lambda: blobs.reader("core-test/x"),
        lambda: blobs.delete("core-test/x"),
        lambda: list(blobs.keys("core-test/")),
        lambda: blobs.ensure_bucket(),
        lambda: blobs.abort_stale_uploads(timedelta(0)),
    ],
)
def test_a_dead_store_is_said_to_be_unavailable(use: Callable[[], object], settings: Settings) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        settings.S3_ENDPOINT_URL = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(blobs.StoreUnavailable) as caught:
            use()
    assert isinstance(caught.value, errors.Unavailable)
    assert caught.value.retry_after > 0
    assert not blobs.answers()


def test_a_store_that_hangs_is_given_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen rather than dead: it takes connections and says nothing."""
    monkeypatch.setattr(client, "READING", client.Patience(0.3, 2))
    monkeypatch.setattr(client, "PROBING", client.Patience(0.3, 1))
    taken: list[socket.socket] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.05)

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    taken.append(silent.accept()[0])

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            settings.S3_ENDPOINT_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
            with pytest.raises(blobs.StoreUnavailable):
                blobs.stat("core-test/x")
            assert len(taken) == 2
            assert not blobs.answers()
            assert len(taken) == 3
        finally:
            over.set()
            thread.join()
            for each in taken:
                each.close()


def test_wrong_credentials_are_unavailable_not_missing(settings: Settings) -> None:
    settings.S3_SECRET_ACCESS_KEY = "not the secret"
    with pytest.raises(blobs.StoreUnavailable):
        blobs.stat("core-test/x")
    assert not blobs.answers()


def test_a_store_that_dies_during_an_upload_is_noticed(servers: house.House) -> None:
    """Killed between two parts: StoreUnavailable; when it is back, nothing half-written can be seen."""
    with pytest.raises(blobs.StoreUnavailable), blobs.writer(f"{PREFIX}dying") as blob:  # noqa: PT012
        blob.write(bytes(9 * MIB))
        servers.store.kill()
        for _ in range(30):
            blob.write(bytes(MIB))
    servers.start()
    assert blobs.stat(f"{PREFIX}dying") is None
    blobs.abort_stale_uploads(timedelta(seconds=-60), prefix=PREFIX)
    assert uploads() == []


def test_a_body_cut_off_in_the_middle_is_unavailable(servers: house.House) -> None:
    key = f"{PREFIX}cut"
    with blobs.writer(key) as blob:
        blob.write(os.urandom(40 * MIB))
    with blobs.reader(key) as body, pytest.raises(blobs.StoreUnavailable):  # noqa: PT012
        assert body.read(1000)
        servers.store.kill()
        while body.read(MIB):
            pass
    servers.start()


# --- links ----------------------------------------------------------------------------------------------------


def test_a_link_delivers_with_name_type_and_ranges() -> None:
    key = f"{PREFIX}link/a b+é%/x.epub"
    blobs.put(key, b"0123456789")
    link = blobs.url(key, 60, filename="Tïtle words.epub", content_type="application/epub+zip")
    status, headers, body = fetch(link)
    assert (status, body, headers["Content-Type"]) == (200, b"0123456789", "application/epub+zip")
    expected = "attachment; filename=\"T_tle words.epub\"; filename*=UTF-8''T%C3%AFtle%20words.epub"
    assert headers["Content-Disposition"] == expected
    status, headers, body = fetch(link, Range="bytes=2-4")
    assert (status, body, headers["Content-Range"]) == (206, b"234", "bytes 2-4/10")


def test_the_store_refuses_tampered_and_expired_links() -> None:
    blobs.put(f"{PREFIX}a", b"a")
    blobs.put(f"{PREFIX}b", b"b")
    link = blobs.url(f"{PREFIX}a", 60, filename="a.txt")
    assert fetch(link)[0] == 200
    for old, new in [
        (f"{PREFIX}a?", f"{PREFIX}b?"),
        ("Expires=60", "Expires=600"),
        ("a.txt", "b.txt"),
        ("X-Amz-Signature=", "X-Amz-Signature=0"),
        ("&X-Amz-Signature=", "&response-content-type=text%2Fhtml&X-Amz-Signature="),
    ]:
        assert old in link
        assert fetch(link.replace(old, new))[0] == 403
    assert fetch(blobs.signer().url(f"{PREFIX}a", 60, now=time.time() - 120))[0] == 403
    bare = urllib.parse.urlsplit(link)
    assert fetch(f"{bare.scheme}://{bare.netloc}{bare.path}")[0] == 403
    put = urllib.request.Request(link, data=b"evil", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(put, timeout=20)
    with caught.value:
        assert caught.value.code == 403
    assert b"".join(blobs.reader(f"{PREFIX}a")) == b"a"


key_text = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    lambda key: not key.startswith("/")
)


# Making a client costs boto3 a good deal more than the links do.
boto3_client = functools.cache(client._cached_client.__wrapped__)


@hypothesis_settings(max_examples=60, deadline=None)
@given(
    key=key_text,
    filename=st.none() | st.text(max_size=30),
    content_type=st.none() | st.sampled_from(["text/csv; charset=utf-8", "application/epub+zip"]),
    expires=st.integers(1, 604_800),
    moment=st.integers(1_700_000_000, 2_000_000_000),
    token=st.sampled_from(["", "AQoDYXdz//token+with/slashes=="]),
    addressing=st.sampled_from(["path", "virtual"]),
    endpoint=st.sampled_from(["http://127.0.0.1:8333", "https://S3.example.org:443"]),
)
def test_links_equal_boto3s(
    key: str,
    filename: str | None,
    content_type: str | None,
    expires: int,
    moment: int,
    token: str,
    addressing: str,
    endpoint: str,
) -> None:
    """Byte for byte, for the same instant, whatever the key."""
    access, secret, region = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"
    signer = blobs.Signer(endpoint, "my-bucket", region, access, secret, token, addressing)
    ours = signer.url(key, expires, filename=filename, content_type=content_type, now=moment)
    params: dict[str, Any] = {"Bucket": "my-bucket", "Key": key}
    if filename is not None:
        params["ResponseContentDisposition"] = blobs.disposition(filename)
    if content_type is not None:
        params["ResponseContentType"] = content_type
    s3 = boto3_client(0, client.READING, True, endpoint, access, secret, token, region, addressing)
    frozen = datetime.fromtimestamp(moment, UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=frozen.replace(tzinfo=None)):
        assert ours == s3.generate_presigned_url("get_object", Params=params, ExpiresIn=expires)


def test_the_signing_key_rolls_at_midnight_utc() -> None:
    signer = blobs.Signer("http://s3", "b", "r", "a", "s")
    midnight = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    before, after = signer.url("k", now=midnight - 1), signer.url("k", now=midnight)
    assert "20261122%2Fr%2Fs3" in before
    assert "20261123%2Fr%2Fs3" in after
    assert signer.url("k", now=midnight - 1) == before
    assert blobs.Signer("http://s3", "b", "r", "a", "s").url("k", now=midnight) == after


@pytest.mark.parametrize("expires", [0, -1, 604_801])
def test_a_link_lasts_a_second_to_a_week(expires: int) -> None:
    with pytest.raises(ValueError, match="lasts"):
        blobs.signer().url("k", expires)


def test_links_are_for_the_public_endpoint(settings: Settings) -> None:
    settings.S3_PUBLIC_ENDPOINT_URL = "https://files.example.org"
    assert blobs.url("downloads/x").startswith(f"https://files.example.org/{settings.S3_BUCKET}/downloads/x?")
    settings.S3_ADDRESSING = "virtual"
    assert blobs.url("downloads/x").startswith(f"https://{settings.S3_BUCKET}.files.example.org/downloads/x?")


@given(st.text(max_size=80), st.sampled_from(["attachment", "inline"]))
def test_nobody_breaks_out_of_a_disposition(filename: str, kind: str) -> None:
    value = blobs.disposition(filename.encode("utf-8", "replace").decode(), kind)
    assert value.isascii()
    assert value.isprintable()
    head, quoted, rest = value.split('"')
    assert head == f"{kind}; filename="
    assert "\\" not in quoted
    assert "/" not in quoted
    assert quoted
    assert rest.startswith("; filename*=UTF-8''")
    extended = rest.removeprefix("; filename*=UTF-8''")
    assert ";" not in extended
    assert len(urllib.parse.unquote(extended)) == len(quoted)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "anywhere"])
def test_any_region_is_known(settings: Settings, region: str) -> None:
    """The list of Amazon's endpoints is not read: ours is named, whatever the region."""
    settings.S3_REGION = region
    made = client.client()
    assert (made.meta.endpoint_url, made.meta.region_name) == (settings.S3_ENDPOINT_URL, region)
    listed = client._session(os.getpid())._session.get_data("endpoints")
    assert [partition["partitionName"] for partition in listed["partitions"]] == ["any S3"]
    blobs.put(f"{PREFIX}region", b"x")
    assert b"".join(blobs.reader(f"{PREFIX}region")) == b"x"
