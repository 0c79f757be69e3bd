"""Spans and metrics, as OpenTelemetry's own exporter gets them, have the conventions' names and values."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import anyq
from anyq import AsyncConnection, errors
from anyq.contrib.opentelemetry import OpenTelemetryTracer, operation_of, without_constants
from anyq.pool import AsyncConnectionPool, ConnectionPool, PoolTimeout
from tests.support.activity import cancelled_asleep

pytestmark = pytest.mark.anyio


class Telemetry:
    """What is exported."""

    def __init__(self, **options: Any) -> None:
        self._spans = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self._reader = InMemoryMetricReader()
        meters = MeterProvider([self._reader])
        self.tracer = OpenTelemetryTracer(tracer_provider=self.provider, meter_provider=meters, **options)

    def spans(self) -> list[ReadableSpan]:
        found = list(self._spans.get_finished_spans())
        self._spans.clear()
        return found

    def metrics(self) -> dict[str, Any]:
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[Any]:
        return list(self.metrics()[name].data.data_points)


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


@pytest.fixture
async def watched(anyio_backend: object, dsn: str, telemetry: Telemetry) -> AsyncIterator[AsyncConnection]:
    async with AsyncConnection.connect(dsn, autocommit=True, tracer=telemetry.tracer) as connection:
        yield connection


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def of_server(connection: AsyncConnection) -> dict[str, Any]:
    info = connection.info
    found = {"db.system.name": "postgresql", "db.namespace": info.dbname, "server.address": info.host}
    return found if info.port == 5432 else {**found, "server.port": info.port}


async def test_a_statement_is_a_span(watched: AsyncConnection, telemetry: Telemetry) -> None:
    await watched.execute("SELECT %s, 'x'", ["secret"])
    (span,) = telemetry.spans()
    assert (span.name, span.kind) == (f"SELECT {watched.info.dbname}", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert attributes_of(span) == {
        **of_server(watched),
        "db.operation.name": "SELECT",
        "db.query.text": "SELECT %s, 'x'",
    }
    scope = span.instrumentation_scope
    assert scope is not None
    assert (scope.name, scope.version) == ("anyq", anyq.__version__)
    assert scope.schema_url == "https://opentelemetry.io/schemas/1.33.0"


async def test_a_text_without_parameters_has_no_constants(watched: AsyncConnection, telemetry: Telemetry) -> None:
    await watched.execute("SELECT 'secret' AS a, 42 -- secret")
    (span,) = telemetry.spans()
    assert attributes_of(span)["db.query.text"] == "SELECT ? AS a, ?"


async def test_an_error_has_its_sqlstate_and_no_value(watched: AsyncConnection, telemetry: Telemetry) -> None:
    with pytest.raises(errors.InvalidTextRepresentation):
        await watched.execute("SELECT %s::text::int", ["secret"])
    (span,) = telemetry.spans()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "InvalidTextRepresentation")
    assert attributes_of(span)["db.response.status_code"] == attributes_of(span)["error.type"] == "22P02"
    assert "secret" not in span.to_json()


async def test_one_that_is_no_error_of_the_server_has_its_class(
    watched: AsyncConnection, telemetry: Telemetry, anyio_backend_name: str, dsn: str
) -> None:
    with pytest.raises(errors.ProgrammingError):
        await watched.execute("SELECT %s", [])
    await cancelled_asleep(dsn, watched)
    refused, cancelled = telemetry.spans()
    assert attributes_of(refused)["error.type"] == "anyq.errors.ProgrammingError"
    kind = anyio.get_cancelled_exc_class()
    assert attributes_of(cancelled)["error.type"] == f"{kind.__module__}.{kind.__qualname__}"
    assert "db.response.status_code" not in attributes_of(cancelled)


async def test_the_span_of_the_caller_is_the_parent(watched: AsyncConnection, telemetry: Telemetry) -> None:
    tracer = telemetry.provider.get_tracer("test")

    async def run(name: str) -> None:
        with tracer.start_as_current_span(name):
            await watched.execute("SELECT 1")
            async with watched.pipeline():
                await watched.execute("SELECT 2")
            async for _ in watched.cursor().stream("SELECT 3"):
                pass
            assert trace.get_current_span().name == name  # type: ignore[attr-defined]

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(run, f"task {number}")
    spans = telemetry.spans()
    parents = {span.context.span_id: span.name for span in spans if span.name.startswith("task")}
    assert len(parents) == 5
    found = sorted(parents[span.parent.span_id] for span in spans if span.parent is not None)
    assert found == sorted([f"task {number}" for number in range(5)] * 3)


def test_the_span_of_a_thread_is_the_parent(dsn: str, telemetry: Telemetry) -> None:
    tracer = telemetry.provider.get_tracer("test")
    with ConnectionPool(dsn, min_size=1, tracer=telemetry.tracer) as pool:
        pool.wait()
        with tracer.start_as_current_span("request") as request:
            with pool.connection() as connection:
                connection.execute("SELECT 1")
            pool.execute("SELECT 2")
    parents = {span.parent.span_id for span in telemetry.spans() if span.parent is not None}
    assert parents == {request.get_span_context().span_id}


async def test_executemany_is_a_batch(watched: AsyncConnection, telemetry: Telemetry) -> None:
    await watched.execute("CREATE TEMP TABLE t (i int)")
    telemetry.spans()
    cursor = watched.cursor()
    await cursor.executemany("INSERT INTO t VALUES (%s)", [[1], [2], [3]])
    await cursor.executemany("INSERT INTO t VALUES (%s)", [[1]])
    several, one = telemetry.spans()
    assert several.name == f"BATCH INSERT {watched.info.dbname}"
    assert attributes_of(several)["db.operation.batch.size"] == 3
    assert attributes_of(several)["db.operation.name"] == "BATCH INSERT"
    assert one.name == f"INSERT {watched.info.dbname}" and attributes_of(one)["db.operation.name"] == "INSERT"
    assert "db.operation.batch.size" not in attributes_of(one)


async def test_copy_named_cursors_and_commands_are_spans(watched: AsyncConnection, telemetry: Telemetry) -> None:
    async with watched.transaction(), watched.cursor("c") as cursor:
        await cursor.execute("SELECT 1")
        await cursor.fetchall()
        async with watched.cursor().copy("COPY (SELECT 1) TO STDOUT") as copy:
            await copy.read()
    operations = [attributes_of(span)["db.operation.name"] for span in telemetry.spans()]
    assert operations == ["BEGIN", "SELECT", "FETCH", "COPY", "COMMIT"]


async def test_what_is_not_wanted_is_left_out(dsn: str, anyio_backend: object) -> None:
    telemetry = Telemetry(query_text=False, commands=False)
    async with AsyncConnection.connect(dsn, tracer=telemetry.tracer) as connection:
        await connection.execute("SELECT 1")
        await connection.commit()
    (span,) = telemetry.spans()
    assert "db.query.text" not in attributes_of(span)


async def test_durations_are_recorded_in_seconds(watched: AsyncConnection, telemetry: Telemetry) -> None:
    for number in (1, 1, 0):
        with suppress(errors.DivisionByZero):
            await watched.execute("SELECT 1/%s", [number])
    metric = telemetry.metrics()["db.client.operation.duration"]
    assert metric.unit == "s"
    good, bad = sorted(metric.data.data_points, key=lambda point: -point.count)
    assert (good.count, bad.count) == (2, 1)
    assert good.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
    assert 0 < good.sum < 60
    assert dict(good.attributes) == {**of_server(watched), "db.operation.name": "SELECT"}
    assert dict(bad.attributes) == {
        **dict(good.attributes),
        "error.type": "22012",
        "db.response.status_code": "22012",
    }


async def test_pools_are_observed(dsn: str, telemetry: Telemetry, anyio_backend: object) -> None:
    async with AsyncConnectionPool(dsn, min_size=2, max_size=3, name="mine", tracer=telemetry.tracer) as pool:
        telemetry.tracer.watch_pool(pool)
        await pool.wait()
        async with pool.connection():
            metrics = telemetry.metrics()
            of_pool = {"db.client.connection.pool.name": "mine"}
            numbers = {
                name.removeprefix("db.client.connection."): [
                    (point.value, dict(point.attributes)) for point in metric.data.data_points
                ]
                for name, metric in metrics.items()
                if not hasattr(metric.data.data_points[0], "sum")
            }
            assert numbers == {
                "count": [
                    (1, {**of_pool, "db.client.connection.state": "idle"}),
                    (1, {**of_pool, "db.client.connection.state": "used"}),
                ],
                "idle.max": [(3, of_pool)],
                "idle.min": [(2, of_pool)],
                "max": [(3, of_pool)],
                "pending_requests": [(0, of_pool)],
            }
            (created,) = telemetry.points("db.client.connection.create_time")
            assert (created.count, dict(created.attributes)) == (2, of_pool)
            taken = [await pool.getconn(), await pool.getconn()]
            with pytest.raises(PoolTimeout):
                await pool.getconn(timeout=0.01)
            for connection in taken:
                await pool.putconn(connection)
        for name, count in (("wait_time", 3), ("use_time", 3)):
            (point,) = telemetry.points(f"db.client.connection.{name}")
            assert (point.count, dict(point.attributes)) == (count, of_pool)
            assert telemetry.metrics()[f"db.client.connection.{name}"].unit == "s"
        (timeouts,) = telemetry.points("db.client.connection.timeouts")
        assert (timeouts.value, dict(timeouts.attributes)) == (1, of_pool)
    del pool
    # It is not kept.
    assert len(telemetry.tracer._pools) <= 1


@pytest.mark.parametrize(
    "sql, told",
    [
        (
            "SELECT 'a', 'it''s', E'\\'', U&'x', b'1', $$a$$, $q$ $$ $q$, 1, 1.5e-3, .5, 0xff",
            "SELECT " + "?, " * 10 + "?",
        ),
        (
            'SELECT "a 1"."b\'" FROM t1 WHERE x2=3 AND y = $1 LIMIT %s',
            'SELECT "a 1"."b\'" FROM t1 WHERE x2=? AND y = $1 LIMIT %s',
        ),
        ("/* secret */ SELECT 1 -- secret\n, 2", "SELECT ? \n, ?"),
        ("SELECT 'secret", "SELECT ?"),
        ("SELECT $$secret", "SELECT ?"),
        ("SELECT a-1, -1", "SELECT a-?, -?"),
        ("SELECT %(name)s", "SELECT %(name)s"),
    ],
)
def test_constants_are_left_out(sql: str, told: str) -> None:
    assert without_constants(sql) == told


@pytest.mark.parametrize(
    "sql, operation",
    [
        ("select 1", "SELECT"),
        ("  -- c\n /* d */ (VALUES (1))", "VALUES"),
        (";; insert into t", "INSERT"),
        ("", ""),
        ("/* only", ""),
    ],
)
def test_an_operation_is_the_first_word(sql: str, operation: str) -> None:
    assert operation_of(sql) == operation


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    code = "import anyq, anyq.pool, sys; print([name for name in sys.modules if 'opentelemetry' in name])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
