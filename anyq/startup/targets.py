"""Whether a session is what `target_session_attrs` asks for.

Knows how to learn from a new session whether it is read-only or on a standby. Must not know where the session came
from, nor what happens to it otherwise.
"""

from __future__ import annotations

from ..errors import OperationalError
from ..protocol import frontend
from ..protocol.request import SimpleRequest
from ..session.wire import Wire

__all__ = ["why_unsuitable"]


async def why_unsuitable(wire: Wire, target: str) -> str | None:
    """Return why a new session does not suit, None if it does.

    Servers since PostgreSQL 14 report what has to be known; others are asked.

    :param target: the value of target_session_attrs, but "prefer-standby", which asks for two things in turn.
    :raises OperationalError: the server does not say.

    Manual: "Parameter Key Words". A cancellation leaves a session that has to be closed.
    """
    match target:
        case "read-write":
            return "the session is read-only" if await _is_read_only(wire) else None
        case "read-only":
            return None if await _is_read_only(wire) else "the session is not read-only"
        case "primary":
            return "the server is in hot standby" if await _is_standby(wire) else None
        case "standby":
            return None if await _is_standby(wire) else "the server is not in hot standby"
        case _:
            return None


async def _is_read_only(wire: Wire) -> bool:
    parameters = wire.protocol.parameters
    reported = [parameters.get("default_transaction_read_only"), parameters.get("in_hot_standby")]
    if None in reported:
        return await _ask(wire, b"SHOW transaction_read_only") == b"on"
    return "on" in reported


async def _is_standby(wire: Wire) -> bool:
    reported = wire.protocol.parameters.get("in_hot_standby")
    if reported is None:
        return await _ask(wire, b"SELECT pg_catalog.pg_is_in_recovery()") == b"t"
    return reported == "on"


async def _ask(wire: Wire, query: bytes) -> object:
    request = SimpleRequest()
    data = bytearray()
    frontend.query(data, query)
    await wire.run(request, data)
    if request.error is not None:
        raise OperationalError(f"{query.decode()} failed: {request.error}") from request.error
    values = [value for result in request.results for row in result.values() for value in row]
    if len(values) != 1:
        raise OperationalError(f"{query.decode()} has not returned a single value")
    return values[0]
