"""Two-phase commit as a user calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import pytest

from anyq import AsyncClientCursor, AsyncConnection, IsolationLevel, TransactionStatus, Xid
from anyq import errors as e
from anyq.rows import dict_row
from tests.support.queries import one
from tests.support.server import Server
from tests.support.state import status
from tests.support.stepping import cancelled_at
from tests.support.two_phase import leave_none, need_two_phase, prepared

pytestmark = pytest.mark.anyio

Call = Callable[[AsyncConnection], Awaitable[Any]]


@pytest.fixture(autouse=True)
def _two_phase(server: Server, schema: str) -> Iterator[None]:
    need_two_phase(server)
    yield  # before the schema is dropped, for they hold locks
    leave_none(server.dsn)


@pytest.fixture
async def conn(schema: str, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A connection with an empty table `t`, that others see."""
    async with AsyncConnection.connect(dsn, options=f"-csearch_path={schema}") as connection:
        await connection.execute("CREATE TABLE t (a int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        await connection.commit()
        yield connection
        if connection.session.transactions.two_phase.name != "NONE":
            await connection.tpc_rollback()


@pytest.fixture
async def other(schema: str, dsn: str) -> AsyncIterator[AsyncConnection]:
    """Another connection that sees the same table, in autocommit mode."""
    async with AsyncConnection.connect(dsn, options=f"-csearch_path={schema}", autocommit=True) as connection:
        yield connection


async def rows(conn: AsyncConnection) -> list[int]:
    return [a for (a,) in await (await conn.execute("SELECT a FROM t ORDER BY a")).fetchall()]


async def begin(conn: AsyncConnection, xid: Xid | str = "anyq test", value: int = 1) -> None:
    await conn.tpc_begin(xid)
    await conn.execute("INSERT INTO t VALUES (%s)", [value])


# -- what it is for


async def test_both_phases(conn: AsyncConnection, other: AsyncConnection) -> None:
    xid = conn.xid(1, "global", "branch")
    await begin(conn, xid)
    assert status(conn) is TransactionStatus.INTRANS
    assert await prepared(conn) == []
    await conn.tpc_prepare()
    assert status(conn) is TransactionStatus.IDLE
    assert await prepared(other) == [str(xid)]
    assert await rows(other) == []
    await conn.tpc_commit()
    assert await prepared(other) == []
    assert await rows(other) == [1]
    await conn.execute("INSERT INTO t VALUES (2)")
    await conn.rollback()
    assert await rows(conn) == [1]


async def test_both_phases_and_a_rollback(conn: AsyncConnection, other: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_prepare()
    await conn.tpc_rollback()
    assert await prepared(other) == []
    assert await rows(conn) == []


async def test_a_single_phase(conn: AsyncConnection, other: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_commit()
    assert status(conn) is TransactionStatus.IDLE
    assert await rows(other) == [1]
    await begin(conn, value=2)
    await conn.tpc_rollback()
    assert status(conn) is TransactionStatus.IDLE
    assert await rows(other) == [1]


async def test_nothing_was_executed(conn: AsyncConnection) -> None:
    await conn.tpc_begin("anyq test")
    await conn.tpc_prepare()
    await conn.tpc_commit()
    await conn.tpc_begin("anyq test")
    await conn.tpc_rollback()
    assert status(conn) is TransactionStatus.IDLE


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("commit", [False, True])
async def test_recovery(
    commit: bool, autocommit: bool, conn: AsyncConnection, other: AsyncConnection, dsn: str
) -> None:
    """The one that prepared is gone; another one ends what it has left."""
    lost = await AsyncConnection.connect(dsn, options=await one(conn, "SELECT '-csearch_path=' || current_schema()"))
    await conn.rollback()
    await begin(lost, lost.xid(7, "it's", "\\ é"))
    await lost.tpc_prepare()
    await lost.close()
    await conn.set_autocommit(autocommit)
    (xid,) = [xid for xid in await conn.tpc_recover() if xid.database == conn.info.dbname]
    assert status(conn) is TransactionStatus.IDLE
    assert xid == conn.xid(7, "it's", "\\ é")
    assert (xid.owner, xid.database) == (conn.info.user, conn.info.dbname)
    assert xid.prepared is not None
    assert xid.prepared.utcoffset() is not None
    await (conn.tpc_commit if commit else conn.tpc_rollback)(xid)
    assert status(conn) is TransactionStatus.IDLE
    assert await prepared(conn) == []
    assert await rows(other) == [1] * commit


async def test_the_settings_of_transactions_are_kept(conn: AsyncConnection) -> None:
    await conn.set_isolation_level(IsolationLevel.SERIALIZABLE)
    await conn.set_read_only(True)
    await conn.tpc_begin("anyq test")
    assert await one(conn, "SHOW transaction_isolation") == "serializable"
    with pytest.raises(e.ReadOnlySqlTransaction):
        await conn.execute("INSERT INTO t VALUES (1)")
    await conn.tpc_rollback()


# -- names

GIDS = [
    "it's",
    "''",
    "\\",
    "\\'; DROP TABLE t; --",
    "é\u20ac\U0001f600",
    "x" * 199,
    "%s %(a)s $1 ;",
    " E'x' ",
    "1_YQ_Yg",
]


@pytest.mark.any_loop
@pytest.mark.parametrize("standard", ["on", "off"])
@pytest.mark.parametrize("gid", GIDS)
async def test_any_name_comes_back(gid: str, standard: str, conn: AsyncConnection, other: AsyncConnection) -> None:
    for connection in (conn, other):
        await connection.execute(f"SET standard_conforming_strings TO {standard}".encode())
        await connection.commit()
    await begin(conn, gid)
    await conn.tpc_prepare()
    (xid,) = [xid for xid in await other.tpc_recover() if xid.database == conn.info.dbname]
    assert xid == Xid(None, gid, None)
    assert str(xid) == gid
    await other.tpc_commit(xid)
    with pytest.raises(e.UndefinedObject):
        await conn.tpc_commit()
    assert await rows(conn) == [1]


@pytest.mark.parametrize(("encoding", "gid"), [("SJIS", "表'ソ\\"), ("GB18030", "\u4e57'\\"), ("LATIN1", "é'")])
async def test_names_in_another_encoding(
    encoding: str, gid: str, conn: AsyncConnection, other: AsyncConnection
) -> None:
    await conn.execute(f"SET client_encoding TO {encoding}".encode())
    await conn.commit()
    await begin(conn, gid)
    await conn.tpc_prepare()
    assert await prepared(other) == [gid] == await prepared(conn)
    await conn.tpc_rollback()
    assert await prepared(other) == []


@pytest.mark.any_loop
@pytest.mark.parametrize(
    ("gid", "error", "says"),
    [
        ("x" * 200, e.ProgrammingError, "199 bytes, not 200"),
        ("é" * 100, e.ProgrammingError, "199 bytes, not 200"),
        (Xid(1, "\U0001f600" * 64, "x"), e.ProgrammingError, "199 bytes"),
        ("a\0b", e.DataError, "NUL"),
        ("\ud800", e.DataError, "surrogate"),
        (Xid(1, "\ud800", "x"), e.DataError, "surrogate"),
        (b"bytes", e.ProgrammingError, "not bytes"),
        ((1, "a", "b"), e.ProgrammingError, "not tuple"),
        (None, e.ProgrammingError, "not NoneType"),
    ],
)
async def test_names_that_cannot_be(gid: Any, error: type[Exception], says: str, conn: AsyncConnection) -> None:
    with pytest.raises(error, match=says):
        await conn.tpc_begin(gid)
    assert status(conn) is TransactionStatus.IDLE
    assert await rows(conn) == []


async def test_parts_out_of_range(conn: AsyncConnection) -> None:
    with pytest.raises(ValueError, match="gtrid"):
        conn.xid(1, "x" * 65, "")


async def test_what_a_user_has_set_makes_no_difference_to_recovery(dsn: str, conn: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_prepare()
    async with AsyncConnection.connect(dsn, row_factory=dict_row, cursor_factory=AsyncClientCursor) as mine:
        for _ in range(10):
            assert "anyq test" in [xid.gtrid for xid in await mine.tpc_recover()]
        assert status(mine) is TransactionStatus.IDLE


# -- what is refused

REFUSED: dict[str, Call] = {
    "commit": lambda conn: conn.commit(),
    "rollback": lambda conn: conn.rollback(),
    "block": lambda conn: conn.transaction().__aenter__(),
    "begin": lambda conn: conn.tpc_begin("another one"),
    "autocommit": lambda conn: conn.set_autocommit(True),
    "isolation_level": lambda conn: conn.set_isolation_level(IsolationLevel.SERIALIZABLE),
    "read_only": lambda conn: conn.set_read_only(True),
    "deferrable": lambda conn: conn.set_deferrable(True),
    "commit another": lambda conn: conn.tpc_commit("another one"),
    "rollback another": lambda conn: conn.tpc_rollback("another one"),
}


@pytest.mark.any_loop
@pytest.mark.parametrize("phase", ["begun", "prepared", "failed"])
@pytest.mark.parametrize("call", REFUSED)
async def test_refused_in_a_two_phase_transaction(call: str, phase: str, conn: AsyncConnection) -> None:
    await begin(conn)
    if phase == "prepared":
        await conn.tpc_prepare()
    elif phase == "failed":
        await fail_to_prepare(conn)
    before = status(conn)
    with pytest.raises(
        e.ProgrammingError, match=r"two-phase transaction: end it by tpc_commit\(\) or tpc_rollback\(\)"
    ):
        await REFUSED[call](conn)
    assert status(conn) is before
    if phase != "failed":
        await conn.tpc_commit()
    else:
        await conn.tpc_rollback()
    assert await rows(conn) == [1] * (phase != "failed")


async def fail_to_prepare(conn: AsyncConnection) -> None:
    with pytest.raises(e.DivisionByZero):
        await conn.execute("SELECT 1/0")
    with pytest.raises(e.InFailedSqlTransaction, match="rolled back and not prepared"):
        await conn.tpc_prepare()


STATEMENTS: dict[str, Call] = {
    "execute": lambda conn: conn.execute("INSERT INTO t VALUES (9)"),
    "several": lambda conn: conn.execute("INSERT INTO t VALUES (9); COMMIT"),
    "executemany": lambda conn: conn.cursor().executemany("INSERT INTO t VALUES (%s)", [(8,), (9,)]),
    "stream": lambda conn: conn.cursor().stream("INSERT INTO t VALUES (9) RETURNING a").__anext__(),
    "client cursor": lambda conn: AsyncClientCursor(conn).execute("INSERT INTO t VALUES (%s)", [9]),
    "notify": lambda conn: conn.notify("anyq_two_phase", "x"),
    "prepare": lambda conn: conn.tpc_prepare(),
}


@pytest.mark.any_loop
@pytest.mark.parametrize("phase", ["prepared", "failed", "ended by hand"])
@pytest.mark.parametrize("call", STATEMENTS)
async def test_no_statement_outside_of_it(call: str, phase: str, conn: AsyncConnection) -> None:
    for _ in range(7):  # it may be prepared, or remembered
        await conn.execute("INSERT INTO t VALUES (9)")
        await conn.rollback()
    await begin(conn)
    if phase == "prepared":
        await conn.tpc_prepare()
    elif phase == "failed":
        await fail_to_prepare(conn)
    else:
        await conn.execute("ROLLBACK")
    with pytest.raises(e.ProgrammingError, match="two-phase|tpc_prepare"):
        await STATEMENTS[call](conn)
    await conn.tpc_rollback()
    assert await rows(conn) == []


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "/* x */ commit", "SELECT 1; COMMIT"])
@pytest.mark.parametrize("call", ["tpc_prepare", "tpc_commit"])
async def test_a_statement_that_ends_it(call: str, statement: str, conn: AsyncConnection) -> None:
    await begin(conn)
    await conn.execute(statement.encode())
    with pytest.raises(e.ProgrammingError, match="ended by a statement"):
        await getattr(conn, call)()
    await conn.tpc_rollback()
    assert await rows(conn) == [1] * ("ROLLBACK" not in statement)


@pytest.mark.parametrize("call", ["tpc_prepare", "tpc_commit", "tpc_rollback"])
@pytest.mark.parametrize("transaction", [False, True])
async def test_without_a_two_phase_transaction(call: str, transaction: bool, conn: AsyncConnection) -> None:
    if transaction:
        await conn.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(e.ProgrammingError, match="without a two-phase transaction"):
        await getattr(conn, call)()
    await conn.commit()
    assert await rows(conn) == [1] * transaction


async def test_not_in_autocommit_mode(conn: AsyncConnection, other: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match="autocommit"):
        await other.tpc_begin("anyq test")
    assert await rows(other) == []


@pytest.mark.parametrize("call", ["tpc_begin", "tpc_commit", "tpc_rollback"])
async def test_not_in_a_transaction(call: str, conn: AsyncConnection) -> None:
    async with conn.transaction():
        with pytest.raises(e.ProgrammingError, match="in a transaction"):
            await getattr(conn, call)("anyq test")
        await conn.execute("INSERT INTO t VALUES (1)")
    await conn.execute("INSERT INTO t VALUES (2)")
    with pytest.raises(e.ProgrammingError, match="in a transaction"):
        await getattr(conn, call)("anyq test")
    await conn.commit()
    assert await rows(conn) == [1, 2]


# -- what goes wrong


async def test_a_failed_transaction_is_not_prepared(conn: AsyncConnection) -> None:
    """The server answers with ROLLBACK and no error."""
    await begin(conn)
    await fail_to_prepare(conn)
    assert await prepared(conn) == []
    with pytest.raises(e.InFailedSqlTransaction, match="tpc_rollback"):
        await conn.tpc_commit()
    await conn.tpc_rollback()
    await begin(conn, value=2)
    await conn.tpc_commit()
    assert await rows(conn) == [2]


async def test_a_failed_transaction_is_not_committed(conn: AsyncConnection) -> None:
    await begin(conn)
    with pytest.raises(e.DivisionByZero):
        await conn.execute("SELECT 1/0")
    with pytest.raises(e.InFailedSqlTransaction, match="rolled back and not committed"):
        await conn.tpc_commit()
    assert await rows(conn) == []


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO t VALUES (1)", e.UniqueViolation),
        ("CREATE TEMPORARY TABLE mine ()", e.FeatureNotSupported),
        ("LISTEN anyq_two_phase", e.FeatureNotSupported),
        ("DECLARE held CURSOR WITH HOLD FOR SELECT 1", e.FeatureNotSupported),
    ],
)
async def test_what_the_server_does_not_prepare(statement: str, error: type[Exception], conn: AsyncConnection) -> None:
    await begin(conn)
    await conn.execute(statement.encode())
    with pytest.raises(error):
        await conn.tpc_prepare()
    assert status(conn) is TransactionStatus.IDLE
    assert await prepared(conn) == []
    await conn.tpc_rollback()
    assert await rows(conn) == []


async def test_a_name_that_is_taken(conn: AsyncConnection, dsn: str) -> None:
    await begin(conn)
    await conn.tpc_prepare()
    async with AsyncConnection.connect(dsn) as second:
        await second.tpc_begin("anyq test")
        await second.execute("SELECT 1")
        with pytest.raises(e.DuplicateObject):
            await second.tpc_prepare()
        await second.tpc_rollback()
    await conn.tpc_commit()
    assert await rows(conn) == [1]


@pytest.mark.parametrize("call", ["tpc_commit", "tpc_rollback"])
async def test_a_name_that_is_not_known(call: str, conn: AsyncConnection) -> None:
    with pytest.raises(e.ProgrammingError, match="does not exist"):
        await getattr(conn, call)("anyq nosuch")
    assert status(conn) is TransactionStatus.IDLE
    assert await rows(conn) == []


@pytest.mark.parametrize("call", ["tpc_commit", "tpc_rollback"])
async def test_somebody_else_has_ended_it(call: str, conn: AsyncConnection, other: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_prepare()
    await other.tpc_commit("anyq test")
    with pytest.raises(e.UndefinedObject):
        await getattr(conn, call)()
    # It is over, so the connection can be used.
    assert await rows(conn) == [1]


async def test_ending_it_may_be_tried_again(
    conn: AsyncConnection, embedded_server: Server, other: AsyncConnection
) -> None:
    role = embedded_server.roles["trust"]
    await conn.tpc_begin("anyq test")
    await conn.tpc_prepare()
    await conn.session.carry_out(f"SET ROLE {role.user}".encode())
    with pytest.raises(e.InsufficientPrivilege):
        await conn.tpc_commit()
    assert await prepared(other) == ["anyq test"]
    await conn.session.carry_out(b"RESET ROLE")
    await conn.tpc_commit()
    assert await prepared(other) == []


async def test_a_type_that_is_only_prepared_is_not_known(conn: AsyncConnection) -> None:
    """What was prepared on the server in the transaction is not believed after it."""
    query = "SELECT count(*) FROM made_in_it"
    await conn.tpc_begin("anyq test")
    await conn.execute("CREATE TABLE made_in_it ()")
    for _ in range(7):
        assert await one(conn, query) == 0
    await conn.tpc_prepare()
    await conn.tpc_rollback()
    with pytest.raises(e.UndefinedTable):
        await conn.execute(query)


# -- closing


async def test_leaving_the_block_of_a_connection(dsn: str, conn: AsyncConnection) -> None:
    async with AsyncConnection.connect(dsn) as mine:
        await mine.tpc_begin("anyq test")
        await mine.tpc_prepare()
    assert await prepared(conn) == ["anyq test"]
    await conn.tpc_rollback("anyq test")
    with pytest.raises(e.ProgrammingError, match=r"commit\(\) cannot be called"):
        async with AsyncConnection.connect(dsn) as mine:
            await mine.tpc_begin("anyq test")
    assert mine.closed
    async with AsyncConnection.connect(dsn) as mine:
        await mine.tpc_begin("anyq test")
        await fail_to_prepare(mine)
    with pytest.raises(ZeroDivisionError):
        async with AsyncConnection.connect(dsn) as mine:
            await mine.tpc_begin("anyq test")
            raise ZeroDivisionError
    assert await prepared(conn) == []


async def test_a_closed_connection(conn: AsyncConnection) -> None:
    await conn.close()
    for call in (
        lambda: conn.tpc_begin("x"),
        conn.tpc_prepare,
        conn.tpc_commit,
        conn.tpc_rollback,
        lambda: conn.tpc_commit("x"),
        conn.tpc_recover,
    ):
        with pytest.raises(e.OperationalError, match="closed"):
            await call()
    conn.session.transactions.two_phase = type(conn.session.transactions.two_phase).NONE


@pytest.mark.parametrize("phase", ["begun", "prepared"])
async def test_a_lost_connection(phase: str, conn: AsyncConnection, other: AsyncConnection, dsn: str) -> None:
    lost = await AsyncConnection.connect(dsn)
    await lost.tpc_begin("anyq test")
    if phase == "prepared":
        await lost.tpc_prepare()
    await other.execute("SELECT pg_terminate_backend(%s)", [lost.info.backend_pid])
    await lost.wait_disconnected()
    with pytest.raises(e.OperationalError):
        await lost.tpc_commit()
    assert await prepared(other) == ["anyq test"] * (phase == "prepared")


# -- several tasks, and cancelling


async def test_tasks_share_it(conn: AsyncConnection) -> None:
    await conn.tpc_begin("anyq test")
    async with anyio.create_task_group() as group:
        for value in range(10):
            group.start_soon(conn.execute, "INSERT INTO t VALUES (%s)", [value])
    await conn.tpc_prepare()
    await conn.tpc_commit()
    assert await rows(conn) == list(range(10))


async def test_a_statement_behind_the_end(conn: AsyncConnection) -> None:
    """It is refused, and not executed in a transaction of its own, while that is on its way."""
    await begin(conn)
    refused: set[int] = set()

    async def late(value: int) -> None:
        try:
            await conn.execute("INSERT INTO t VALUES (%s)", [value])
        except e.ProgrammingError:
            refused.add(value)

    async with anyio.create_task_group() as group:
        group.start_soon(conn.tpc_prepare)
        for value in range(2, 7):
            group.start_soon(late, value)
    await conn.tpc_commit()
    assert set(await rows(conn)) == {1, 2, 3, 4, 5, 6} - refused


async def end(conn: AsyncConnection) -> None:
    """What the documentation says to do after a cancellation."""
    try:
        await conn.tpc_rollback()
    except e.ProgrammingError as error:
        assert "without a two-phase transaction" in str(error)


async def whole(conn: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_prepare()
    await conn.tpc_commit()


async def whole_rollback(conn: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_prepare()
    await conn.tpc_rollback()


async def single(conn: AsyncConnection) -> None:
    await begin(conn)
    await conn.tpc_commit()


async def recovering(conn: AsyncConnection) -> None:
    await conn.tpc_recover()


@pytest.mark.parametrize("natively", [False, True])
@pytest.mark.parametrize("busy", [False, True], ids=["alone", "behind others"])
@pytest.mark.parametrize("operation", [whole, whole_rollback, single, recovering])
async def test_cancelled_anywhere(
    operation: Call, busy: bool, natively: bool, conn: AsyncConnection, other: AsyncConnection, anyio_backend_name: str
) -> None:
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has that")

    async def run() -> None:
        await operation(conn)

    wait = 1
    again = True
    while again:
        async with anyio.create_task_group() as group:
            if busy:
                group.start_soon(conn.tpc_recover)
            again = await cancelled_at(wait, run, natively=natively)
        await end(conn)
        assert not conn.closed
        assert status(conn) is TransactionStatus.IDLE
        assert await prepared(other) == []
        assert await rows(other) in ([], [1])
        await conn.execute("TRUNCATE t")
        await conn.commit()
        wait += 1
    assert wait > 2


@pytest.mark.parametrize("natively", [False, True])
@pytest.mark.parametrize("of_another", [False, True], ids=["own", "of another connection"])
@pytest.mark.parametrize("commit", [True, False], ids=["commit", "rollback"])
async def test_what_a_cancelled_end_leaves(
    commit: bool,
    of_another: bool,
    natively: bool,
    conn: AsyncConnection,
    other: AsyncConnection,
    anyio_backend_name: str,
) -> None:
    """It is prepared still, as `tpc_recover()` tells, and can be ended again, or it has been ended."""
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has that")
    ender = other if of_another else conn
    xid = "anyq test" if of_another else None

    async def end_it() -> None:
        await (ender.tpc_commit if commit else ender.tpc_rollback)(xid)

    wait, again = 1, True
    while again:
        await begin(conn)
        await conn.tpc_prepare()
        again = await cancelled_at(wait, end_it, natively=natively)
        assert not ender.closed
        assert status(ender) is TransactionStatus.IDLE
        left = await prepared(ender)
        assert await rows(other) == ([1] if commit and not left else [])
        if left:
            await end_it()
        elif not of_another:
            # Whether it had been told so or not, nothing is left to be ended.
            await end(ender)
        assert await prepared(ender) == []
        assert await rows(other) == ([1] if commit else [])
        if of_another:
            with pytest.raises(e.UndefinedObject):
                await conn.tpc_rollback()
        await other.execute("TRUNCATE t")
        wait += 1
    assert wait > 2


@pytest.mark.parametrize("natively", [False, True])
async def test_a_cancelled_tpc_begin_has_begun_nothing(
    natively: bool, conn: AsyncConnection, anyio_backend_name: str
) -> None:
    if natively and anyio_backend_name != "asyncio":
        pytest.skip("only asyncio has that")
    has_begun = False

    async def begin_it() -> None:
        nonlocal has_begun
        has_begun = False
        await conn.tpc_begin("anyq test")
        has_begun = True

    wait = 1
    while await cancelled_at(wait, begin_it, natively=natively):
        if has_begun:
            # The reply had come before the cancellation did, which is not raised then: the same wait once more.
            await conn.tpc_rollback()
            continue
        assert status(conn) is TransactionStatus.IDLE
        await conn.execute("SELECT 1")
        await conn.rollback()
        wait += 1
    assert wait > 1
    await conn.tpc_rollback()


@pytest.mark.parametrize("call", ["tpc_prepare", "tpc_commit", "tpc_rollback"])
async def test_cancelled_behind_other_statements(call: str, conn: AsyncConnection, other: AsyncConnection) -> None:
    """It has been sent, and nobody has waited for the reply; the next call does."""
    await begin(conn)
    await other.execute("SELECT pg_advisory_lock(77)")
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(conn.execute, "SELECT pg_advisory_xact_lock_shared(77)")
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope() as scope:
                group.start_soon(_cancel_when_blocked, scope)
                await getattr(conn, call)()
            assert scope.cancelled_caught
            await other.execute("SELECT pg_advisory_unlock(77)")
            await end(conn)
    finally:
        await other.execute("SELECT pg_advisory_unlock_all()")
    assert status(conn) is TransactionStatus.IDLE
    assert await prepared(other) == []
    assert await rows(other) == [1] * (call == "tpc_commit")


async def _cancel_when_blocked(scope: anyio.CancelScope) -> None:
    await anyio.wait_all_tasks_blocked()
    scope.cancel()


# -- in a pipeline


async def test_in_a_pipeline(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with conn.pipeline():
        await conn.tpc_begin("anyq test")
        for value in range(3):
            await conn.execute("INSERT INTO t VALUES (%s)", [value])
        await conn.tpc_prepare()
        assert await prepared(other) == ["anyq test"]
        with pytest.raises(e.ProgrammingError, match="it is prepared"):
            await (await conn.execute("SELECT 1")).fetchone()
        await conn.tpc_commit()
        assert await (await conn.execute("SELECT count(*) FROM t")).fetchone() == (3,)
    await conn.rollback()
    assert await rows(other) == [0, 1, 2]


async def test_an_error_in_a_pipeline(conn: AsyncConnection, other: AsyncConnection) -> None:
    async with conn.pipeline():
        await begin(conn)
        await conn.execute("SELECT 1/0")
        with pytest.raises(e.DivisionByZero):
            await conn.tpc_prepare()
        await conn.tpc_rollback()
        await begin(conn, value=2)
        await conn.execute("SELECT 1/0")
        await conn.tpc_rollback()
        await begin(conn, value=3)
        await conn.tpc_commit()
    assert await prepared(other) == []
    assert await rows(other) == [3]
