"""The accessible library (contract nnels, 9) against plain DRF with boto3, on the same data in the same run.

`./run bench nnels [--items 100000] [--rounds 200]`: seeds that many synthetic titles with four files each, then
measures CPU and statements per request in this process: one item with 4 links, a page of 50, page 1000 against page 1,
one signed link, a cached password, a 304, OPTIONS; then database time of searches in English and French against one
sequential ILIKE; then the memory of importing a large file.
"""

from __future__ import annotations

import base64
import math
import pathlib
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any
from urllib import parse

from benchmarks import measure

# What one tries first: the commonest words of the catalogue, operators, forms, ISBN, nothing.
COMMON = [
    "whale", "whales", "baleine", "ete+quebecois", "fiction", "fiction+history", "fiction+-history", "smith", "love",
    "melville+whales", "%22white+island%22", "hiver+or+foret", "maisons+perdues", "9780000000019", "zzz",
]  # fmt: skip
ILIKES = ["%whale%", "%québécois%", "%hidden river%", "%melville%", "%zzz%"]


def main() -> None:
    sizes = measure.arguments(__doc__, items=100_000, rounds=200, import_mib=1024)
    with measure.house(NNELS_TOKEN_KEYS="bench", ALLOWED_HOSTS="testserver") as house:
        run(sizes.items, sizes.rounds, sizes.import_mib, house)


def run(items: int, rounds: int, import_mib: int, house: measure.House) -> None:
    from django.db import connection

    from core.models import User
    from nnels import models
    from nnels.seed import synthetic

    measure.say(f"seeding {items:,} titles …")
    synthetic.bulk(items)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE nnels_item")
        cursor.execute("VACUUM ANALYZE nnels_searchentry")
        cursor.execute("VACUUM ANALYZE nnels_file")
    user = User.objects.create_user("reader", "reader@example.org", "notReal")
    models.Reader.objects.create(user=user, print_disability_verified=True)
    bench = Bench(rounds)
    rows = [*bench.items(), *bench.pages(items), *bench.links(), *bench.passwords(), *bench.cheap()]
    measure.report(f"NNELS: requests, {items:,} titles (CPU ms of this process)", rows)
    measure.report("NNELS: statements per request", bench.statements())
    measure.report("NNELS: search, CPU ms of the database server", bench.searches(items))
    measure.report(f"NNELS: importing {import_mib} MiB", [memory(import_mib)])


class Bench:
    """Requests through Django's own handler, so that CPU is the application's alone."""

    def __init__(self, rounds: int) -> None:
        from django.test import Client

        self.rounds = rounds
        self.client = Client()
        self.basic = "Basic " + base64.b64encode(b"reader:notReal").decode()
        answer = self.client.get("/api/login-token", headers={"authorization": self.basic})
        self.token = {"access-token": answer.json()["access_token"]}
        self.nid = self.get("/api/repo_items?range=1").json()["data"][0]["id"]

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        response = self.client.get(path, headers=headers or self.token)
        if response.status_code not in (200, 304):
            raise RuntimeError(f"{path} answered {response.status_code}: {response.content[:300]!r}")
        return response

    def cpu(self, act: Callable[[], object], rounds: int | None = None) -> float:
        """CPU milliseconds of one call, the median of five runs after a warm one."""
        count = rounds or self.rounds
        act()
        found = []
        for _ in range(5):
            started = time.process_time()
            for _ in range(max(1, count // 5)):
                act()
            found.append((time.process_time() - started) / max(1, count // 5) * 1000)
        return statistics.median(found)

    def items(self) -> list[measure.Row]:
        plain = Plain(self.token["access-token"])
        ours = self.cpu(lambda: self.get(f"/api/v1.0/repo_items/{self.nid}"))
        limit = self.cpu(lambda: plain.item(self.nid))
        page = self.cpu(lambda: self.get("/api/v1.0/repo_items?range=50"), 50)
        plain_page = self.cpu(lambda: plain.page(50), 10)
        return [
            measure.Row("item with 4 links / plain DRF", ours, limit, 0.5, less_is_better=True),
            measure.Row("50 rows with 200 links / plain DRF", page, plain_page, 0.25, less_is_better=True),
        ]

    def pages(self, items: int) -> list[measure.Row]:
        far = min(1000, items // 50)
        first = self.cpu(lambda: self.get("/api/v1.0/repo_items?range=50"), 50)
        late = self.cpu(lambda: self.get(f"/api/v1.0/repo_items?range=50&page={far}"), 50)
        near, deep = self.database("/api/repo_items?range=50"), self.database(f"/api/repo_items?range=50&page={far}")
        return [
            measure.Row(f"page {far} / page 1, CPU", late, first, 2, less_is_better=True),
            measure.Row(f"page {far} / page 1, server CPU", deep, near, 2, less_is_better=True),
        ]

    def links(self) -> list[measure.Row]:
        from django.conf import settings

        from core import blobs
        from core.blobs import client, signing

        key, name = "nnels/2b/2b2532ea/0123456789abcdef.epub", "Un_été_9780142437247.epub"
        ours = self.cpu(lambda: blobs.signer().url(key, 3600, filename=name, content_type="application/epub+zip"), 2000)
        params = {
            "Bucket": settings.S3_BUCKET,
            "Key": key,
            "ResponseContentDisposition": signing.disposition(name),
            "ResponseContentType": "application/epub+zip",
        }
        boto = self.cpu(lambda: client.client().generate_presigned_url("get_object", Params=params), 200)
        return [measure.Row("one signed link / boto3", ours, boto, 0.1, less_is_better=True)]

    def passwords(self) -> list[measure.Row]:
        from django.contrib.auth import hashers

        from core.models import User
        from nnels.services import callers

        user = User.objects.get(username="reader")
        first = self.cpu(lambda: hashers.check_password("notReal", user.password), 5)
        callers._remembered.keep(user.pk, "notReal", user.password)
        again = self.cpu(lambda: callers._remembered.knows(user.pk, "notReal", user.password), 2000)
        return [measure.Row("cached password / first check", again, first, 0.02, less_is_better=True)]

    def cheap(self) -> list[measure.Row]:
        path = f"/api/v1.0/repo_items/{self.nid}?fields=id,label"
        tag = self.get(path)["ETag"]
        return [
            measure.Row("304", self.cpu(lambda: self.get(path, {**self.token, "if-none-match": tag}))),
            measure.Row("OPTIONS", self.cpu(lambda: self.client.options("/api/v1.0/repo_items/1"))),
            measure.Row("search, 50 rows", self.cpu(lambda: self.get("/api/basic_search/hidden+river"), 20)),
        ]

    def database(self, path: str, headers: dict[str, str] | None = None) -> float:
        """Milliseconds a request costs the database server, the median of five."""
        return _server_time(lambda: self.get(path, headers), 5)

    def count(self, path: str, headers: dict[str, str] | None = None, verb: str = "get") -> int:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        headers = headers or self.token
        getattr(self.client, verb)(path, headers=headers)
        with CaptureQueriesContext(connection) as captured:
            getattr(self.client, verb)(path, headers=headers)
        return len(captured)

    def statements(self) -> list[measure.Row]:
        tagged = f"/api/repo_items/{self.nid}?fields=id"
        tag = {**self.token, "if-none-match": self.get(tagged)["ETag"]}
        asked: list[tuple[str, int, int]] = [
            ("item with 4 links", self.count(f"/api/repo_items/{self.nid}"), 4),
            ("50 rows with 200 links", self.count("/api/repo_items?range=50"), 5),
            ("search", self.count("/api/basic_search/hidden+river"), 4),
            ("cached Basic", self.count("/api/users/me", {"authorization": self.basic}), 1),
            ("304", self.count(tagged, tag), 2),
            ("OPTIONS", self.count("/api/repo_items/1", verb="options"), 0),
            ("OPTIONS users/me", self.count("/api/users/me", verb="options"), 1),
        ]
        return [measure.Row(name, found, None, most, less_is_better=True) for name, found, most in asked]

    def searches(self, items: int) -> list[measure.Row]:
        asked = [*COMMON, *_wanted(items)]
        taken = sorted((self.database(f"/api/basic_search/{words}"), words) for words in asked)
        measure.say("slowest: " + ", ".join(f"{words} {spent:.1f}" for spent, words in taken[-5:]))
        scan = statistics.median(_timed(pattern) for pattern in ILIKES)
        suggest = self.database("/api/basic_search/melvile?suggest=10")
        p50, p99 = statistics.median(spent for spent, _ in taken), taken[math.ceil(len(taken) * 0.99) - 1][0]
        return [
            measure.Row(f"p50 of {len(taken)} searches / one ILIKE", p50, scan, 0.05, less_is_better=True),
            measure.Row("p99 / one ILIKE", p99, scan, 1 / 3, less_is_better=True),
            measure.Row("slowest / one ILIKE", taken[-1][0], scan),
            measure.Row("suggestions / one ILIKE", suggest, scan),
        ]


def _wanted(items: int) -> list[str]:
    """What readers ask: titles they know, authors, an author with a word of the title, subjects; 185 searches."""
    from nnels.seed import synthetic

    corpus = synthetic.Corpus.make()
    dice = random.Random(1)
    asked = []
    for number in dice.sample(range(items), 185):
        item = corpus.item(number)
        words, family = item.label.split()[:3], item.creators[0].partition(",")[0]
        kinds = ["+".join(words), family, f"{family}+{words[-1]}", words[0], item.subjects[0]]
        asked.append(parse.quote(dice.choices(kinds, weights=(45, 20, 20, 10, 5))[0], safe="+"))
    return asked


def _server_time(act: Callable[[], object], times: int) -> float:
    """Milliseconds of processor time of this connection's server process: what else runs here does not count."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    found = []
    for _ in range(times):
        before = _nanoseconds(pid)
        act()
        found.append((_nanoseconds(pid) - before) / 1e6)
    return statistics.median(found)


def _nanoseconds(pid: int) -> int:
    """Processor time of a process on this machine (proc(5), schedstat)."""
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def _timed(pattern: str) -> float:
    """Milliseconds of one sequential ILIKE over title and creators."""
    from django.db import connection, transaction

    def scan() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
            cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off")
            cursor.execute(
                "SELECT count(*) FROM nnels_item WHERE label ILIKE %s OR array_to_string(creators, ' ') ILIKE %s",
                [pattern, pattern],
            )

    return _server_time(scan, 3)


class Plain:
    """The same rows the plain way: a DRF model view set, default pagination, token look-up by query, a presign per
    file by boto3."""

    def __init__(self, token: str) -> None:
        from django.conf import settings
        from rest_framework import pagination, renderers, serializers, viewsets
        from rest_framework.authentication import BaseAuthentication
        from rest_framework.permissions import IsAuthenticated
        from rest_framework.test import APIRequestFactory

        from core.blobs import client, signing
        from core.models import User
        from nnels import models
        from nnels.services import tokens

        class Authentication(BaseAuthentication):
            def authenticate(self, request: Any) -> Any:
                digest = tokens.digest(request.headers["access-token"])
                pair = models.TokenPair.objects.get(access_digest=digest, revoked_at=None)
                return User.objects.get(pk=pair.user_id), None

        class FileSerializer(serializers.ModelSerializer[models.File]):
            url = serializers.SerializerMethodField()

            class Meta:
                model = models.File
                fields = ["format", "media_type", "name", "bytes", "sha256", "url"]

            def get_url(self, file: models.File) -> str:
                params = {
                    "Bucket": settings.S3_BUCKET,
                    "Key": file.blob_key,
                    "ResponseContentDisposition": signing.disposition(file.name),
                    "ResponseContentType": file.media_type,
                }
                return client.client().generate_presigned_url("get_object", Params=params)

        class ItemSerializer(serializers.ModelSerializer[models.Item]):
            files = FileSerializer(many=True)

            class Meta:
                model = models.Item
                fields = [
                    "id", "label", "creators", "languages", "isbn", "uuid", "published_date", "subjects", "description",
                    "publisher", "publisher_place", "formats", "narrators", "narration", "duration", "series",
                    "edition", "audience", "rights", "accessibility", "files", "changed",
                ]  # fmt: skip

        class Pages(pagination.PageNumberPagination):
            page_size_query_param = "range"

        class Items(viewsets.ReadOnlyModelViewSet[models.Item]):
            queryset = models.Item.objects.filter(published=True).order_by("id")
            serializer_class = ItemSerializer
            pagination_class = Pages
            authentication_classes = [Authentication]
            permission_classes = [IsAuthenticated]
            renderer_classes = [renderers.JSONRenderer]

        self._factory = APIRequestFactory()
        self._headers = {"access-token": token}
        self._one = Items.as_view({"get": "retrieve"})
        self._many = Items.as_view({"get": "list"})

    def item(self, nid: int) -> None:
        self._answer(self._one(self._factory.get(f"/items/{nid}", headers=self._headers), pk=nid))

    def page(self, size: int) -> None:
        self._answer(self._many(self._factory.get(f"/items?range={size}", headers=self._headers)))

    def _answer(self, response: Any) -> None:
        response.render()
        if response.status_code != 200:
            raise RuntimeError(f"plain DRF answered {response.status_code}")


def memory(mebibytes: int) -> measure.Row:
    """Peak memory of importing one large file above that of a small one."""
    from nnels.jobs.importing import store, work

    def peak(size: int) -> float:
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name) / f"book{size}.txt"
            block = (b"All human beings are born free and equal. " * 25_000)[: 1024 * 1024]
            with path.open("wb") as out:
                for _ in range(size):
                    out.write(block)
            with measure.used() as used:
                summary = work.run(pathlib.Path(name), sidecar_path=None, options=store.Options())
            if summary.counts["created"] != 1:
                raise RuntimeError(f"the import failed: {summary.lines}")
            return used.peak["self"]

    small = peak(1)
    return measure.Row("extra MiB of memory", peak(mebibytes) - small, None, 64, less_is_better=True)


if __name__ == "__main__":
    main()
