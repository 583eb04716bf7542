"""Harvest generated ISO records served by nginx on loopback: CPU per document in four passes, and what bounds it.

`./run bench harvest [--documents 2000]`. Beside our CPU per document stands the limit of the same run: parsing and
validating the same bytes with nothing around it. Then: a source with latency over one and over eight connections, the
original's list of harvests, and the peak memory of a real worker at a tenth of the documents and at all of them.
nginx's own ceiling is measured with wrk, when it is installed.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import measure
from core import memory, process

KEYWORDS = 95  # makes a record of about 15 KB
LATENCY = 0.2
SLOW_DOCUMENTS = 64
HARVESTS = 1000
ORIGINAL_MS = 41.0  # CPU of the original for a document (contract 9)


def main() -> None:
    options = measure.arguments(__doc__, documents=2000, wrk_seconds=3)
    with measure.house(REGISTRY_LEASE_SECONDS="60") as house:
        docs = write_documents(house.folder / "iso", options.documents)
        with nginx(house.folder, docs) as url:
            passes(house, url, docs, options)
            ceiling(url, docs, options.wrk_seconds)
            latency()
            listing()
            peaks(house, url, docs, options.documents)


def write_documents(docs: pathlib.Path, count: int) -> pathlib.Path:
    """Files of about 15 KB that changed a month ago, one at a time: memory does not grow with their number."""
    from registry.formats import samples

    docs.mkdir()
    old = time.time() - 30 * 86_400
    for number in range(count):
        path = docs / f"station_{number:06d}.xml"
        path.write_bytes(samples.iso19139(number, keywords=KEYWORDS))
        os.utime(path, (old, old))
    size = (docs / "station_000000.xml").stat().st_size
    print(f"{count} documents of {size} bytes")
    return docs


@contextmanager
def nginx(folder: pathlib.Path, docs: pathlib.Path) -> Iterator[str]:
    """nginx over the documents, and over the first tenth of them below `/tenth/`; its address."""
    program = shutil.which("nginx")
    if program is None:
        raise SystemExit("this benchmark needs Debian's package nginx-light")
    tenth = folder / "tenth"
    tenth.mkdir()
    for path in sorted(docs.iterdir())[: max(1, sum(1 for _ in docs.iterdir()) // 10)]:
        os.link(path, tenth / path.name)
    for place in (folder, docs, tenth):
        place.chmod(0o755)
    port = process.free_ports(1)[0]
    config = folder / "nginx.conf"
    temporary = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ worker_connections 256; }}\n"
        f"http {{ types {{ application/xml xml; }} access_log off; {temporary}\n"
        f"  server {{ listen 127.0.0.1:{port}; root {docs}; autoindex on;\n"
        f"    location /tenth/ {{ alias {tenth}/; autoindex on; }} }} }}\n"
    )
    made = subprocess.Popen([program, "-c", str(config)])
    try:
        process.await_until(lambda: not process.is_free(port), what="nginx", timeout=10)
        yield f"http://127.0.0.1:{port}/"
    finally:
        made.terminate()
        made.wait(10)


# --- CPU per document ---------------------------------------------------------------------------------------------


def passes(house: measure.House, url: str, docs: pathlib.Path, options: argparse.Namespace) -> None:
    """Cold, unchanged by listing, unchanged by conditional GET, one in a hundred changed."""
    from registry.formats import samples
    from registry.models import Record

    count: int = options.documents
    memory.settle()  # as a worker's process does
    warm_up()
    harvest = new_harvest("Bench", url)
    bare = bare_validation(docs)
    cold = measured(house, harvest, "cold", f"ok, {count} good, 0 unchanged, 0 changed")
    listed = measured(house, harvest, "unchanged by listing", f"ok, {count} good, {count} unchanged, 0 changed")
    Record.objects.update(settled=False)
    asked = measured(house, harvest, "conditional GET", f"ok, {count} good, {count} unchanged, 0 changed")
    changed = range(0, count, 100)
    for number in changed:
        path = docs / f"station_{number:06d}.xml"
        path.unlink()  # not through the link of the tenth
        path.write_bytes(samples.iso19139(number, keywords=KEYWORDS, revision=1))
    few = measured(
        house,
        harvest,
        "1 % changed",
        f"ok, {count} good, {count - len(changed)} unchanged, {len(changed)} changed",
    )

    def each(run: measure.Used) -> float:
        return run.cpu["self"] / count * 1000

    measure.report(
        f"Harvest of {count} documents, CPU milliseconds of the worker's code per document",
        [
            measure.Row("cold", each(cold), limit=bare),
            measure.Row("cold, target 1.4", each(cold), target=1.4, less_is_better=True),
            measure.Row("cold, times less than the original", ORIGINAL_MS / each(cold), target=30),
            measure.Row("unchanged by listing", each(listed), target=0.05, less_is_better=True),
            measure.Row("unchanged by conditional GET", each(asked), target=0.35, less_is_better=True),
            measure.Row("1 % changed", each(few)),
        ],
        cold=cold,
        listed=listed,
        asked=asked,
        few=few,
    )


def warm_up() -> None:
    """A small run, so that no figure below holds the imports and the compiled schema that a worker needs once."""
    from registry.demo import source as demo_source
    from registry.formats import samples

    source = demo_source.Source()
    source.fill((f"d{number:03d}.xml", samples.iso19139(number)) for number in range(SLOW_DOCUMENTS))
    with demo_source.Server(source) as server:
        slow_run(server.url("nginx"), 8)


def new_harvest(name: str, url: str) -> int:
    from registry.models import Harvest, Organization

    organization, _ = Organization.objects.get_or_create(name="Bench", slug="Bench")
    return Harvest.objects.create(name=name, url=url, organization=organization).pk


def bare_validation(docs: pathlib.Path) -> float:
    """CPU milliseconds to read, parse and validate one of the documents and nothing else."""
    from registry.formats import validation

    paths = sorted(docs.iterdir())[:500]
    validation.validate(paths[0].read_bytes())  # compiles the schema
    began = time.process_time()
    for path in paths:
        validation.validate(path.read_bytes())
    return (time.process_time() - began) / len(paths) * 1000


def measured(house: measure.House, harvest: int, name: str, expected: str) -> measure.Used:
    """One run in this process."""
    from core import jobs
    from registry.jobs import request
    from registry.models import Harvest

    made, _ = request.run_of(Harvest.objects.get(pk=harvest), trigger="cli")
    with measure.used(postgres=house.postgres_pid, store=house.store_pid) as used:
        jobs.run(made.job_id)
    made.refresh_from_db()
    outcome = f"{made.state}, {made.good} good, {made.unchanged} unchanged, {made.changed} changed"
    if outcome != expected:
        raise SystemExit(f"{name}: {outcome} {made.failure_message}; expected {expected}")
    return used


def ceiling(url: str, docs: pathlib.Path, seconds: int) -> None:
    """What nginx gives to a client that does nothing with it."""
    wrk = shutil.which("wrk")
    if wrk is None:
        print("nginx's ceiling: wrk is not installed")
        return
    target = f"{url}{next(iter(docs.iterdir())).name}"
    made = subprocess.run(
        [wrk, "-t1", "-c8", f"-d{seconds}s", target], capture_output=True, text=True, check=True, timeout=seconds + 30
    )
    line = next(line for line in made.stdout.splitlines() if "Requests/sec" in line)
    print(f"nginx's ceiling (wrk, 8 connections): {line.split()[-1]} documents/s")


# --- a slow source, the list, memory ------------------------------------------------------------------------------


def latency() -> None:
    """Wall time over a source that takes 200 ms for every answer, with one and with eight connections."""
    from registry.demo import source as demo_source
    from registry.formats import samples

    source = demo_source.Source(delay=LATENCY)
    source.fill((f"d{number:03d}.xml", samples.iso19139(number)) for number in range(SLOW_DOCUMENTS))
    walls: dict[int, float] = {}
    with demo_source.Server(source) as server:
        for connections in (1, 8):
            walls[connections] = slow_run(server.url("nginx") + f"?{connections}", connections)
    measure.report(
        f"A source with {LATENCY * 1000:.0f} ms latency, {SLOW_DOCUMENTS} documents, seconds of wall time",
        [measure.Row("8 connections over 1", walls[8], limit=walls[1], target=1 / 6, less_is_better=True)],
    )


def slow_run(url: str, connections: int) -> float:
    from core import jobs
    from registry.jobs import request
    from registry.models import Harvest

    Harvest.objects.filter(pk=(pk := new_harvest(f"Slow {connections}", url))).update(max_connections=connections)
    made, _ = request.run_of(Harvest.objects.get(pk=pk), trigger="cli")
    began = time.monotonic()
    jobs.run(made.job_id)
    wall = time.monotonic() - began
    made.refresh_from_db()
    if (made.state, made.good) != ("ok", SLOW_DOCUMENTS):
        raise SystemExit(f"the slow source: {made.state} {made.failure_message}")
    return wall


def listing() -> None:
    """The original's list of harvests: CPU and statements per answer, in this process."""
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from registry.models import Harvest, Organization

    owner = Organization.objects.get(slug="Bench")
    counters = {"last_finished": timezone.now(), "last_status": "ok"}
    counters |= {"last_record_count": 802, "last_good_count": 801, "last_bad_count": 1}
    Harvest.objects.bulk_create(
        Harvest(name=f"Source {n}", url=f"https://s{n}.example.org/iso/", organization=owner, publish=True, **counters)
        for n in range(HARVESTS)
    )
    client, rounds, total = Client(SERVER_NAME="localhost"), 20, Harvest.objects.count()
    client.get("/api/v1/Harvests")
    began = time.process_time()
    for _ in range(rounds):
        answer = client.get("/api/v1/Harvests")
    each = (time.process_time() - began) / rounds / total * 1_000_000
    with CaptureQueriesContext(connection) as queries:
        client.get("/api/v1/Harvests")
    if len(answer.json()["data"]) != total:
        raise SystemExit("the list is not whole")
    measure.report(
        f"GET /api/v1/Harvests with {total} harvests",
        [
            measure.Row("CPU microseconds per harvest", each, target=25, less_is_better=True),
            measure.Row("statements", len(queries), target=2, less_is_better=True),
        ],
    )


def peaks(house: measure.House, url: str, docs: pathlib.Path, count: int) -> None:
    """Peak memory of a fresh worker's process over a tenth of the documents, and over all of them."""
    small = worker_peak(house, "small", f"{url}tenth/", sum(1 for _ in (docs.parent / "tenth").iterdir()))
    large = worker_peak(house, "large", f"{url}?all", count)
    measure.report(
        f"Peak memory of a worker, MiB, at {count // 10} and {count} documents",
        [
            measure.Row(f"{count // 10} documents", small, target=200, less_is_better=True),
            measure.Row(f"{count} documents", large, target=200, less_is_better=True),
            measure.Row("difference", large - small, target=20, less_is_better=True),
        ],
    )


def worker_peak(house: measure.House, name: str, url: str, count: int) -> float:
    """MiB of the process that did the run, of a worker of its own."""
    from registry.jobs import request
    from registry.models import Harvest, HarvestRun

    pid = house.worker(concurrency=1)
    try:
        harvest = Harvest.objects.get(pk=new_harvest(name, url))
        made, _ = request.run_of(harvest, trigger=HarvestRun.Trigger.CLI)
        while made.state in HarvestRun.ACTIVE:
            time.sleep(0.5)
            made.refresh_from_db()
        peak = max(measure.peak_of(each) for each in measure.tree(pid))
    finally:
        house.children["worker"].stop()
    if (made.state, made.good) != ("ok", count):
        raise SystemExit(f"{name}: {made.state}, {made.good} good of {count}: {made.failure_message}")
    return peak


if __name__ == "__main__":
    main()
