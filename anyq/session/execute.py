"""Executing one statement: composed, sent, sent again where that is the driver's own business, and its results.

Knows the session and the binders. Must not know cursors, nor how a result is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping

from typing_extensions import LiteralString

from ..abc import Params, Query
from ..adapt import Transformer
from ..backends import uninterrupted
from ..errors import NotSupportedError
from ..statements.binders import RAW, Binder
from ..statements.layout import changed_format
from ..statements.outcome import Staleness, failure_of, had_own_transaction, staleness
from ..statements.remembered import QueryKey
from ..statements.requests import RememberedRequest, StatementRequest
from ..statements.statement import Statement, is_query, is_repeatable
from .cancelling import was_victim
from .session import Adaptation, Session


@uninterrupted
async def execute(
    session: Session,
    query: Query,
    params: Params | None,
    binder: Binder,
    own: Adaptation | None,
    prepare: bool | None,
    binary: bool | None,
) -> StatementRequest | RememberedRequest:
    """Execute a statement; return its request, which has one result at least.

    :param own: that of a cursor that has adapters of its own; None for the session's.
    :raises Error: what is wrong with the parameters, what the server says, or that the connection was lost.

    A cancellation cancels the statement; within the grace time the session is ready for the next one, or closed.
    """
    # What was learned from a query that has the same text holds only if nothing else is special.
    remember = None
    if own is None and prepare is None and binary is None and type(query) is str and binder.remembers:
        key: QueryKey = (query,) if params is None else query
        known = session.remembered.get(key)
        if known is not None:
            transactions, wire = session.transactions, session.wire
            begin = None if transactions.at_once and wire.may_send() else await transactions.turn()
            composed = known.compose(params, wire.protocol.parameters, begin)
            if composed is not None:
                request, data = composed
                await wire.run(request, data)
                return request if has_succeeded(request) else await execute_again(session, request, data, key, begin)
        remember = key, session.wire.protocol.parameters
    tx = (own or session.adaptation).transformer()
    statement = binder.bind(query, params, tx)
    if not binder.extended:
        refuse_binary(binary)
        prepare = False
    if binary:
        await describe(session, statement, tx)
    return await _execute(session, statement, tx, prepare, binary, remember)


def has_succeeded(request: StatementRequest | RememberedRequest) -> bool:
    """Return whether a request that is done has a result, and nothing is wrong with it."""
    return request.succeeded()


async def execute_again(
    session: Session,
    request: StatementRequest | RememberedRequest,
    data: bytearray,
    key: QueryKey,
    begin: bytes | None = None,
) -> StatementRequest:
    """Execute a remembered query again, if that is the driver's own business; otherwise raise its error.

    :param request: the one that has failed, with its messages in `data`.
    :param begin: the BEGIN that was run before it, if one was.
    """
    known = request.known
    assert known is not None
    # Its parameters are dumped once: a dumper may not be able to do it again.
    statement = known.statement(data)
    if not await may_repeat(session, request, statement):
        failure = failure_of(request, begin, session.composer.statements)
        raise session.explained(failure, statement, known.encoding)
    remember = key, session.wire.protocol.parameters
    return await _execute(session, statement, session.transformer(), None, None, remember)


@uninterrupted
async def _execute(
    session: Session,
    statement: Statement,
    tx: Transformer,
    prepare: bool | None,
    binary: bool | None,
    remember: tuple[QueryKey, Mapping[str, str]] | None,
    *,
    begins: bool = True,
) -> StatementRequest:
    """Execute a statement of which nothing is remembered."""
    composer = session.composer
    while True:
        begin = await (session.transactions.turn() if begins else session.transactions.certain_turn())
        request, data = composer.compose(statement, tx, begin, prepare=prepare, binary=binary, remember=remember)
        await session.wire.run(request, data)
        if request.foreseen and request.description[0] is not None and request.failure is None:
            request.failure = changed_format(tx, request.description[0])
        if has_succeeded(request):
            break
        if not await may_repeat(session, request, statement):
            raise session.explained(failure_of(request, begin, composer.statements), statement, tx.encoding)
    return request


async def execute_only(session: Session, query: LiteralString) -> StatementRequest:
    """Execute a query of the driver's own in the transaction that is open, if one is, and without beginning any."""
    tx = session.transformer()
    return await _execute(session, RAW.bind(query, None, tx), tx, False, None, None, begins=False)


def refuse_binary(binary: bool | None) -> None:
    """Refuse binary results, for a binder whose statements go by the simple protocol."""
    if binary:
        raise NotSupportedError("a client cursor gets its results as text; use another cursor for binary ones")


async def describe(session: Session, statement: Statement, tx: Transformer) -> None:
    """Find out which columns of a statement have a binary format, if that is not known yet."""
    while True:
        begin = await session.transactions.turn()
        composed = session.composer.compose_describe(statement, begin)
        if composed is None:
            return
        request, data = composed
        await session.wire.run(request, data)
        if not (was_victim(request) and had_own_transaction(request)):
            break
        await undo_begin(session, request)
    if request.error is not None or request.failure is not None:
        failure = failure_of(request, None, session.composer.statements)
        raise session.explained(failure, statement, tx.encoding)


async def may_repeat(session: Session, request: StatementRequest | RememberedRequest, statement: Statement) -> bool:
    """Return whether a statement that failed for a reason of the driver's own is to be sent again.

    That is so if it went stale or was the victim of a CancelRequest meant for another one, and nothing else is lost
    by its failure: the transaction that it was in was its own, and is rolled back here.
    """
    if forget_if_stale(session, request, statement):
        # A failure without an error is of this side: the statement was run.
        if request.error is None or request.bound and not is_query(statement.sql):
            return False
    elif not (was_victim(request) and is_repeatable(statement.sql)):
        return False
    if not had_own_transaction(request):
        return False
    await undo_begin(session, request)
    return True


def forget_if_stale(session: Session, request: StatementRequest | RememberedRequest, statement: Statement) -> bool:
    """Return whether a statement may have failed because of what was remembered of it, which is forgotten then.

    What it is parsed anew by, the next execution is right: here or, in a transaction that has failed now, after that.
    """
    stale = staleness(request)
    if stale is Staleness.NONE:
        return False
    session.composer.forget(statement.key)
    if stale is Staleness.CERTAIN:
        # Others depend on what has changed, and each would fail once.
        session.composer.statements.renew()
    return True


async def undo_begin(session: Session, request: StatementRequest | RememberedRequest) -> None:
    """Roll the transaction back that a request has begun before its statement, if it has."""
    if request.after_begin:
        await session.end_transaction(b"ROLLBACK", cancellable=False, behind_pipeline=False)
