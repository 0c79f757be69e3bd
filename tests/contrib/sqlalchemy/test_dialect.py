"""What an engine does on a server, whichever way its connections are called."""

from __future__ import annotations

import datetime
import decimal
import enum
import ipaddress
import json
import logging
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Integer, Text, bindparam, func, select, text
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

import anyq
from tests.support.engines import Runner
from tests.support.server import Server
from tests.support.two_phase import leave_none, need_two_phase


def temporary(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, sa.MetaData(), *columns, prefixes=["TEMPORARY"])


# -- values


def test_json_by_default(run: Runner) -> None:
    table = temporary(
        "documents", sa.Column("id", Integer), sa.Column("j", sa.JSON(none_as_null=False)), sa.Column("b", pg.JSONB)
    )
    document = {"a": [1, 2.5, None, "\u20ac"], "b": {"c": True}}

    def main(conn: sa.Connection) -> None:
        table.create(conn)
        rows = [
            {"id": 1, "j": document, "b": document},
            {"id": 2, "j": None, "b": sa.JSON.NULL},
            {"id": 3, "j": sa.null(), "b": sa.null()},
        ]
        for row in rows:
            conn.execute(table.insert().values(**row))
        found = conn.execute(select(table.c.j, table.c.b, table.c.j.cast(Text)).order_by(table.c.id)).all()
        assert [tuple(row[:2]) for row in found] == [(document, document), (None, None), (None, None)]
        # JSON's null and SQL's are two things.
        assert [row[2] for row in found[1:]] == ["null", None]
        assert conn.scalar(select(table.c.b["a"][1].as_float()).where(table.c.id == 1)) == 2.5
        assert conn.scalars(select(table.c.id).where(table.c.b.contains({"b": {"c": True}}))).all() == [1]

    run.connection(main)


def test_json_of_ones_own(run: Runner) -> None:
    """The functions of the engine are asked, and the deserializer is given str."""
    given: list[Any] = []

    def loads(document: Any) -> Any:
        given.append(document)
        return json.loads(document, parse_float=decimal.Decimal)

    def dumps(document: Any) -> str:
        return json.dumps(document, default=str)

    def main(conn: sa.Connection) -> None:
        day = datetime.date(2026, 1, 2)
        for kind in (sa.JSON, pg.JSON, pg.JSONB):
            given.clear()
            assert conn.scalar(select(sa.literal({"d": day, "f": 1.5}, kind))) == {
                "d": "2026-01-02",
                "f": decimal.Decimal("1.5"),
            }
            assert [type(document) for document in given] == [str]

    run.connection(main, json_serializer=dumps, json_deserializer=loads)
    # Those of another engine are not touched.
    run.connection(lambda conn: conn.scalar(select(sa.literal({"f": 1.5}, pg.JSONB))) == {"f": 1.5})


RANGES = [
    (pg.INT4RANGE, Range(1, 5), Range(1, 5)),
    (pg.INT4RANGE, Range(1, 5, bounds="[]"), Range(1, 6)),
    (pg.INT4RANGE, Range(1, 2, bounds="()"), Range(empty=True)),
    (pg.INT8RANGE, Range(None, 2**40), Range(None, 2**40, bounds="()")),
    (pg.INT8RANGE, Range(empty=True), Range(empty=True)),
    (pg.NUMRANGE, Range(decimal.Decimal("1.50"), None, bounds="(]"), Range(decimal.Decimal("1.50"), None, bounds="()")),
    (pg.DATERANGE, Range(datetime.date(2026, 1, 1), None), Range(datetime.date(2026, 1, 1), None)),
    (pg.NUMRANGE, Range(None, None), Range(None, None, bounds="()")),
]


@pytest.mark.parametrize(("kind", "value", "expected"), RANGES)
def test_ranges(run: Runner, kind: Any, value: Range[Any], expected: Range[Any]) -> None:
    def main(conn: sa.Connection) -> None:
        found = conn.scalar(select(sa.literal(value, kind)))
        assert type(found) is Range
        assert (found, found.bounds, found.empty) == (expected, expected.bounds, expected.empty)
        assert conn.scalar(select(sa.literal(None, kind))) is None
        assert conn.scalar(select(sa.literal([value, None, value], sa.ARRAY(kind)))) == [expected, None, expected]

    run.connection(main)


def test_ranges_of_time(run: Runner) -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)
    aware = at.replace(tzinfo=datetime.timezone.utc)

    def main(conn: sa.Connection) -> None:
        for kind, value in (
            (pg.TSRANGE, Range(at, at + datetime.timedelta(1))),
            (pg.TSTZRANGE, Range(aware, None, bounds="[)")),
        ):
            assert conn.scalar(select(sa.literal(value, kind))) == value
        # A bound that is infinite is no missing one, and Python has none.
        with pytest.raises(DBAPIError) as caught:
            conn.execute(select(text("tsrange(NULL, 'infinity')"))).all()
        assert isinstance(caught.value.orig, anyq.DataError)

    run.connection(main)


def test_multiranges(run: Runner) -> None:
    def main(conn: sa.Connection) -> None:
        for value, expected in (
            ([Range(1, 3), Range(5, 7, bounds="[]")], [Range(1, 3), Range(5, 8)]),
            ([], []),
            (pg.ranges.MultiRange([Range(None, 3)]), [Range(None, 3, bounds="()")]),
        ):
            found = conn.scalar(select(sa.literal(value, pg.INT4MULTIRANGE)))
            assert type(found) is pg.ranges.MultiRange
            assert found == expected
        assert conn.scalar(select(sa.literal("{[1,3)}", pg.INT4MULTIRANGE))) == [Range(1, 3)]
        assert conn.scalar(select(sa.literal(None, pg.INT4MULTIRANGE))) is None
        assert conn.scalar(select(sa.literal([[Range(1, 3)], []], sa.ARRAY(pg.INT4MULTIRANGE, dimensions=1)))) == [
            [Range(1, 3)],
            [],
        ]

    run.connection(main)


class Mood(enum.Enum):
    very_happy = 'very "happy"'
    sad = "sad, and {so} on"


def test_an_array_of_an_enum_whose_name_needs_quotes(run: Runner) -> None:
    metadata = sa.MetaData(schema="odd schema")
    mood = pg.ENUM(
        Mood,
        name='My "mood"',
        metadata=metadata,
        schema="odd schema",
        values_callable=lambda cls: [m.value for m in cls],
    )
    table = sa.Table(
        "People",
        metadata,
        sa.Column("id", Integer, primary_key=True),
        sa.Column("m", mood),
        sa.Column("ms", pg.ARRAY(mood)),
    )

    def main(conn: sa.Connection) -> None:
        conn.execute(sa.schema.CreateSchema("odd schema"))
        metadata.create_all(conn)
        rows = [
            {"id": 1, "m": Mood.very_happy, "ms": [Mood.sad, None, Mood.very_happy]},
            {"id": 2, "m": None, "ms": []},
            {"id": 3, "m": Mood.sad, "ms": None},
        ]
        conn.execute(table.insert(), rows)
        assert [row._asdict() for row in conn.execute(table.select().order_by(table.c.id))] == rows
        assert conn.scalars(select(table.c.id).where(table.c.ms.contains([Mood.sad]))).all() == [1]
        reflected = sa.Table("People", sa.MetaData(), schema="odd schema", autoload_with=conn)
        column = reflected.c.ms.type
        assert isinstance(column, pg.ARRAY)
        assert isinstance(column.item_type, pg.ENUM)
        assert (column.item_type.name, column.item_type.schema) == ('My "mood"', "odd schema")
        assert list(column.item_type.enums) == [member.value for member in Mood]
        assert conn.execute(select(reflected.c.ms).where(reflected.c.id == 1)).scalar_one() == [
            Mood.sad.value,
            None,
            Mood.very_happy.value,
        ]

    run.connection(main)


def test_addresses(run: Runner) -> None:
    texts = ["10.0.0.1", "10.0.0.1/24", "::1", "2001:db8::/32"]
    kinds = [pg.INET, pg.INET, pg.INET, pg.CIDR]
    native = [
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_interface("10.0.0.1/24"),
        ipaddress.ip_address("::1"),
        ipaddress.ip_network("2001:db8::/32"),
    ]

    def main(conn: sa.Connection, expected: list[Any]) -> None:
        assert list(conn.execute(select(*map(sa.cast, texts, kinds))).one()) == expected
        assert conn.scalar(select(sa.cast(expected[:2], pg.ARRAY(pg.INET)))) == expected[:2]

    run.connection(lambda conn: main(conn, native))
    run.connection(lambda conn: main(conn, native), native_inet_types=True)
    run.connection(lambda conn: main(conn, texts), native_inet_types=False)


def has_hstore(server: Server) -> bool:
    return server.psql("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'") == "1"


def test_hstore(run: Runner, server: Server) -> None:
    if not has_hstore(server):
        pytest.skip("the server has no hstore")
    value = {"": "empty key", 'quo"te\\': "v'", "null": None}
    server.psql("CREATE SCHEMA extensions; CREATE EXTENSION hstore SCHEMA extensions")
    try:
        kind = pg.HSTORE()

        def main(engine: sa.Engine) -> None:
            for _ in range(2):  # in a first connection, which has learnt the type, and in another one
                with engine.connect() as conn:
                    conn.execute(text("SET search_path TO public, extensions"))
                    assert conn.scalar(select(sa.literal(value, kind))) == value
                    if conn.dialect._has_native_hstore:
                        assert conn.scalar(select(sa.literal([value, {}], sa.ARRAY(kind)))) == [value, {}]
                    conn.invalidate()

        url = run.url.update_query_dict({"options": "-c search_path=public,extensions"})
        run(main, url)
        run(main, url, use_native_hstore=False)
    finally:
        server.psql("DROP SCHEMA extensions CASCADE")


def test_a_database_without_hstore(run: Runner) -> None:
    def main(conn: sa.Connection) -> None:
        assert conn.dialect._has_native_hstore is False
        assert conn.scalar(select(1)) == 1

    run.connection(main)


def test_values_of_all_kinds(run: Runner) -> None:
    """As parameters in a list of values, in an array, and back."""
    values: list[tuple[Any, Any]] = [
        (Integer(), -(2**31)),
        (sa.BigInteger(), 2**62),
        (sa.SmallInteger(), 7),
        (sa.Numeric(40, 20), decimal.Decimal("1.50000000000000000001")),
        (sa.Float(), 0.1),
        (sa.Boolean(), True),
        (Text(), "%s {\\} \u20ac"),
        (sa.LargeBinary(), b"\x00\\\xff"),
        (sa.Uuid(), uuid.UUID(int=2**100)),
        (sa.Date(), datetime.date(2026, 2, 3)),
        (sa.Time(), datetime.time(23, 59, 59, 999999)),
        (sa.DateTime(), datetime.datetime(2026, 2, 3, 4, 5, 6, 7)),
        (sa.DateTime(timezone=True), datetime.datetime(2026, 2, 3, tzinfo=datetime.timezone.utc)),
        (sa.Interval(), datetime.timedelta(-3, 4, 5)),
        (pg.BIT(4), "0101") if not hasattr(pg, "BitString") else (pg.BIT(4), pg.BitString("0101")),
    ]

    def main(conn: sa.Connection) -> None:
        for kind, value in values:
            assert conn.scalar(select(sa.literal(value, kind))) == value, kind
            assert conn.scalar(select(sa.literal([value, None], pg.ARRAY(kind)))) == [value, None], kind
            assert conn.scalar(select(sa.literal(None, kind))) is None, kind
            chosen = bindparam("v", [value], type_=kind, expanding=True)
            assert conn.scalar(select(1).where(sa.literal(value, kind).in_(chosen))) == 1, kind

    run.connection(main)


# -- statements


def test_insertmanyvalues(run: Runner) -> None:
    table = temporary("many", sa.Column("id", Integer, primary_key=True), sa.Column("txt", Text))

    def main(conn: sa.Connection) -> None:
        table.create(conn)
        rows = [{"txt": str(number)} for number in range(2500)]
        statement = table.insert().returning(table.c.id, table.c.txt, sort_by_parameter_order=True)
        found = conn.execute(statement, rows).all()
        assert [row.txt for row in found] == [row["txt"] for row in rows]
        assert [row.id for row in found] == sorted(row.id for row in found)

    run.connection(main)
    run.connection(main, insertmanyvalues_page_size=100)


def test_rowcount_of_many(run: Runner) -> None:
    table = temporary("counted", sa.Column("id", Integer), sa.Column("t", Text))

    def main(conn: sa.Connection) -> None:
        table.create(conn)
        conn.execute(table.insert(), [{"id": number} for number in range(5)])
        update = table.update().where(table.c.id <= bindparam("most")).values(t="x")
        assert conn.dialect.supports_sane_multi_rowcount
        assert conn.execute(update, [{"most": 1}, {"most": 3}]).rowcount == 6
        assert conn.execute(update, [{"most": -1}, {"most": -2}]).rowcount == 0
        assert conn.execute(update, {"most": 2}).rowcount == 3
        cursor = conn.connection.cursor()
        cursor.executemany("UPDATE counted SET t = %s", [])
        assert cursor.rowcount == 0
        cursor.close()

    run.connection(main)


def test_server_side_cursors(run: Runner) -> None:
    rows = select(func.generate_series(1, 1000))

    def names(conn: sa.Connection) -> list[str]:
        return list(conn.scalars(text("SELECT name FROM pg_cursors")))

    def main(conn: sa.Connection) -> None:
        streaming = conn.execution_options(stream_results=True, max_row_buffer=50)
        result = streaming.execute(rows)
        assert result.cursor.name
        assert result.fetchone() == (1,)
        assert result.fetchmany(3) == [(2,), (3,), (4,)]
        result.close()
        assert conn.execution_options(stream_results=False).scalar(text("SELECT count(*) FROM pg_cursors")) == 0

        result = conn.execution_options(yield_per=10).execute(rows)
        partitions = [len(part) for part in result.partitions()]
        assert partitions == [10] * 100
        assert list(conn.execution_options(yield_per=7).scalars(rows)) == list(range(1, 1001))

    run.connection(main)


def test_a_server_side_cursor_that_fails(run: Runner) -> None:
    def main(conn: sa.Connection) -> None:
        streaming = conn.execution_options(stream_results=True)
        with pytest.raises(DBAPIError) as caught:
            streaming.execute(text("SELECT 1 / (3 - n) FROM generate_series(1, 5) AS s(n)")).all()
        assert isinstance(caught.value.orig, anyq.errors.DivisionByZero)
        conn.rollback()
        assert conn.scalar(select(1)) == 1

    run.connection(main)


def test_errors(run: Runner) -> None:
    table = temporary("unique_ones", sa.Column("id", Integer, primary_key=True))

    def main(conn: sa.Connection) -> None:
        table.create(conn)
        conn.execute(table.insert(), {"id": 1})
        with conn.begin_nested() as savepoint:
            with pytest.raises(IntegrityError) as caught:
                conn.execute(table.insert(), {"id": 1})
            savepoint.rollback()
        assert isinstance(caught.value.orig, anyq.errors.UniqueViolation)
        assert caught.value.orig.sqlstate == "23505"
        assert caught.value.orig.diag.constraint_name == "unique_ones_pkey"
        assert not caught.value.connection_invalidated
        assert conn.scalar(select(func.count()).select_from(table)) == 1

    run.connection(main)


def test_notices_are_logged(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sqlalchemy.dialects.postgresql")
    run.connection(lambda conn: conn.execute(text("DO $$ BEGIN RAISE NOTICE 'hello %', 42; END $$")))
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "hello" in message] == ["NOTICE: hello 42"]


def test_nothing_is_prepared_unless_wanted(run: Runner) -> None:
    prepared = text("SELECT count(*) FROM pg_prepared_statements")

    def main(engine: sa.Engine, expected: bool) -> None:
        with engine.connect() as conn:
            for number in range(10):
                conn.execute(select(sa.literal(number)))
            assert bool(conn.scalar(prepared)) is expected

    run(lambda engine: main(engine, True))
    run(lambda engine: main(engine, False), connect_args={"prepare_threshold": None})


# -- transactions


def test_isolation_levels(run: Runner) -> None:
    shown = text("SHOW transaction_isolation")
    levels = ["SERIALIZABLE", "REPEATABLE READ", "READ UNCOMMITTED", "READ COMMITTED"]

    def main(engine: sa.Engine) -> None:
        with engine.connect() as conn:
            assert conn.default_isolation_level == "READ COMMITTED"
            pid = conn.scalar(func.pg_backend_pid())
        for level in levels:
            with engine.connect().execution_options(isolation_level=level) as conn:
                assert conn.scalar(shown) == level.lower()
                assert conn.get_isolation_level() == level
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("CREATE TEMPORARY TABLE kept ()"))
            assert conn.connection.dbapi_connection.autocommit
            assert conn.connection.dbapi_connection.info.transaction_status == anyq.TransactionStatus.IDLE
        # The same connection, as it was.
        with engine.connect() as conn:
            assert conn.scalar(func.pg_backend_pid()) == pid
            assert conn.scalar(shown) == "read committed"
            assert not conn.connection.dbapi_connection.autocommit
            assert conn.scalar(text("SELECT to_regclass('kept') IS NOT NULL"))

    run(main)
    run(lambda engine: engine.connect().execution_options().close(), isolation_level="SERIALIZABLE")

    def of_the_engine(conn: sa.Connection) -> None:
        assert conn.scalar(shown) == "repeatable read"

    run.connection(of_the_engine, isolation_level="REPEATABLE READ")


def test_read_only_and_deferrable(run: Runner) -> None:
    def main(engine: sa.Engine) -> None:
        options = {"isolation_level": "SERIALIZABLE", "postgresql_readonly": True, "postgresql_deferrable": True}
        with engine.connect().execution_options(**options) as conn:
            shown = [conn.scalar(text(f"SHOW transaction_{name}")) for name in ("isolation", "read_only", "deferrable")]
            assert shown == ["serializable", "on", "on"]
            assert conn.connection.dbapi_connection.read_only is True
            assert conn.connection.dbapi_connection.deferrable is True
        with engine.connect() as conn:
            shown = [conn.scalar(text(f"SHOW transaction_{name}")) for name in ("isolation", "read_only", "deferrable")]
            assert shown == ["read committed", "off", "off"]

    run(main)


def test_two_phase(run: Runner, server: Server) -> None:
    need_two_phase(server)
    table = sa.Table("sa_two_phase", sa.MetaData(), sa.Column("id", Integer))
    assert leave_none(run.dsn) == 0

    def main(engine: sa.Engine) -> None:
        table.create(engine)
        try:
            with engine.connect() as conn:
                for number, (prepares, commits) in enumerate(
                    [(True, True), (True, False), (False, True), (False, False)]
                ):
                    transaction = conn.begin_twophase(f"sa 'quoted\\' {number}")
                    conn.execute(table.insert(), {"id": number})
                    if prepares:
                        transaction.prepare()
                    (transaction.commit if commits else transaction.rollback)()
                assert conn.scalars(select(table.c.id).order_by(table.c.id)).all() == [0, 2]
            # One that another connection ends.
            with engine.connect() as conn:
                transaction = conn.begin_twophase("sa recovered 'one'")
                conn.execute(table.insert(), {"id": 10})
                transaction.prepare()
                conn.invalidate()
            with engine.connect() as conn:
                assert "sa recovered 'one'" in conn.recover_twophase()
                conn.commit_prepared("sa recovered 'one'", recover=True)
            with engine.connect() as conn:
                assert conn.recover_twophase() == []
                assert conn.scalars(select(table.c.id).order_by(table.c.id)).all() == [0, 2, 10]
            # One that cannot be prepared, as a statement has failed.
            with engine.connect() as conn:
                transaction = conn.begin_twophase("sa failing")
                with pytest.raises(DBAPIError):
                    conn.execute(text("SELECT 1 / 0"))
                with pytest.raises(DBAPIError) as caught:
                    transaction.prepare()
                assert isinstance(caught.value.orig, anyq.errors.InFailedSqlTransaction)
                transaction.rollback()
                assert conn.scalar(select(1)) == 1
        finally:
            leave_none(run.dsn)
            table.drop(engine)

    run(main)


def test_savepoints(run: Runner) -> None:
    table = temporary("saved", sa.Column("id", Integer))

    def main(conn: sa.Connection) -> None:
        table.create(conn)
        with conn.begin_nested():
            conn.execute(table.insert(), {"id": 1})
            with pytest.raises(DBAPIError), conn.begin_nested():
                conn.execute(table.insert(), {"id": 2})
                conn.execute(text("SELECT 1 / 0"))
        assert conn.scalars(select(table.c.id)).all() == [1]

    run.connection(main)


# -- connections that are lost


def terminate(run: Runner, pid: int) -> None:
    """Have another connection end one, and wait until the server has."""
    with anyq.connect(run.dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_terminate_backend(%s, 30000)", (pid,))


def test_a_lost_connection_is_replaced(run: Runner) -> None:
    pid = func.pg_backend_pid()

    def main(engine: sa.Engine) -> None:
        with engine.connect() as conn:
            first = conn.scalar(pid)
            terminate(run, first)
            with pytest.raises(OperationalError) as caught:
                conn.scalar(pid)
            assert caught.value.connection_invalidated
            assert isinstance(caught.value.orig, anyq.OperationalError)
            assert conn.invalidated
            conn.rollback()
            second = conn.scalar(pid)
            assert second != first
        with engine.connect() as conn:
            assert conn.scalar(pid) == second

    run(main, pool_size=1, max_overflow=0)


def test_one_that_is_lost_while_nobody_has_it(run: Runner) -> None:
    pid = func.pg_backend_pid()

    def main(engine: sa.Engine, pings: bool) -> None:
        with engine.connect() as conn:
            first = conn.scalar(pid)
        terminate(run, first)
        with engine.connect() as conn:
            if not pings:
                with pytest.raises(OperationalError) as caught:
                    conn.scalar(pid)
                assert caught.value.connection_invalidated
                conn.rollback()
            assert conn.scalar(pid) != first

    run(lambda engine: main(engine, False), pool_size=1)
    run(lambda engine: main(engine, True), pool_size=1, pool_pre_ping=True)


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE", "READ COMMITTED"])
def test_a_ping_leaves_the_settings(run: Runner, level: str) -> None:
    def main(engine: sa.Engine) -> None:
        for _ in range(2):
            with engine.connect() as conn:
                connection = conn.connection.dbapi_connection
                # The ping has begun no transaction.
                assert connection.info.transaction_status == anyq.TransactionStatus.IDLE
                assert connection.autocommit is (level == "AUTOCOMMIT")
                assert conn.get_isolation_level() == ("READ COMMITTED" if level == "AUTOCOMMIT" else level)

    run(main, pool_size=1, pool_pre_ping=True, isolation_level=level)


def test_a_server_that_is_not_there(run: Runner) -> None:
    url = sa.make_url("postgresql+anyq://user:secret@127.0.0.1:1/db?connect_timeout=2")
    with pytest.raises(OperationalError) as caught:
        run.connection(lambda conn: conn.scalar(select(1)), url=url)
    assert "127.0.0.1" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert isinstance(caught.value.orig, anyq.OperationalError)


# -- what the driver has besides


def test_reflection(run: Runner) -> None:
    def main(conn: sa.Connection) -> None:
        conn.execute(
            text(
                "CREATE TEMPORARY TABLE reflected (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " n numeric(10, 2) NOT NULL DEFAULT 1.5,"
                " r int4range, t timestamptz[], i inet, j jsonb, u uuid UNIQUE, CHECK (n > 0));"
                "CREATE INDEX reflected_j ON reflected USING gin (j) WHERE n > 1;"
                "COMMENT ON COLUMN reflected.n IS 'amount'"
            )
        )
        table = sa.Table("reflected", sa.MetaData(), autoload_with=conn)
        kinds = [type(column.type) for column in table.columns]
        assert kinds == [sa.INTEGER, sa.NUMERIC, pg.INT4RANGE, pg.ARRAY, pg.INET, pg.JSONB, sa.UUID]
        assert table.c.n.comment == "amount"
        assert [index.name for index in table.indexes if index.name == "reflected_j"] == ["reflected_j"]
        conn.execute(table.insert(), [{"n": 2, "j": {"a": 1}, "r": Range(1, 2)}])
        assert conn.execute(select(table.c.id, table.c.n, table.c.j, table.c.r)).one() == (1, 2, {"a": 1}, Range(1, 2))

    run.connection(main)


def test_adapters_of_an_engine(run: Runner) -> None:
    """What is registered for an engine is for its connections; the global ones and other engines are as they were."""

    class Loader(anyq.adapt.Loader):
        def load(self, data: Any) -> str:
            return f"loaded {bytes(data).decode()}"

    def main(engine: sa.Engine) -> None:
        engine.dialect._psycopg_adapters_map.register_loader("point", Loader)
        with engine.connect() as conn:
            assert conn.scalar(text("SELECT '(1,2)'::point")) == "loaded (1,2)"

    run(main)
    run.connection(lambda conn: conn.scalar(text("SELECT '(1,2)'::point")) != "loaded (1,2)")
