"""The directory search under load (contract usermgmt, 9): HTTP with Basic and bearer against the bare SQL.

`./run bench users [--users N] [--seconds S]`: makes the load-test directory as far as missing, starts one web process,
sends a mix of three-character and full terms of every search type, then runs the same terms as bare SQL on one
connection, and prints percentiles, ratios, statements and CPU per request, plans, index and table sizes, and how
indexed searches compare with scans. Works on the servers the environment names (`./run bench` starts its own).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import resource
import signal
import statistics
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings")
os.environ.setdefault("DEBUG", "1")
os.environ.setdefault("HTTPS", "0")
os.environ.setdefault("USERMGMT_CLIENT_LIMIT", "1000000000")
os.environ.setdefault("LOG_LEVEL", "WARNING")

TERMS = {
    "username, 3 characters": [("username", term) for term in ("smi", "mar", "lee", "gar", "joh", "ngu")],
    "username, full": [("username", f"crowd-{stem}") for stem in ("jsmith1", "mgarcia7", "alee33")],
    "name, 3 characters": [("name", term) for term in ("smi", "mar", "ann", "احم", "ива", "παπ", "さくら")],
    "name, full": [("name", term) for term in ("michael", "zofia", "kowalski", "صفيان", "наталья", "शर्मा")],
    "first and last": [("name", term) for term in ("john adams", "maria garcia", "احمد صفيان", "小明 王", "민준 김")],
    "e-mail, part": [("email", term) for term in ("@lab7.example", "smith.12", "university11.example.edu", ".edu")],
    "e-mail, popular": [("email", "example"), ("email", "edu")],
    "no match": [("username", "qzxqzx"), ("name", "qzxqzx"), ("email", "qzx@qzx.qq")],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=10, help="how long each measurement runs")
    options = parser.parse_args()
    with servers():
        run(options.users, options.seconds)


@contextlib.contextmanager
def servers() -> Iterator[None]:
    """The servers named in the environment, or embedded ones for this run."""
    if os.environ.get("DATABASE_URL") and os.environ.get("REDIS_URL"):
        yield
        return
    import tempfile

    from core.embedded import stack

    with tempfile.TemporaryDirectory(prefix="quincunx-bench-") as folder:
        own = stack.Stack(pathlib.Path(folder), given={**os.environ, "S3_ENDPOINT_URL": "unused"}, durable=False)
        own.start()
        os.environ.update(own.env())
        try:
            yield
        finally:
            own.stop()


def run(users: int, seconds: float) -> None:
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    prepare(users)
    pair = program()
    with web() as (base_url, pid):
        mix = [term for terms in TERMS.values() for term in terms]
        token = bearer(base_url, pair)
        for name, headers in (("Basic", basic(pair)), ("bearer", {"Authorization": f"Bearer {token}"})):
            over_http((base_url, pid), headers, mix, name, seconds)
    bare_sql(mix, seconds)
    against_scans()
    plans()
    sizes()
    authentication()
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


def prepare(users: int) -> None:
    from usermgmt.services import crowd, seed

    seed.run()
    started = time.perf_counter()
    made = crowd.grow(users)
    if made:
        took = time.perf_counter() - started
        print(f"made {made} people in {took:.1f} s, {1e6 * took / made:.0f} µs each")


def program() -> tuple[str, str]:
    """Key and secret of the demo's approved client; the secret is made anew."""
    from usermgmt.jobs import pairs
    from usermgmt.models import ClientCredential

    credential = ClientCredential.objects.filter(revoked_at=None, client__state="approved").latest("id")
    return credential.key, pairs.arm(credential)


@contextlib.contextmanager
def web() -> Iterator[tuple[str, int]]:
    """One gunicorn worker with four threads, as the limits are per process."""
    from core import process

    port = process.free_ports(1)[0]
    command = [sys.executable, "-m", "gunicorn", "core.wsgi", "-b", f"127.0.0.1:{port}", "-k", "gthread"]
    server = subprocess.Popen([*command, "--threads", "4", "--log-level", "warning"], cwd=ROOT)
    try:
        base_url = f"http://127.0.0.1:{port}"
        await_answer(f"{base_url}/livez")
        yield base_url, server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)


def await_answer(url: str) -> None:
    from core import demo

    def answers() -> bool:
        try:
            return demo.call("GET", url).status == 200
        except OSError:
            return False

    demo.wait_for(answers, what=url)


def basic(pair: tuple[str, str]) -> dict[str, str]:
    import base64

    return {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}


def bearer(base_url: str, pair: tuple[str, str]) -> str:
    from core import demo

    headers = {**basic(pair), "Content-Type": "application/x-www-form-urlencoded"}
    answer = demo.call("POST", f"{base_url}/oauth2/token", headers=headers, body=b"grant_type=client_credentials")
    return str(answer.json()["access_token"])


def over_http(
    server: tuple[str, int], headers: dict[str, str], mix: list[tuple[str, str]], name: str, seconds: float
) -> None:
    import requests

    base_url, pid = server
    session = requests.Session()
    session.headers.update(headers)

    def one(kind: str, term: str) -> None:
        answer = session.get(f"{base_url}/api/v1/users/{kind}/{urllib.parse.quote(term)}", timeout=10)
        if answer.status_code not in (200, 404):
            raise RuntimeError(f"{kind}/{term}: {answer.status_code} {answer.text[:100]}")

    before = cpu_of(pid)
    times = measure(one, mix, seconds)
    show(f"HTTP with {name}", times)
    print(f"  web CPU per request: {1000 * (cpu_of(pid) - before) / len(times):.2f} ms")
    if name == "Basic":
        for kind, terms in TERMS.items():
            show(f"  {kind}", measure(one, terms, seconds / 8))


def cpu_of(pid: int) -> float:
    """CPU seconds of the web process and its workers so far."""
    total = 0.0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if pid in (int(stat.parent.name), int(fields[1])):
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def bare_sql(mix: list[tuple[str, str]], seconds: float) -> None:
    from django.conf import settings
    from django.db import connections

    from usermgmt.selectors import directory

    cursor = connections[settings.USERMGMT_SEARCH_DATABASE].cursor()

    def one(kind: str, term: str) -> None:
        statement = directory.STATEMENTS[kind](term, 0, 100)
        cursor.execute(statement.sql, statement.params)
        cursor.fetchall()

    show("bare SQL", measure(one, mix, seconds))
    for kind, terms in TERMS.items():
        show(f"  {kind}", measure(one, terms, seconds / 8))


def measure(one: Callable[[str, str], None], mix: list[tuple[str, str]], seconds: float) -> list[float]:
    for kind, term in mix:
        one(kind, term)  # data cached
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for kind, term in mix:
            started = time.perf_counter()
            one(kind, term)
            times.append(1000 * (time.perf_counter() - started))
    return times


def show(name: str, times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    print(f"{name}: {len(times)} in all, p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f} ms")


def against_scans() -> None:
    """The same questions without indexes, as a stock ORM would ask them."""
    from django.db import connection

    questions: dict[str, tuple[tuple[str, str], str, list[str]]] = {
        "exact user name": (("username", "mgatto10"), "upper(username) LIKE upper(%s)", ["%mgatto10%"]),
        "first and last": (
            ("name", "احمد صفيان"),
            "upper(first_name) LIKE upper(%s) AND upper(last_name) LIKE upper(%s)",
            ["%احمد%", "%صفيان%"],
        ),
        "no match": (("username", "qzxqzx"), "upper(username) LIKE upper(%s)", ["%qzxqzx%"]),
    }
    from usermgmt.selectors import directory

    for name, ((kind, term), where, values) in questions.items():
        statement = directory.STATEMENTS[kind](term, 0, 100)
        with connection.cursor() as cursor:
            cursor.execute("SET max_parallel_workers_per_gather = 0")
            ours = best(cursor, statement.sql, statement.params)
            theirs = best(cursor, f"SELECT * FROM core_user WHERE {where} ORDER BY id LIMIT 101", values)
        print(f"{name}: indexed {ours:.2f} ms, scan {theirs:.1f} ms, {theirs / ours:.0f} times less")


def best(cursor: Any, sql: str, params: Any) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        cursor.execute(sql, params)
        cursor.fetchall()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


def plans() -> None:
    """Which index each question uses."""
    import re

    from django.db import connection

    from usermgmt.selectors import directory

    for kind, term in (
        ("username", "jsmith1"),
        ("name", "kowalski"),
        ("name", "صفيان"),
        ("name", "john adams"),
        ("name", "小明 王"),
        ("email", "smith.12"),
    ):
        statement = directory.STATEMENTS[kind](term, 0, 100)
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN " + statement.sql, statement.params)
            text = "\n".join(row[0] for row in cursor.fetchall())
        used = sorted(set(re.findall(r"core_(?:user|email)_\w*(?:trgm|start)", text)))
        scans = " AND A SCAN" if "Seq Scan on core_" in text else ""
        print(f"plan of {kind} {term}: {', '.join(used) or 'no index'}{scans}")


def sizes() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        for table in ("core_user", "core_emailaddress"):
            cursor.execute("SELECT pg_table_size(%s), pg_indexes_size(%s)", [table, table])
            data, indexes = cursor.fetchone() or (1, 0)
            cursor.execute(
                "SELECT sum(pg_relation_size(indexrelid)) FROM pg_index WHERE indrelid = %s::regclass "
                "AND indexrelid::regclass::text ~ '(trgm|start)$'",
                [table],
            )
            (search,) = cursor.fetchone() or (0,)
            print(
                f"{table}: {data / 2**20:.0f} MiB, its search indexes {float(search) / data:.2f} of it, "
                f"all indexes {indexes / data:.2f}"
            )


def authentication() -> None:
    """CPU of checking a pair, apart from SQL."""
    from usermgmt.formats import networks, peppers, secrets

    secret = secrets.new_secret()
    stored, pepper_id = peppers.stored(secret)
    import ipaddress

    cidrs, address = [f"10.0.{n}.0/24" for n in range(20)], ipaddress.ip_address("10.0.19.7")
    started = time.process_time()
    for _ in range(2_000):
        peppers.matches(secret, stored, pepper_id)
        networks.contains(cidrs, address)
    print(f"authentication apart from SQL: {1000 * (time.process_time() - started) / 2_000:.3f} ms of CPU")


if __name__ == "__main__":
    main()
