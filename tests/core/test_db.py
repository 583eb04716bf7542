"""core.db against the real PostgreSQL: COPY both ways, snapshots, locks, time limits."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import select
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import db, streams
from core.models import Job
from tests import house, together

pytestmark = pytest.mark.django_db

text = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=60)
values = st.tuples(
    st.none() | st.integers(-(2**31), 2**31 - 1), st.none() | text, st.none() | st.binary(max_size=60), st.booleans()
)
with_database = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def execute(sql: str, *params: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else []


class Blocks:
    """Keeps each block as it came."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.blocks.append(data)


class Broken:
    """A sink that takes one block."""

    def __init__(self) -> None:
        self.taken = 0

    def write(self, data: bytes) -> None:
        if self.taken:
            raise RuntimeError("full")
        self.taken += 1


# --- COPY out -------------------------------------------------------------------------------------------------


def test_copy_out_binds_parameters_and_takes_options() -> None:
    sink = io.BytesIO()
    tricky = "100% 'quoted' \\ {json}"
    rows = db.copy_out("SELECT n, %s FROM generate_series(1, %s) n", [tricky, 2], sink, options="FORMAT csv, HEADER")
    assert rows == 2
    assert sink.getvalue().decode() == f"n,?column?\n1,{tricky}\n2,{tricky}\n"
    named = io.BytesIO()
    assert db.copy_out("SELECT %(a)s WHERE '%%' = '%%'", {"a": "x"}, named) == 1
    assert named.getvalue() == b"x\n"


def test_copy_out_without_parameters_leaves_percent_signs_alone() -> None:
    sink = io.BytesIO()
    db.copy_out("SELECT '50%'", None, sink)
    assert sink.getvalue() == b"50%\n"


@with_database
@given(lines=st.lists(st.none() | st.binary(max_size=2000), max_size=40), block=st.integers(1, 5000))
def test_binary_rows_arrive_exactly_as_stored(lines: list[bytes | None], block: int) -> None:
    sink = Blocks()
    sql = "SELECT line FROM unnest(%s::bytea[]) WITH ORDINALITY AS t (line, n) ORDER BY n"
    assert db.copy_out_binary(sql, [lines], sink, block=block) == len(lines)
    assert b"".join(sink.blocks) == b"".join(line or b"" for line in lines)
    assert all(len(each) >= block for each in sink.blocks[:-1])


@with_database
@given(rows=st.lists(st.tuples(*[st.none() | st.binary(max_size=900)] * 3), max_size=30), block=st.integers(1, 2000))
def test_columns_go_to_their_own_sinks(rows: list[tuple[bytes | None, ...]], block: int) -> None:
    sinks = [Blocks(), Blocks(), Blocks()]
    told: list[int] = []
    columns = [[row[n] for row in rows] for n in range(3)]
    sql = (
        "SELECT a, b, c FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) WITH ORDINALITY AS t (a, b, c, n) ORDER BY n"
    )
    assert db.copy_out_columns(sql, columns, sinks, block=block, note=told.append) == len(rows)
    assert sum(told) == len(rows)
    assert [b"".join(sink.blocks) for sink in sinks] == [b"".join(v or b"" for v in column) for column in columns]


@pytest.mark.parametrize("columns", ["'a'", "1, 2, 3"])
def test_columns_without_a_sink_are_refused(columns: str) -> None:
    with pytest.raises(ValueError, match="exactly 2 columns"):
        db.copy_out_columns(f"SELECT {columns}", None, [io.BytesIO(), io.BytesIO()])


def test_binary_text_is_utf8_and_blocks_are_large() -> None:
    sink = Blocks()
    sql = "SELECT repeat('é\\,\t', 200) || E'\\r\\n' FROM generate_series(1, 3000)"
    assert db.copy_out_binary(sql, None, sink) == 3000
    assert b"".join(sink.blocks) == ("é\\,\t" * 200 + "\r\n").encode() * 3000
    assert min(map(len, sink.blocks[:-1])) >= streams.BLOCK


@pytest.mark.parametrize("columns", ["'a', 'b'", "1, 2, 3"])
def test_binary_copy_refuses_several_columns(columns: str) -> None:
    with pytest.raises(ValueError, match="exactly one column"):
        db.copy_out_binary(f"SELECT {columns}", None, io.BytesIO())
    assert execute("SELECT 1") == [(1,)]


def test_binary_copy_of_nothing() -> None:
    sink = Blocks()
    assert db.copy_out_binary("SELECT 'a' WHERE false", None, sink) == 0
    assert sink.blocks == []


@pytest.mark.parametrize("copy", [db.copy_out, db.copy_out_binary])
def test_an_error_of_the_sink_comes_out_and_the_connection_stays_usable(copy: Callable[..., object]) -> None:
    with pytest.raises(RuntimeError, match="full"):
        copy("SELECT repeat('x', 1000) FROM generate_series(1, 100000)", None, Broken())
    assert execute("SELECT 1") == [(1,)]


def test_errors_of_the_server_are_djangos() -> None:
    with pytest.raises(Error, match="division by zero"), transaction.atomic():
        db.copy_out("SELECT 1 / (3 - n) FROM generate_series(1, 5) n", None, io.BytesIO())


# --- COPY in --------------------------------------------------------------------------------------------------


@with_database
@given(rows=st.lists(values, max_size=30))
def test_rows_survive_the_way_in_and_out(rows: list[tuple[object, ...]]) -> None:
    execute("CREATE TEMPORARY TABLE IF NOT EXISTS way_in (a integer, b text, c bytea, d boolean, n serial)")
    execute("TRUNCATE way_in")
    assert db.copy_rows("way_in", ["a", "b", "c", "d"], rows) == len(rows)
    stored = execute("SELECT a, b, c, d FROM way_in ORDER BY n")
    assert [(a, b, None if c is None else bytes(c), d) for a, b, c, d in stored] == rows


@with_database
@given(cuts=st.lists(st.integers(0, 400), max_size=10))
def test_copy_in_takes_blocks_cut_anywhere_and_files(cuts: list[int]) -> None:
    execute("CREATE TEMPORARY TABLE IF NOT EXISTS cut (a integer, b text)")
    execute("TRUNCATE cut")
    data = b"".join(db.copy_line((number, "é" * number)) for number in range(20))
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    blocks = [data[start:end] for start, end in itertools.pairwise(bounds)]
    assert db.copy_in("cut", ["a", "b"], blocks) == 20
    assert db.copy_in("cut", ["a", "b"], io.BytesIO(data)) == 20
    assert execute("SELECT count(*), sum(a), sum(length(b)) FROM cut") == [(40, 380, 380)]


def test_copy_in_names_are_quoted_and_schemas_allowed() -> None:
    execute('CREATE TEMPORARY TABLE "odd ""name" ("Select" integer, "b;c" text)')
    assert db.copy_rows('odd "name', ["Select", "b;c"], [(1, "x")]) == 1
    assert db.copy_in('pg_temp.odd "name', ["Select", "b;c"], [b"7;y\n"], options="FORMAT csv, DELIMITER ';'") == 1
    assert execute('SELECT * FROM "odd ""name" ORDER BY 1') == [(1, "x"), (7, "y")]


def test_copy_in_of_more_than_a_buffer() -> None:
    execute("CREATE TEMPORARY TABLE large (a text)")
    line = db.copy_line(("x" * 700_000,))

    def blocks() -> Iterator[bytes]:
        for _ in range(5):
            yield line
            yield b""

    assert db.copy_in("large", ["a"], blocks()) == 5
    assert execute("SELECT sum(length(a)) FROM large") == [(3_500_000,)]


def test_nul_is_refused_before_it_reaches_the_server() -> None:
    with pytest.raises(ValueError, match="NUL"):
        db.copy_line(("a\0b",))


# --- snapshots ------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(transactional_db: None) -> Iterator[None]:
    execute("CREATE TABLE core_test_counted (n integer)")
    execute("INSERT INTO core_test_counted SELECT generate_series(1, 5000)")
    yield
    execute("DROP TABLE core_test_counted")


def test_a_snapshot_sees_one_moment_and_writes_nothing(counted: None) -> None:
    sink = io.BytesIO()
    with db.snapshot() as frozen:
        execute("DELETE FROM core_test_counted WHERE n > 10")
        assert frozen.rows("SELECT count(*) FROM core_test_counted WHERE n > %s", [0]) == [(5000,)]
        assert [n for (n,) in frozen.stream("SELECT n FROM core_test_counted ORDER BY n", size=700)] == list(
            range(1, 5001)
        )
        assert db.copy_out("SELECT n FROM core_test_counted", None, sink, using=frozen.connection) == 5000
        with db.snapshot(like=frozen.id) as same, db.snapshot() as later:
            assert same.rows("SELECT count(*) FROM core_test_counted") == [(5000,)]
            assert later.rows("SELECT count(*) FROM core_test_counted") == [(10,)]
        with pytest.raises(Error, match="read-only"):
            frozen.rows("DELETE FROM core_test_counted RETURNING n")


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_gives_instances_as_it_sees_them() -> None:
    made = Job.objects.create(kind="test.seen", params={"b": [1, None], "a": "é"})
    with db.snapshot() as frozen:
        Job.objects.filter(pk=made.pk).update(kind="test.later", params={})
        wanted = Job.objects.filter(pk=made.pk)
        (seen,) = frozen.instances(wanted)
        assert (seen.pk, seen.kind, seen.params) == (made.pk, "test.seen", {"b": [1, None], "a": "é"})
        assert wanted.get().kind == "test.later"
        assert frozen.instances(Job.objects.filter(kind="test.later")) == []


def test_a_snapshot_may_be_read_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    short = "-c statement_timeout=9000 -c idle_in_transaction_session_timeout=9000"
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "options", short)
    with db.snapshot() as frozen:
        limits = "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
        assert frozen.rows(limits) == [("0", "0")]


def test_a_stream_left_early_can_be_followed_by_another(counted: None) -> None:
    with db.snapshot() as frozen:
        first = frozen.stream("SELECT n FROM core_test_counted ORDER BY n", size=10)
        assert next(first) == (1,)
        first.close()  # type: ignore[attr-defined]
        assert sum(1 for _ in frozen.stream("SELECT n FROM core_test_counted")) == 5000


def test_a_snapshot_closes_its_connection_whatever_happens(counted: None) -> None:
    with pytest.raises(RuntimeError), db.snapshot() as frozen:  # noqa: PT012 - the exit is the point
        pid = frozen.connection.connection.info.backend_pid
        frozen.connection.cursor().execute("SELECT 1")
        db.copy_out("SELECT repeat('x', 1000) FROM generate_series(1, 100000)", None, Broken(), using=frozen.connection)
    assert frozen.connection.connection is None
    assert _ends(pid)


def _ends(pid: int) -> bool:
    """True once the server has ended that session; the wait is bounded by the test's own time limit."""
    wait = threading.Event()
    while execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid):
        wait.wait(0.02)
    return True


# --- locks and limits -----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_advisory_lock_excludes_others_until_the_transaction_ends() -> None:
    other = connections["default"].copy()
    try:
        with transaction.atomic():
            db.advisory_lock("registry.harvest.1")
            assert db.try_advisory_lock("registry.harvest.1")
            other.ensure_connection()
            assert not _tries(other, "registry.harvest.1")
            assert _tries(other, "registry.harvest.2")
        assert _tries(other, "registry.harvest.1")
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_a_session_lock_outlives_transactions() -> None:
    other = connections["default"].copy()
    other.ensure_connection()
    try:
        with transaction.atomic():
            db.session_lock("downloads.ingest")
        assert not _tries(other, "downloads.ingest")
        db.session_unlock("downloads.ingest")
        assert _tries(other, "downloads.ingest")
    finally:
        other.close()


_DEADLOCK = "DO $$BEGIN RAISE EXCEPTION 'met' USING ERRCODE = '40P01'; END$$"


def _in_the_others_way(first: str, second: str, gate: threading.Barrier, tries: list[str]) -> None:
    with transaction.atomic():
        db.advisory_lock(first)
        tries.append(first)
        if len(tries) <= 2:
            gate.wait(30)
        db.advisory_lock(second)


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_met_a_deadlock_is_begun_anew() -> None:
    gate, tries = threading.Barrier(2), list[str]()
    again = db.again_after_deadlock(_in_the_others_way)
    acts = [functools.partial(again, *pair, gate, tries) for pair in (("a", "b"), ("b", "a"))]
    together.at_once(acts)
    assert len(tries) == 3


@pytest.mark.django_db(transaction=True)
def test_a_deadlock_within_a_callers_transaction_is_the_callers() -> None:
    gate, tries, seen = threading.Barrier(2), list[str](), list[str]()
    again = db.again_after_deadlock(_in_the_others_way)

    def act(first: str, second: str) -> None:
        try:
            with transaction.atomic():
                again(first, second, gate, tries)
        except OperationalError as error:
            seen.append(str(error))

    together.at_once([lambda: act("a", "b"), lambda: act("b", "a")])
    assert len(tries) == 2
    assert len(seen) == 1
    assert "deadlock detected" in seen[0]


@pytest.mark.parametrize(("sql", "tries"), [("SELECT pg_cancel_backend(pg_backend_pid())", 1), (_DEADLOCK, 3)])
@pytest.mark.django_db(transaction=True)
def test_deadlocks_are_met_so_often_and_no_other_error_is(sql: str, tries: int) -> None:
    seen = []

    @db.again_after_deadlock
    def act() -> None:
        seen.append(1)
        execute(sql)

    with pytest.raises(OperationalError):
        act()
    assert len(seen) == tries


@pytest.mark.django_db(transaction=True)
def test_several_advisory_locks_are_taken_in_one_order() -> None:
    taken: list[bool] = []

    def take() -> None:
        with transaction.atomic():
            db.advisory_lock("c", "b", "a", "b")
            taken.append(True)

    with transaction.atomic():
        db.advisory_lock("b")
        other = together.in_background(take)
        waiting = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        house.wait_for(lambda: execute(waiting), what="the others' turn")
        assert not db.try_advisory_lock("a")  # it has the first, whatever order they were named in
        assert db.try_advisory_lock("c")
    other.join(30)
    assert taken == [True]


def _tries(other: BaseDatabaseWrapper, key: str) -> bool:
    other.set_autocommit(False)
    other.in_atomic_block = True
    try:
        return db.try_advisory_lock(key, using=other)
    finally:
        other.in_atomic_block = False
        other.rollback()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("lock", [db.advisory_lock, db.try_advisory_lock])
def test_a_lock_outside_a_transaction_is_refused(lock: Callable[..., object]) -> None:
    with pytest.raises(transaction.TransactionManagementError):
        lock("a")


@pytest.mark.django_db(transaction=True)
def test_statement_timeout_ends_a_statement_and_is_gone_afterwards() -> None:
    before = execute("SHOW statement_timeout")
    with pytest.raises(OperationalError) as caught, db.statement_timeout(30):
        execute("SELECT pg_sleep(60)")
    assert getattr(caught.value.__cause__, "pgcode", None) == "57014"
    with db.statement_timeout(77):
        assert execute("SHOW statement_timeout") == [("77ms",)]
    assert execute("SHOW statement_timeout") == before


def test_statement_timeout_is_restored_inside_a_transaction() -> None:
    before = execute("SHOW statement_timeout")
    with db.statement_timeout(1234):
        assert execute("SHOW statement_timeout") == [("1234ms",)]
    assert execute("SHOW statement_timeout") == before


class Killing:
    """A sink that ends the session it is fed by."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def write(self, data: bytes) -> None:
        execute("SELECT pg_terminate_backend(%s)", self.pid)
        _ends(self.pid)


@pytest.mark.parametrize("copy", [db.copy_out, db.copy_out_binary])
def test_a_server_that_goes_away_in_a_copy_is_an_operational_error(copy: Callable[..., int], counted: None) -> None:
    """The kind of error for which the job machinery tries again."""
    with pytest.raises(OperationalError), db.snapshot() as frozen:  # noqa: PT012
        pid = frozen.connection.connection.info.backend_pid
        sql = "SELECT repeat('x', 1000) FROM generate_series(1, 100000)"
        copy(sql, None, Killing(pid), using=frozen.connection)
    assert frozen.connection.connection is None


# --- health of a kept connection -------------------------------------------------------------------------------


@pytest.fixture
def kept() -> Iterator[BaseDatabaseWrapper]:
    """A connection as a web process keeps it from one request to the next."""
    own = connections["default"].copy()
    own.settings_dict = {**own.settings_dict, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    yield own
    own.close()


def ask(own: BaseDatabaseWrapper) -> int:
    """One request with one statement; the process id of the server's side."""
    own.close_if_unusable_or_obsolete()
    with own.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone() or (0,)
    return int(pid)


def test_a_kept_connection_is_not_asked_whether_it_lives(kept: BaseDatabaseWrapper) -> None:
    pid = ask(kept)
    kept.close_if_unusable_or_obsolete()
    kept.close_if_health_check_failed()
    assert kept.health_check_done  # type: ignore[attr-defined]  # unknown to the stubs
    assert execute("SELECT query FROM pg_stat_activity WHERE pid = %s", pid) == [("SELECT pg_backend_pid()",)]
    assert ask(kept) == pid


def test_a_prepared_statement_is_planned_once_a_connection(kept: BaseDatabaseWrapper) -> None:
    sql = "SELECT $1 || upper($2)"
    assert db.prepared(sql, ["a", "b'"], using=kept) == [("aB'",)]
    assert db.prepared(sql, ["%", None], using=kept) == [(None,)]
    assert db.prepared("SELECT pg_backend_pid()", [], using=kept) == [(ask(kept),)]
    count = "SELECT count(*) FROM pg_prepared_statements"
    assert db.prepared(count, [], using=kept) == [(3,)]
    assert db.prepared(count, [], using=kept) == [(3,)]
    execute("SELECT pg_terminate_backend(%s, 5000)", ask(kept))
    kept.close_if_unusable_or_obsolete()
    assert db.prepared(sql, ["a", "b"], using=kept) == [("aB",)]
    assert db.prepared(count, [], using=kept) == [(2,)]


def test_a_prepared_statement_outlives_a_rollback(kept: BaseDatabaseWrapper) -> None:
    with pytest.raises(Error):
        db.prepared("SELECT 1 / $1::int", [0], using=kept)
    assert db.prepared("SELECT 1 / $1::int", [1], using=kept) == [(1,)]
    kept.set_autocommit(False)
    db.prepared("SELECT $1", ["x"], using=kept)
    kept.rollback()
    assert db.prepared("SELECT $1", ["y"], using=kept) == [("y",)]


def test_a_kept_connection_the_server_ended_is_replaced(kept: BaseDatabaseWrapper) -> None:
    pid = ask(kept)
    execute("SELECT pg_terminate_backend(%s, 5000)", pid)
    assert ask(kept) not in (pid, 0)


def test_a_kept_connection_with_news_is_asked(kept: BaseDatabaseWrapper) -> None:
    """Something to read that is no farewell: the server is asked, and the connection stays."""
    pid = ask(kept)
    with kept.cursor() as cursor:
        cursor.execute("LISTEN news")
    other = connections["default"].copy()
    with contextlib.closing(other), other.cursor() as cursor:
        cursor.execute("NOTIFY news")
    kept.close_if_unusable_or_obsolete()
    house.wait_for(lambda: select.select([kept.connection], [], [], 0)[0], what="the news to arrive")
    kept.close_if_health_check_failed()
    assert execute("SELECT query FROM pg_stat_activity WHERE pid = %s", pid) == [("SELECT 1",)]
    assert ask(kept) == pid


def test_a_kept_connection_closed_here_is_replaced(kept: BaseDatabaseWrapper) -> None:
    ask(kept)
    assert kept.connection is not None
    kept.connection.close()
    assert ask(kept) > 0
