"""Listener in synchronous code."""

from __future__ import annotations

import gc
import socket
from typing import Any

import pytest

import anyq
from anyq.sync import listen
from tests.support.activity import PATIENCE


def test_a_listener_comes_back(observer: anyq.Connection, dsn: str) -> None:
    with anyq.sync.timeout(30), listen(dsn, "a") as listener:
        observer.notify("a", "one")
        events = iter(listener)
        assert next(events) == anyq.Notify("a", "one", observer.info.backend_pid)
        connection = listener.connection
        assert connection is not None and connection.execute("SELECT 1").fetchone() == (1,)
        observer.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        assert isinstance(next(events), anyq.Gap)
        with listener.subscribe("b") as stream:
            observer.notify("b", "two")
            event: Any = stream.receive()
            assert event.payload == "two"
        observer.notify("a", "three")
        event = listener.stream.receive()
        assert event.payload == "three"
    assert listener.connection is None


def test_the_connection_of_the_moment_does_not_keep_the_portal_nor_stop_it(portal_backend: object, dsn: str) -> None:
    """Whoever holds it may forget it or close it: the listener goes on."""
    with anyq.sync.timeout(PATIENCE), listen(dsn, "a") as listener:
        assert listener.connection is not None
        listener.connection.notify("a", "one")
        gc.collect()
        event: Any = listener.stream.receive()
        assert event.payload == "one"
        listener.connection.close()
        assert isinstance(listener.stream.receive(), anyq.Gap)


def test_errors_of_the_first_connection(portal_backend: object) -> None:
    with pytest.raises(anyq.OperationalError), listen("host=/nowhere", "a"):
        pass


def test_an_error_of_the_body_goes_on_as_it_is(portal_backend: object, dsn: str) -> None:
    with pytest.raises(ZeroDivisionError), listen(dsn, "a"):
        raise ZeroDivisionError


def test_wrong_use(portal_backend: object, dsn: str) -> None:
    listener = listen(dsn)
    with pytest.raises(anyq.InterfaceError, match="enter the listener first"), listener.subscribe("a"):
        pass
    with listener, pytest.raises(anyq.InterfaceError, match="no channels of its own"):
        iter(listener)
    with pytest.raises(anyq.InterfaceError, match="once"), listener:
        pass
    with pytest.raises(anyq.InterfaceError, match="enter the listener first"):
        iter(listen(dsn, "a"))


def test_an_interrupted_start_leaves_nothing(portal_backend: object) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with anyq.sync.timeout(0.05), pytest.raises(anyq.errors.OperationTimeout):
            listen(f"host=127.0.0.1 port={port} user=x sslmode=disable", "a").__enter__()
