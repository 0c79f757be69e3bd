"""What there is to see once a connection is there: the server, a pooler in between, and how far away it is.

Knows queries that everybody may run, and what poolers do to them. Must not know how the connection was made, nor how
anything is shown. A server may be one that only speaks the protocol: what it refuses is left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio.lowlevel
from anyio.abc import SocketAttribute

import anyq
from anyq.protocol.constants import PROTOCOL_3_0, show_version
from anyq.transport.socket import SocketStream

from .doctor_steps import Step

__all__ = ["Connect", "look_at_pooler", "look_at_server", "measure_round_trips"]

Connect = Callable[[], Awaitable[anyq.AsyncConnection]]
"""Makes one more connection like the one that is looked at."""

_ROUND_TRIPS = 20
"""Queries that are timed; the median of so many is steady."""

_FAR = 0.02
"""Seconds of a round trip from which on it is worth while to save some of them."""

_FULL = 0.9
"""Share of the server's connections in use from which on it is warned of."""

_LOOKS = 4
"""How often it is asked which process runs the transaction."""

_LONG_KEYS_SINCE = 180000
"""The version of PostgreSQL that has version 3.2 of the protocol, where a pooler in between may not."""


async def _ask(conn: anyq.AsyncConnection, query: str) -> tuple[Any, ...] | None:
    """Return one row; None if the server refuses, as one that is not quite PostgreSQL may."""
    try:
        return await (await conn.execute(query.encode())).fetchone()
    except (anyq.ProgrammingError, anyq.DataError, anyq.NotSupportedError, anyq.InternalError):
        return None
    except anyq.OperationalError:
        if conn.closed:
            raise
        return None


async def look_at_server(conn: anyq.AsyncConnection, step: Step) -> None:
    """Tell what the server says about itself.

    :raises OperationalError: the connection was lost.
    """
    step.add("server version", conn.info.parameter_status("server_version") or "not reported")
    version = conn.info.protocol_version
    step.add("protocol version", f"{version // 10000}.{version % 10000}")
    step.add("client encoding", conn.info.parameter_status("client_encoding") or "not reported")
    step.add("time zone", conn.info.parameter_status("TimeZone") or "not reported")
    row = await _ask(conn, "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')")
    if row is not None:
        step.add("hot standby", bool(row[0]))
        step.add("read-only", row[1] == "on")
    if conn.info.server_version >= 160000:
        row = await _ask(conn, "SELECT system_user")
        if row is not None:
            step.add("authenticated as", row[0] or "nobody: whoever connects is trusted")
    row = await _ask(
        conn,
        "SELECT (SELECT sum(numbackends)::int FROM pg_catalog.pg_stat_database),"
        " pg_catalog.current_setting('max_connections')::int",
    )
    if row is not None and row[0] is not None:
        used, most = row
        step.add("connections", f"{used} of {most}")
        if used >= _FULL * most:
            step.warn("Soon nobody else will be let in: who has the connections is in pg_stat_activity.")


async def look_at_pooler(conn: anyq.AsyncConnection, step: Step, connect: Connect, refused_versions: list[int]) -> None:
    """Tell whether there is a pooler, or something else that connects for us, and in which mode it is.

    :raises OperationalError: the connection was lost.
    """
    signs = [*_refusals(refused_versions), *await _signs(conn)]
    pgpool = await _ask(conn, "SHOW pool_version")
    if pgpool is not None:
        signs.append(f"it answers SHOW pool_version, as pgpool-II does: {pgpool[0]}")
    if not signs:
        step.add("in between", "nothing that shows")
        return
    step.add("in between", "a pooler, a proxy or address translation")
    step.add("told by", signs)
    if await _shares_transactions(conn, connect):
        step.add("mode", "transaction: each transaction may have another server connection")
        step.warn(
            "Connect with prepare_threshold=None, unless the pooler keeps account of prepared statements; SET, LISTEN, "
            "temporary tables and advisory locks end with the transaction, or reach somebody else. See docs/poolers.md."
        )
    else:
        step.notes.append(
            "Nothing tells that it gives each transaction another server connection (transaction mode), but it may, "
            "where others use it. See docs/poolers.md."
        )


def _refusals(refused_versions: list[int]) -> list[str]:
    return [
        f"version {show_version(version)} of the protocol was refused, and not negotiated as PostgreSQL does"
        for version in dict.fromkeys(refused_versions)
    ]


async def _signs(conn: anyq.AsyncConnection) -> list[str]:
    signs: list[str] = []
    protocol = conn.session.wire.protocol.protocol_version
    if protocol == PROTOCOL_3_0 and conn.info.server_version >= _LONG_KEYS_SINCE:
        signs.append("version 3.0 of the protocol is spoken, where PostgreSQL of this version knows 3.2")
    row = await _ask(
        conn,
        "SELECT pg_catalog.pg_backend_pid(), pg_catalog.inet_client_port(), pg_catalog.inet_server_port()",
    )
    if row is None:
        return signs
    pid, client_port, server_port = row
    if pid != conn.info.backend_pid:
        signs.append(f"the process id is {conn.info.backend_pid} at log-in, and {pid} for the server itself")
    channel = conn.session.wire.channel
    if isinstance(channel, SocketStream) and isinstance(channel.peer[1], tuple):
        own = channel.extra(SocketAttribute.local_port)
        if client_port is None:
            signs.append("the server is reached by a Unix socket, while we connect by TCP")
        elif client_port != own:
            signs.append(f"the server sees a connection from port {client_port}, while ours is from {own}")
        if server_port is not None and server_port != conn.info.port:
            signs.append(f"the server listens at port {server_port}, while we connect to {conn.info.port}")
    elif client_port is not None:
        signs.append("the server is reached by TCP, while we connect by a Unix socket")
    return signs


async def _shares_transactions(conn: anyq.AsyncConnection, connect: Connect) -> bool:
    """Return whether two connections, or two transactions of one, were seen to change server processes.

    A pooler that has nothing else to do gives each transaction the process that was free last; so a second connection
    gets the first one's, unless that one keeps it.
    """
    seen = {pid for _ in range(_LOOKS) if (pid := await _process(conn)) is not None}
    if len(seen) > 1:
        return True
    async with await connect() as other:
        return await _process(other) in seen


async def _process(conn: anyq.AsyncConnection) -> int | None:
    row = await _ask(conn, "SELECT pg_catalog.pg_backend_pid()")
    return None if row is None else int(row[0])


async def measure_round_trips(conn: anyq.AsyncConnection, step: Step) -> None:
    """Tell how long a short query takes.

    :raises OperationalError: the connection was lost.
    """
    taken: list[float] = []
    for _ in range(_ROUND_TRIPS):
        started = time.perf_counter()
        await conn.execute("SELECT 1")
        taken.append(time.perf_counter() - started)
        await anyio.lowlevel.checkpoint()
    median = statistics.median(taken)
    step.add("queries", _ROUND_TRIPS)
    for name, seconds in (("shortest", min(taken)), ("median", median), ("longest", max(taken))):
        step.add(name, f"{seconds * 1000:.3f} ms")
    if median >= _FAR:
        step.notes.append(
            "The server is far away: what saves round trips saves the most here (executemany(), pipelines, tasks that "
            "share a connection)."
        )
