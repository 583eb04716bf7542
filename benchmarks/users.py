"""Bringing people in, and the directory search under load (contract usermgmt, 9).

`./run bench users [--users N] [--seconds S]` imports N made-up people from CSV beside COPY into the same indexed
tables, then asks a mix of three-character and full terms three ways in turn: as bare SQL, over HTTP with Basic and over
HTTP with a bearer token. In turn, so that whatever else the machine does falls on all three alike. It prints
percentiles and their ratios, CPU per request of each process, executed plans, index and table sizes, and how indexed
searches compare with scans. UM25, UM26 and UM45 of the checklist are decided here, with `--users 1000000`.
"""

from __future__ import annotations

import csv
import pathlib
import statistics
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks import measure
from core import db, demo, process, programs

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
MIX = [term for terms in TERMS.values() for term in terms]
PLANNED = [
    ("username", "jsmith1"),
    ("username", "احمد"),
    ("name", "kowalski"),
    ("name", "صفيان"),
    ("name", "quintanilha"),
    ("name", "john adams"),
    ("name", "احمد صفيان"),
    ("name", "小明 王"),
    ("email", "smith.12"),
    ("email", "احمد@"),
]
Way = Callable[[str, str], None]


def main() -> None:
    options = measure.arguments(__doc__, users=20_000, seconds=20)
    with measure.house(USERMGMT_CLIENT_LIMIT="1000000000") as house:
        bring_in(house, options.users)
        search(house, options.seconds)
        against_scans()
        plans()
        sizes()
        authentication()


# -- bringing people in -----------------------------------------------------------------------------------------------


def bring_in(house: measure.House, count: int) -> None:
    """COPY of finished lines, then the same people from a file; the tables are emptied in between."""
    from usermgmt.services import bulk

    write(house.folder, count)
    with measure.used(postgres=house.postgres_pid) as limit:
        for table, columns in (("core_user", bulk.USER_COLUMNS), ("core_emailaddress", bulk.ADDRESS_COLUMNS)):
            with (house.folder / f"{table}.copy").open("rb") as source:
                db.copy_in(table, columns, source)
        bulk.settle()
    execute("TRUNCATE core_user CASCADE")
    with measure.used(postgres=house.postgres_pid) as ours:
        peak = run_import(house)
    rows = [
        measure.Row("CPU µs per person", 1e6 * ours.cpu_total / count, 1e6 * limit.cpu_total / count, 5, True),
        measure.Row("seconds", ours.wall, limit.wall, 5, True),
        measure.Row("peak MiB", peak, target=200, less_is_better=True),
    ]
    measure.report(f"Import of {count:,} people against COPY into the same tables", rows, ours=ours, limit=limit)


def write(folder: pathlib.Path, count: int) -> None:
    """The crowd as lines for COPY and as a CSV file."""
    from usermgmt.services import crowd

    def people() -> Iterator[crowd.Invented]:
        return ((number + 1, number, *crowd.invent(number)) for number in range(count))

    for name, rows in (
        ("core_user", crowd.user_rows(people())),
        ("core_emailaddress", crowd.address_rows(people())),
    ):
        with (folder / f"{name}.copy").open("wb") as sink:
            sink.writelines(map(db.copy_line, rows))
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["username", "firstname", "lastname", "email", "institution", "position"])
        for row in crowd.user_rows(people()):
            writer.writerow([*row[2:6], row[6] or "", row[7] or ""])


def run_import(house: measure.House) -> float:
    """`import_users` in a process of its own; its peak memory in MiB."""
    argv = programs.manage("import_users", str(house.folder / "people.csv"))
    child = subprocess.Popen(argv, env=house.env, stdout=subprocess.DEVNULL)
    peak = 0.0
    while child.poll() is None:
        peak = max(peak, measure.peak_of(child.pid))
        time.sleep(0.05)
    if child.returncode:
        raise process.Failed(f"import_users ended with {child.returncode}")
    return peak


# -- the search -------------------------------------------------------------------------------------------------------


def search(house: measure.House, seconds: int) -> None:
    """Every term three ways in turn, for the times; then each way alone, for the CPU."""
    from usermgmt.services import seed

    seed.run()
    pair = program()
    base_url, web = house.web(threads=4)
    demo.wait_for(lambda: demo.call("GET", f"{base_url}/livez").status == 200, what=base_url)
    ways = {
        "bare SQL": bare(),
        "Basic": over_http(base_url, basic(pair)),
        "bearer": over_http(base_url, {"Authorization": f"Bearer {bearer(base_url, pair)}"}),
    }
    times = in_turn(ways, seconds)
    show_times(times)
    valkey = house.stack.valkey.child if house.stack.valkey else None
    runs = {}
    for name, way in ways.items():
        asked = 0
        with measure.used(web=web, postgres=house.postgres_pid, valkey=valkey.pid if valkey else 0) as run:
            end = time.monotonic() + seconds / 4
            while time.monotonic() < end:
                for kind, term in MIX:
                    way(kind, term)
                asked += len(MIX)
        runs[name] = (run, asked)
    print("\nCPU ms per request")
    for name, (run, asked) in runs.items():
        each = ", ".join(f"{who} {1000 * cpu / asked:.2f}" for who, cpu in run.cpu.items())
        print(f"  {name}: {each}; {1000 * run.wall / asked:.1f} ms of time")


def in_turn(ways: dict[str, Way], seconds: int) -> dict[str, dict[tuple[str, str], list[float]]]:
    """Milliseconds by way and term."""
    times: dict[str, dict[tuple[str, str], list[float]]] = {name: {term: [] for term in MIX} for name in ways}
    for way in ways.values():
        for kind, term in MIX:
            way(kind, term)  # data cached, statements planned
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for asked in MIX:
            for name, way in ways.items():
                started = time.perf_counter()
                way(*asked)
                times[name][asked].append(1000 * (time.perf_counter() - started))
    return times


def show_times(times: dict[str, dict[tuple[str, str], list[float]]]) -> None:
    count = len(times["bare SQL"][MIX[0]])
    print(f"\nms per search, each of {len(MIX)} terms {count} times in turn: p50 / p95 / p99")
    for group, terms in {"all": MIX, **TERMS}.items():
        cuts = {name: percentiles([one for term in terms for one in found[term]]) for name, found in times.items()}
        print(
            f"  {group}: "
            + "; ".join(f"{name} {p50:.1f} / {p95:.1f} / {p99:.1f}" for name, (p50, p95, p99) in cuts.items())
        )
        if group == "all":
            limit = cuts["bare SQL"][2]
            rows = [measure.Row(f"p99 ms with {name}", cuts[name][2], limit, 3, True) for name in ("Basic", "bearer")]
    measure.report("Search over HTTP against bare SQL (UM26)", rows)


def percentiles(times: list[float]) -> tuple[float, float, float]:
    cuts = statistics.quantiles(times, n=100) if len(times) > 1 else times * 99
    return cuts[49], cuts[94], cuts[98]


def bare() -> Way:
    from django.conf import settings
    from django.db import connections

    from usermgmt.selectors import directory

    cursor = connections[settings.USERMGMT_SEARCH_DATABASE].cursor()

    def one(kind: str, term: str) -> None:
        statement = directory.STATEMENTS[kind](term, 0, 100)
        cursor.execute(statement.sql, statement.params)
        cursor.fetchall()

    return one


def over_http(base_url: str, headers: dict[str, str]) -> Way:
    import requests

    session = requests.Session()
    session.trust_env = False
    session.headers.update(headers)

    def one(kind: str, term: str) -> None:
        answer = session.get(f"{base_url}/api/v1/users/{kind}/{urllib.parse.quote(term)}", timeout=30)
        if answer.status_code not in (200, 404):
            raise process.Failed(f"{kind}/{term}: {answer.status_code} {answer.text[:100]}")

    return one


def program() -> tuple[str, str]:
    """Key and secret of the demo's approved client; the secret is made anew."""
    from usermgmt.jobs import pairs
    from usermgmt.models import ClientCredential

    credential = ClientCredential.objects.filter(revoked_at=None, client__state="approved").latest("id")
    return credential.key, pairs.arm(credential)


def basic(pair: tuple[str, str]) -> dict[str, str]:
    import base64

    return {"Authorization": "Basic " + base64.b64encode(":".join(pair).encode()).decode()}


def bearer(base_url: str, pair: tuple[str, str]) -> str:
    headers = {**basic(pair), "Content-Type": "application/x-www-form-urlencoded"}
    answer = demo.call("POST", f"{base_url}/oauth2/token", headers=headers, body=b"grant_type=client_credentials")
    return str(answer.json()["access_token"])


# -- what the server does ---------------------------------------------------------------------------------------------


def execute(sql: str, params: Any = None) -> list[tuple[Any, ...]]:
    """Rows of a statement on the search connection."""
    from django.conf import settings
    from django.db import connections

    with connections[settings.USERMGMT_SEARCH_DATABASE].cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


def against_scans() -> None:
    """The same questions without indexes, as a stock ORM would ask them: CPU of the server by EXPLAIN, one process."""
    from usermgmt.selectors import directory

    questions: dict[str, tuple[tuple[str, str], str, list[str], int]] = {
        "exact user name": (("username", "mgatto10"), "upper(username) LIKE upper(%s)", ["%mgatto10%"], 50),
        "first and last": (
            ("name", "احمد صفيان"),
            "upper(first_name) LIKE upper(%s) AND upper(last_name) LIKE upper(%s)",
            ["%احمد%", "%صفيان%"],
            50,
        ),
        "no match": (("username", "qzxqzx"), "upper(username) LIKE upper(%s)", ["%qzxqzx%"], 100),
    }
    rows = []
    for name, ((kind, term), where, values, target) in questions.items():
        statement = directory.STATEMENTS[kind](term, 0, 100)
        ours = best(statement.sql, statement.params)
        theirs = best(f"SELECT * FROM core_user WHERE {where} ORDER BY id", values)
        rows.append(measure.Row(f"{name}: scan against index, ms", theirs, ours, target))
    measure.report("Searches without indexes", rows)


def best(sql: str, params: Any) -> float:
    """The shortest of five runs, ms; on one core, as parallel scans are off on this connection."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        execute(sql, params)
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


def plans() -> None:
    """What each question really ran (UM25): the indexes of the search, and whatever read a table in another way."""
    from usermgmt.selectors import directory

    print("\nPlans as run")
    for kind, term in PLANNED:
        statement = directory.STATEMENTS[kind](term, 0, 100)
        ((document,),) = execute("EXPLAIN (ANALYZE, FORMAT json) " + statement.sql, statement.params)
        how = sorted({how for node in nodes(document[0]["Plan"]) if (how := access(node))})
        took = document[0]["Planning Time"], document[0]["Execution Time"]
        print(f"  {kind} {term}: {', '.join(how)}; planned in {took[0]:.1f} ms, run in {took[1]:.1f} ms")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan's nodes that were run."""
    if plan["Actual Loops"]:
        yield plan
        for child in plan.get("Plans", []):
            yield from nodes(child)


def access(node: dict[str, Any]) -> str:
    """How a node reads a table, empty for one that reads none or looks rows up by id."""
    if node["Node Type"] == "Seq Scan":
        return f"A SCAN of {node['Relation Name']}"
    index = node.get("Index Name", "")
    if index.endswith(("trgm", "start")):
        return str(index)
    return f"A WALK of {index}" if index and "Index Cond" not in node else ""


def sizes() -> None:
    print("\nSizes")
    for table in ("core_user", "core_emailaddress"):
        ((data, indexes),) = execute("SELECT pg_table_size(%s), pg_indexes_size(%s)", [table, table])
        ((own,),) = execute(
            "SELECT sum(pg_relation_size(indexrelid)) FROM pg_index WHERE indrelid = %s::regclass "
            "AND indexrelid::regclass::text ~ '(trgm|start)$'",
            [table],
        )
        print(
            f"  {table}: {data / 2**20:.0f} MiB, its search indexes {float(own) / data:.2f} of it (target 1.5), "
            f"all indexes {indexes / data:.2f}"
        )


def authentication() -> None:
    """CPU of checking a pair, apart from SQL."""
    import ipaddress

    from usermgmt.formats import networks, peppers, secrets

    secret = secrets.new_secret()
    stored, pepper_id = peppers.stored(secret)
    cidrs, address = [f"10.0.{n}.0/24" for n in range(20)], ipaddress.ip_address("10.0.19.7")
    started = time.process_time()
    for _ in range(2_000):
        peppers.matches(secret, stored, pepper_id)
        networks.contains(cidrs, address)
    each = 1000 * (time.process_time() - started) / 2_000
    measure.report("Checking a pair", [measure.Row("ms of CPU", each, target=0.1, less_is_better=True)])


if __name__ == "__main__":
    main()
