"""The synchronous classes have what the asynchronous ones have: names, signatures and what the docstrings say first."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import anyq
from anyq import sync
from anyq.notifications.listen import AsyncListen
from anyq.notifications.notifies import AsyncNotifies
from anyq.notifications.subscription import Receiver
from anyq.pool import AsyncConnectionPool, AsyncNullConnectionPool, ConnectionPool, NullConnectionPool
from anyq.pool.pool import Lending
from anyq.pool.sync_pool import Lent

PAIRS: list[tuple[type[Any], type[Any]]] = [
    (anyq.AsyncConnection, sync.Connection),
    (anyq.AsyncCursor, sync.Cursor),
    (anyq.AsyncClientCursor, sync.ClientCursor),
    (anyq.AsyncRawCursor, sync.RawCursor),
    (anyq.AsyncServerCursor, sync.ServerCursor),
    (anyq.AsyncRawServerCursor, sync.RawServerCursor),
    (anyq.AsyncTransaction, sync.Transaction),
    (anyq.AsyncRowStream, sync.RowStream),
    (anyq.AsyncPipeline, sync.Pipeline),
    (anyq.AsyncCopy, sync.Copy),
    (anyq.AsyncListener, sync.Listener),
    (anyq.NotificationStream, sync.NotificationStream),
    (AsyncListen, sync.Listen),
    (AsyncNotifies, sync.Notifies),
    (AsyncConnectionPool, ConnectionPool),
    (AsyncNullConnectionPool, NullConnectionPool),
    (Lending, Lent),
]

#: What an asynchronous object is called by, and the synchronous one.
RENAMED = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}

FOR_THE_PACKAGE = "For this package"

#: Names that one side has for a reason.
ONLY_ASYNC = {
    "AsyncConnection": {
        # For the package, as the comments above them say.
        *(
            "pooled",
            "send_command",
            "carry_out",
            "transformer",
            "make_transformer",
            "turn",
            "due_begin",
            "begin_statement",
        ),
    },
    # For the package, too.
    **dict.fromkeys(("AsyncCursor", "AsyncClientCursor", "AsyncRawCursor"), {"late"}),
    **dict.fromkeys(("AsyncServerCursor", "AsyncRawServerCursor"), {"late"}),
    **dict.fromkeys(
        ("AsyncConnectionPool", "AsyncNullConnectionPool"), {"keeps_idle", "default_min_size", "hooks_class"}
    ),
    "AsyncNotifies": {"put", "put_first", "take", *dir(Receiver)},
    "NotificationStream": {"subscription", "statistics", "extra", "extra_attributes"},
}
ONLY_SYNC = {
    # Portals are not for event loops.
    "Connection": {"from_async", "async_connection", "inner"},
    # For the package, too.
    **dict.fromkeys(("Cursor", "ClientCursor", "RawCursor", "ServerCursor", "RawServerCursor"), {"async_class"}),
}
#: Parameters that only the synchronous one has.
EXTRA_PARAMETERS = {"portal"}

EMPTY = inspect.Parameter.empty


def names(cls: type[Any]) -> dict[str, Any]:
    found = {}
    for name in dir(cls):
        if name.startswith("_") and name not in RENAMED and name not in RENAMED.values():
            continue
        member = inspect.getattr_static(cls, name)
        doc = inspect.getdoc(getattr(member, "__func__", member)) or ""
        if not doc.startswith(FOR_THE_PACKAGE):
            found[name] = member
    return found


def pairs_of_names() -> list[Any]:
    found = []
    for async_class, sync_class in PAIRS:
        for name, member in names(async_class).items():
            if name in ONLY_ASYNC.get(async_class.__name__, ()):
                continue
            found.append(pytest.param(member, sync_class, RENAMED.get(name, name), id=f"{sync_class.__name__}.{name}"))
    return found


def parameters(member: Any) -> list[tuple[str, Any, Any]]:
    function = member.__func__ if isinstance(member, classmethod) else member
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values() if p.name not in EXTRA_PARAMETERS]


def first_line(member: Any) -> str:
    text = (inspect.getdoc(member) or "").split("\n\n", 1)[0]
    text = re.sub(r"\basync (with|for)\b", r"\1", text).replace("Async", "")
    for old, new in (("tasks", "threads"), ("task", "thread"), ("StopAsyncIteration", "StopIteration")):
        text = text.replace(old, new)
    return " ".join(text.split())


@pytest.mark.parametrize(("member", "sync_class", "name"), pairs_of_names())
def test_every_name_is_there(member: Any, sync_class: type[Any], name: str) -> None:
    other = inspect.getattr_static(sync_class, name, None)
    assert other is not None, f"{sync_class.__name__} has no {name}"
    if inspect.isfunction(member):
        assert inspect.isfunction(other)
        assert parameters(other) == parameters(member)
    elif isinstance(member, classmethod):
        assert isinstance(other, classmethod)
        assert parameters(other) == parameters(member)
    elif isinstance(member, property):
        assert isinstance(other, property)
    if not name.startswith("_"):
        assert first_line(other), f"{sync_class.__name__}.{name} has no docstring"


#: Docstrings that begin otherwise: there is no "await"; settings can be assigned; and so on.
OTHERWISE = {"open", "connect", "autocommit", "listen", "transaction", "stream", "copy", "subscribe", "aclose"}


@pytest.mark.parametrize(("member", "sync_class", "name"), pairs_of_names())
def test_docstrings_say_the_same_first(member: Any, sync_class: type[Any], name: str) -> None:
    if name.startswith("__") or {name, getattr(member, "__name__", name)} & OTHERWISE or not inspect.getdoc(member):
        return
    if inspect.isfunction(member) or isinstance(member, property):
        assert first_line(inspect.getattr_static(sync_class, name)) == first_line(member)


@pytest.mark.parametrize(("async_class", "sync_class"), PAIRS, ids=[pair[1].__name__ for pair in PAIRS])
def test_there_is_nothing_else(async_class: type[Any], sync_class: type[Any]) -> None:
    expected = {RENAMED.get(name, name) for name in names(async_class)} | ONLY_SYNC.get(sync_class.__name__, set())
    # Attributes that are set in the asynchronous class's __init__ are properties here.
    instance_attributes = {"force_rollback", "arraysize", "format", "info", "name", "close_returns", "num_workers"}
    assert set(names(sync_class)) - expected - instance_attributes == set()


def test_listen_functions() -> None:
    assert parameters(sync.listen) == parameters(anyq.listen)


@pytest.mark.parametrize("sync_class", [pair[1] for pair in PAIRS], ids=[pair[1].__name__ for pair in PAIRS])
def test_nothing_is_a_coroutine(sync_class: type[Any]) -> None:
    assert not [name for name, member in names(sync_class).items() if inspect.iscoroutinefunction(member)]


def test_the_module_has_both() -> None:
    for name in anyq.__all__:
        if name.startswith("Async") and name not in ("AsyncConnecting",):
            assert hasattr(anyq, name.removeprefix("Async")), name
    assert anyq.connect == anyq.Connection.connect
