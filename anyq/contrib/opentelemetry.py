"""OpenTelemetryTracer: spans and metrics of queries, COPY and pools, by OpenTelemetry's semantic conventions.

Needs the package `opentelemetry-api`: ``pip install "anyq[opentelemetry]"``. Nothing is sent anywhere by it: that is
for the application, which sets up providers and exporters.

The conventions for databases that are stable (1.33 and later): spans of the client's operations, and the histogram
``db.client.operation.duration``. Those for pools of connections are not stable yet.

Knows the conventions' names. Must not know how statements are run.

OpenTelemetry: "Semantic conventions for database calls and systems", "for PostgreSQL", "for database client metrics".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, Protocol
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, get_tracer

from .. import __version__
from ..pool import PoolTimeout
from ..tracing import Server, TracedCheckout, TracedConnect, TracedCopy, TracedQuery, Tracer

__all__ = ["OpenTelemetryTracer"]

SCHEMA = "https://opentelemetry.io/schemas/1.33.0"
"""The version of the conventions from which on they have been stable for databases."""
DEFAULT_PORT = 5432
"""PostgreSQL's, which is not told."""
BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""Seconds: the conventions' boundaries."""

Attributes = dict[str, str | int]


class Pool(Protocol):
    """What is asked of a pool, synchronous or not."""

    @property
    def name(self) -> str: ...

    def get_stats(self) -> dict[str, int]: ...


class OpenTelemetryTracer(Tracer):
    """Makes a span of each statement and each COPY, and records how long they take.

    A span's parent is the span that is current for the caller: of the task, or of the thread. It is not made current
    itself. No parameters are in it, and of a text without parameters no constants; see :func:`without_constants`.

    :param tracer_provider: by default the global one.
    :param meter_provider: by default the global one.
    :param query_text: whether spans have the text, ``db.query.text``.
    :param commands: whether there are spans of what the driver sends by itself: BEGIN, COMMIT, SAVEPOINT.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        query_text: bool = True,
        commands: bool = True,
    ) -> None:
        self._query_text = query_text
        self._commands = commands
        self._tracer = get_tracer("anyq", __version__, tracer_provider, schema_url=SCHEMA)
        meter = get_meter("anyq", __version__, meter_provider, schema_url=SCHEMA)

        def seconds(name: str, description: str) -> Any:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=BUCKETS)

        self._duration = seconds("db.client.operation.duration", "Duration of database client operations.")
        prefix = "db.client.connection"
        self._create_time = seconds(f"{prefix}.create_time", "The time it took to create a new connection.")
        self._wait_time = seconds(f"{prefix}.wait_time", "The time it took to obtain an open connection from the pool.")
        self._use_time = seconds(
            f"{prefix}.use_time", "The time between borrowing a connection and returning it to the pool."
        )
        self._timeouts = meter.create_counter(
            f"{prefix}.timeouts",
            "{timeout}",
            "The number of connection timeouts that have occurred trying to obtain a connection from the pool.",
        )
        self._pools: WeakSet[Any] = WeakSet()
        for name, unit, description, observed in _OBSERVED:
            meter.create_observable_up_down_counter(f"{prefix}.{name}", [self._observing(observed)], unit, description)

    def watch_pool(self, pool: Pool) -> None:
        """Have the numbers of a pool's connections observed, as long as it lives: `AsyncConnectionPool` and others.

        How long its clients wait for connections, and have them, is told without it.
        """
        self._pools.add(pool)

    def _observing(
        self, observed: Callable[[dict[str, int]], Iterable[tuple[int, Attributes]]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def callback(options: CallbackOptions) -> Iterator[Observation]:
            for pool in tuple(self._pools):
                for number, more in observed(pool.get_stats()):
                    yield Observation(number, {**_of_pool(pool.name), **more})

        return callback

    # -- statements

    def on_query_start(self, query: TracedQuery, /) -> Span | None:
        if query.kind == "command" and not self._commands:
            return None
        attributes = _of_query(query)
        if self._query_text:
            attributes["db.query.text"] = query.sql if query.parameterized else without_constants(query.sql)
        return self._tracer.start_span(_name(attributes), kind=SpanKind.CLIENT, attributes=attributes)

    def on_query_end(self, query: TracedQuery, state: Any, /) -> None:
        self._end(query, state, {})

    def on_query_error(self, query: TracedQuery, state: Any, error: BaseException, /) -> None:
        self._end(query, state, _of_error(error), error)

    def on_copy_start(self, copy: TracedCopy, /) -> Span | None:
        return self.on_query_start(copy)

    def on_copy_end(self, copy: TracedCopy, state: Any, /) -> None:
        self._end(copy, state, {})

    def on_copy_error(self, copy: TracedCopy, state: Any, error: BaseException, /) -> None:
        self._end(copy, state, _of_error(error), error)

    def _end(
        self, query: TracedQuery, span: Span | None, outcome: Attributes, error: BaseException | None = None
    ) -> None:
        attributes = _of_query(query)
        self._duration.record(query.seconds, {**attributes, **outcome})
        if span is None:
            return
        if query.sets > 1:
            span.set_attribute("db.operation.batch.size", query.sets)
        elif query.kind == "executemany":
            # It was none of several.
            span.set_attributes(attributes)
            span.update_name(_name(attributes))
        if error is not None:
            span.set_attributes(outcome)
            # Not what it says, which may have values in it.
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.end()

    # -- pools

    def on_connect_end(self, connect: TracedConnect, state: Any, /) -> None:
        if connect.pool is not None:
            self._create_time.record(connect.seconds, _of_pool(connect.pool))

    def on_checkout_end(self, checkout: TracedCheckout, state: Any, /) -> None:
        self._wait_time.record(checkout.seconds, _of_pool(checkout.pool))

    def on_checkout_error(self, checkout: TracedCheckout, state: Any, error: BaseException, /) -> None:
        if isinstance(error, PoolTimeout):
            self._timeouts.add(1, _of_pool(checkout.pool))

    def on_checkin(self, checkout: TracedCheckout, /) -> None:
        self._use_time.record(checkout.held, _of_pool(checkout.pool))


def _of_states(stats: dict[str, int]) -> Iterable[tuple[int, Attributes]]:
    idle = stats["pool_available"]
    yield idle, {"db.client.connection.state": "idle"}
    yield stats["pool_size"] - idle, {"db.client.connection.state": "used"}


_OBSERVED: list[tuple[str, str, str, Callable[[dict[str, int]], Iterable[tuple[int, Attributes]]]]] = [
    ("count", "{connection}", "The number of connections that are currently in the state described.", _of_states),
    (
        "idle.max",
        "{connection}",
        "The maximum number of idle open connections allowed.",
        lambda stats: [(stats["pool_max"], {})],
    ),
    (
        "idle.min",
        "{connection}",
        "The minimum number of idle open connections allowed.",
        lambda stats: [(stats["pool_min"], {})],
    ),
    (
        "max",
        "{connection}",
        "The maximum number of open connections allowed.",
        lambda stats: [(stats["pool_max"], {})],
    ),
    (
        "pending_requests",
        "{request}",
        "The number of current pending requests for an open connection.",
        lambda stats: [(stats["requests_waiting"], {})],
    ),
]


def _of_pool(name: str) -> Attributes:
    return {"db.client.connection.pool.name": name}


@lru_cache(256)
def _of_server(server: Server) -> Attributes:
    found: Attributes = {"db.system.name": "postgresql", "db.namespace": server.dbname, "server.address": server.host}
    if server.port != DEFAULT_PORT:
        found["server.port"] = server.port
    return found


def _of_query(query: TracedQuery) -> Attributes:
    """Return what spans and metrics have in common."""
    operation = operation_of(query.sql)
    if query.kind == "executemany" and query.sets != 1:
        operation = f"BATCH {operation}".rstrip()
    return {**_of_server(query.server), "db.operation.name": operation} if operation else dict(_of_server(query.server))


def _name(attributes: Attributes) -> str:
    return f"{attributes.get('db.operation.name', 'postgresql')} {attributes['db.namespace']}"


def _of_error(error: BaseException) -> Attributes:
    sqlstate: str | None = getattr(error, "sqlstate", None)
    if sqlstate is not None:
        return {"error.type": sqlstate, "db.response.status_code": sqlstate}
    kind = type(error)
    return {
        "error.type": kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    }


# -- texts

_OPERATION = re.compile(r"(?:[\s(;]+|--[^\n\r]*|/\*.*?\*/)*([A-Za-z]+)", re.DOTALL).match

_TOKEN = re.compile(
    r"""
    (?P<comment> --[^\n\r]* | /\*.*?(?:\*/|\Z) )
    | (?P<constant>
        [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
        | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)
        | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)
        | (?:\d|\.\d)(?:[\w.]|(?<=[eE])[+-](?=\d))*
      )
    | "(?:[^"]|"")*(?:"|\Z) | [^\W\d][\w$]* | \$\d+
    """,
    re.DOTALL | re.VERBOSE,
)


def operation_of(sql: str) -> str:
    """Return the word that a text begins with, in capitals, behind comments; empty if there is none."""
    found = _OPERATION(sql)
    return "" if found is None else found[1].upper()


def without_constants(sql: str) -> str:
    """Return a text with ``?`` for each string and number, and without comments."""

    def replace(found: re.Match[str]) -> str:
        return "?" if found["constant"] else "" if found["comment"] else found[0]

    return _TOKEN.sub(replace, sql).strip()
