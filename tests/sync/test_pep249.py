"""PEP 249: what it asks of a module, of connections and of cursors, paragraph by paragraph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import anyq
from tests.support.server import Server
from tests.support.two_phase import leave_none, need_two_phase


@pytest.fixture
def cur(conn: anyq.Connection) -> Iterator[anyq.Cursor[Any]]:
    with conn.cursor() as cursor:
        yield cursor


@pytest.fixture
def booze(cur: anyq.Cursor[Any]) -> anyq.Cursor[Any]:
    """A cursor and a table with six names."""
    cur.execute("CREATE TEMP TABLE booze (name varchar(20))")
    cur.executemany("INSERT INTO booze VALUES (%s)", [(name,) for name in NAMES])
    return cur


NAMES = ["Carlton Cold", "Carlton Draft", "Mountain Goat", "Redback", "Victoria Bitter", "XXXX"]
ALL_NAMES = "SELECT name FROM booze ORDER BY name"

# -- Module Interface


def test_globals() -> None:
    assert anyq.apilevel == "2.0"
    assert anyq.threadsafety == 2
    assert anyq.paramstyle == "pyformat"


def test_connect_makes_a_connection(conn: anyq.Connection) -> None:
    assert isinstance(conn, anyq.Connection)


def test_the_tree_of_exceptions() -> None:
    assert issubclass(anyq.Warning, Exception)
    assert issubclass(anyq.Error, Exception)
    assert not issubclass(anyq.Warning, anyq.Error)
    for cls in (anyq.InterfaceError, anyq.DatabaseError):
        assert issubclass(cls, anyq.Error)
    for cls in (
        anyq.DataError,
        anyq.OperationalError,
        anyq.IntegrityError,
        anyq.InternalError,
        anyq.ProgrammingError,
        anyq.NotSupportedError,
    ):
        assert issubclass(cls, anyq.DatabaseError)


def test_exceptions_are_attributes_of_connections(conn: anyq.Connection) -> None:
    for name in (
        *("Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError"),
        *("IntegrityError", "InternalError", "ProgrammingError", "NotSupportedError"),
    ):
        assert getattr(conn, name) is getattr(anyq, name) is getattr(conn.async_connection, name)


def test_errors_have_the_right_class(conn: anyq.Connection) -> None:
    conn.autocommit = True
    cur = conn.cursor()
    cur.execute("CREATE TEMP TABLE t (i int PRIMARY KEY)")
    cur.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(conn.IntegrityError):
        cur.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(conn.ProgrammingError):
        cur.execute("SELEC 1")
    with pytest.raises(conn.ProgrammingError):
        cur.execute("SELECT %s", ())
    with pytest.raises(conn.DataError):
        cur.execute("SELECT 1/0")


# -- Connection Objects


def test_commit(conn: anyq.Connection) -> None:
    conn.commit()
    conn.execute("CREATE TEMP TABLE t ()")
    conn.commit()
    conn.rollback()
    conn.execute("SELECT * FROM t")


def test_rollback(conn: anyq.Connection) -> None:
    conn.rollback()
    conn.execute("CREATE TEMP TABLE t ()")
    conn.rollback()
    with pytest.raises(conn.ProgrammingError):
        conn.execute("SELECT * FROM t")


def test_closing_without_commit_rolls_back(portal_backend: object, observer: anyq.Connection, dsn: str) -> None:
    conn = anyq.connect(dsn)
    conn.execute("CREATE TABLE anyq_dbapi20_closed ()")
    conn.close()
    assert observer.execute("SELECT to_regclass('anyq_dbapi20_closed')").fetchone() == (None,)


def test_a_closed_connection_is_unusable(portal_backend: object, dsn: str) -> None:
    conn = anyq.connect(dsn)
    cur = conn.cursor()
    conn.close()
    for use in (conn.commit, conn.rollback, conn.cursor, lambda: cur.execute("SELECT 1"), cur.fetchall):
        with pytest.raises(anyq.Error):
            use()


def test_cursors_of_one_connection_are_not_isolated(conn: anyq.Connection) -> None:
    one, two = conn.cursor(), conn.cursor()
    one.execute("CREATE TEMP TABLE t (i int)")
    one.execute("INSERT INTO t VALUES (1)")
    two.execute("SELECT i FROM t")
    assert two.fetchall() == [(1,)]


def test_cursors_know_their_connection(conn: anyq.Connection) -> None:
    assert conn.cursor().connection is conn


# -- Cursor Objects


def test_description(cur: anyq.Cursor[Any]) -> None:
    assert cur.description is None
    cur.execute("CREATE TEMP TABLE t (name varchar(20), n numeric(6, 2))")
    assert cur.description is None
    cur.execute("SELECT name, n FROM t")
    columns: Any = cur.description
    for column, name, kind in zip(columns, ("name", "n"), (anyq.STRING, anyq.NUMBER), strict=True):
        assert len(column) == 7
        column_name, type_code, _, _, precision, scale, _ = column
        assert column_name == column[0] == name
        assert type_code == kind and kind == type_code
        assert type_code != anyq.BINARY
        if kind is anyq.NUMBER:
            assert (precision, scale) == (6, 2)


def test_rowcount(cur: anyq.Cursor[Any]) -> None:
    assert cur.rowcount == -1
    cur.execute("CREATE TEMP TABLE t (i int)")
    assert cur.rowcount == -1
    cur.execute("INSERT INTO t VALUES (1), (2)")
    assert cur.rowcount == 2
    cur.execute("SELECT i FROM t")
    assert cur.rowcount == 2
    cur.executemany("INSERT INTO t VALUES (%s)", [(3,), (4,), (5,)])
    assert cur.rowcount == 3
    cur.execute("DELETE FROM t WHERE false")
    assert cur.rowcount == 0


def test_close(conn: anyq.Connection) -> None:
    cur = conn.cursor()
    cur.execute("SELECT 1")
    cur.close()
    for use in (lambda: cur.execute("SELECT 1"), cur.fetchone, cur.fetchmany, cur.fetchall):
        with pytest.raises(anyq.Error):
            use()
    cur.close()
    assert conn.execute("SELECT 1").fetchone() == (1,)


def test_execute_with_parameters(booze: anyq.Cursor[Any]) -> None:
    booze.execute("INSERT INTO booze VALUES (%s)", ("Cooper's",))
    booze.execute("INSERT INTO booze VALUES (%(beer)s)", {"beer": "100%"})
    booze.execute("SELECT name FROM booze WHERE name IN (%s, %s) ORDER BY name", ["Cooper's", "100%"])
    assert booze.fetchall() == [("100%",), ("Cooper's",)]


def test_executemany(booze: anyq.Cursor[Any]) -> None:
    booze.executemany("INSERT INTO booze VALUES (%(beer)s)", ({"beer": beer} for beer in ("Boag's", "Tooheys")))
    assert booze.rowcount == 2
    booze.execute("SELECT count(*) FROM booze")
    assert booze.fetchone() == (8,)


def test_fetching_needs_a_result(conn: anyq.Connection) -> None:
    for statement in (None, "CREATE TEMP TABLE t (i int)", "INSERT INTO t VALUES (1)"):
        cur = conn.cursor()
        if statement:
            cur.execute(statement.encode())
        for fetch in (cur.fetchone, cur.fetchmany, cur.fetchall):
            with pytest.raises(anyq.Error):
                fetch()


def test_fetchone(booze: anyq.Cursor[Any]) -> None:
    booze.execute("SELECT name FROM booze WHERE false")
    assert booze.fetchone() is None
    assert booze.rowcount == 0
    booze.execute("SELECT name FROM booze WHERE name = 'XXXX'")
    assert booze.fetchone() == ("XXXX",)
    assert booze.fetchone() is None


def test_fetchmany(booze: anyq.Cursor[Any]) -> None:
    booze.execute(ALL_NAMES)
    assert len(booze.fetchmany()) == booze.arraysize == 1
    booze.arraysize = 3
    assert len(booze.fetchmany()) == 3
    assert len(booze.fetchmany(1)) == 1
    assert [name for (name,) in booze.fetchmany(10)] == NAMES[-1:]
    assert booze.fetchmany() == []


def test_fetchall(booze: anyq.Cursor[Any]) -> None:
    booze.execute(ALL_NAMES)
    assert booze.fetchone() == (NAMES[0],)
    assert booze.fetchall() == [(name,) for name in NAMES[1:]]
    assert booze.fetchall() == []


def test_rows_are_sequences(booze: anyq.Cursor[Any]) -> None:
    booze.execute(ALL_NAMES)
    row = booze.fetchone()
    assert row is not None
    (name,) = row
    assert row[0] == name and len(row) == 1


def test_nextset(cur: anyq.Cursor[Any]) -> None:
    cur.execute("SELECT 1; SELECT 2")
    assert cur.fetchall() == [(1,)]
    assert cur.nextset() is True
    assert cur.fetchall() == [(2,)]
    assert cur.nextset() is None


def test_sizes_are_taken_and_do_nothing(cur: anyq.Cursor[Any]) -> None:
    cur.setinputsizes((25,))
    cur.setoutputsize(1000)
    cur.setoutputsize(2000, 0)
    cur.execute("SELECT %s", ("x" * 5000,))
    assert cur.fetchone() == ("x" * 5000,)


# -- Optional Extensions


def test_rownumber_and_scroll(booze: anyq.Cursor[Any]) -> None:
    booze.execute(ALL_NAMES)
    assert booze.rownumber == 0
    booze.fetchmany(2)
    assert booze.rownumber == 2
    booze.scroll(-1)
    assert booze.fetchone() == (NAMES[1],)
    booze.scroll(5, mode="absolute")
    assert booze.fetchone() == (NAMES[5],)
    with pytest.raises(IndexError):
        booze.scroll(1)


def test_iteration(booze: anyq.Cursor[Any]) -> None:
    booze.execute(ALL_NAMES)
    assert next(booze) == (NAMES[0],)
    assert [name for (name,) in booze] == NAMES[1:]


def test_autocommit(conn: anyq.Connection) -> None:
    assert conn.autocommit is False
    conn.autocommit = True
    conn.execute("CREATE TEMP TABLE t ()")
    conn.rollback()
    conn.execute("SELECT * FROM t")


# -- Optional Two-Phase Commit Extensions


@pytest.fixture
def tpc(conn: anyq.Connection, server: Server) -> Iterator[anyq.Connection]:
    need_two_phase(server)
    yield conn
    leave_none(server.dsn)


def test_xids_are_tuples(tpc: anyq.Connection) -> None:
    xid = tpc.xid(42, "global", "bqual")
    assert tuple(xid) == (42, "global", "bqual")
    assert xid[0] == 42 and xid[1] == "global" and xid[2] == "bqual"


def test_a_transaction_in_one_phase(tpc: anyq.Connection) -> None:
    for end in (tpc.tpc_commit, tpc.tpc_rollback):
        tpc.tpc_begin(tpc.xid(1, "pep", "249"))
        tpc.execute("SELECT 1")
        end()


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("end", ["tpc_commit", "tpc_rollback"])
def test_a_transaction_in_two_phases(end: str, given: bool, tpc: anyq.Connection, dsn: str) -> None:
    xid = tpc.xid(1, "pep", "249")
    tpc.tpc_begin(xid)
    tpc.execute("SELECT 1")
    tpc.tpc_prepare()
    with pytest.raises(tpc.ProgrammingError):
        tpc.execute("SELECT 1")
    assert xid in tpc.tpc_recover()
    if given:
        # For recovery, outside of a transaction.
        tpc.close()
        with anyq.connect(dsn) as other:
            getattr(other, end)(xid)
            assert xid not in other.tpc_recover()
    else:
        getattr(tpc, end)()
        assert xid not in tpc.tpc_recover()


def test_commit_and_rollback_are_errors_in_two_phase_transactions(tpc: anyq.Connection) -> None:
    tpc.tpc_begin(tpc.xid(1, "pep", "249"))
    for end in (tpc.commit, tpc.rollback):
        with pytest.raises(tpc.ProgrammingError):
            end()
    tpc.tpc_rollback()


def test_two_phase_transactions_begin_outside_of_transactions(tpc: anyq.Connection) -> None:
    xid = tpc.xid(1, "pep", "249")
    tpc.execute("SELECT 1")
    for call in (tpc.tpc_begin, tpc.tpc_commit, tpc.tpc_rollback):
        with pytest.raises(tpc.ProgrammingError):
            call(xid)
    tpc.rollback()
    with pytest.raises(tpc.ProgrammingError):
        tpc.tpc_commit(xid)


# -- Type Objects and Constructors


def test_null_is_none(cur: anyq.Cursor[Any]) -> None:
    cur.execute("SELECT NULL, %s::text", (None,))
    assert cur.fetchone() == (None, None)


def test_constructors_and_type_objects(cur: anyq.Cursor[Any]) -> None:
    values = [
        anyq.Date(2002, 12, 25),
        anyq.Time(13, 45, 30),
        anyq.Timestamp(2002, 12, 25, 13, 45, 30),
        anyq.Binary(b"something\0"),
    ]
    cur.execute(
        "SELECT %s::date, %s::time, %s::timestamp, %s::bytea, 'x'::text, 1.5::float8, 1::oid, '1 day'::interval", values
    )
    row = cur.fetchone()
    assert row is not None and list(row[:4]) == values
    kinds = [anyq.DATETIME] * 3 + [anyq.BINARY, anyq.STRING, anyq.NUMBER, anyq.ROWID, anyq.DATETIME]
    every = (anyq.STRING, anyq.BINARY, anyq.NUMBER, anyq.DATETIME, anyq.ROWID)
    for column, kind in zip(cur.description or (), kinds, strict=True):
        assert [other for other in every if column.type_code == other] == [kind]


def test_connections_are_context_managers(portal_backend: object, dsn: str) -> None:
    with anyq.connect(dsn) as conn, conn.cursor() as cur:
        cur.execute("SELECT 1")
    assert cur.closed and conn.closed
