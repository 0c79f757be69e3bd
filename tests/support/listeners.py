"""Servers that listen, hang or are not there, and names that lead to them: for tests of dialing."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest

from anyq.conninfo import ConnectOptions, HostSpec
from anyq.errors import Error
from anyq.transport.dialing import attempts, open_host
from anyq.transport.failures import DialError, combine_errors
from anyq.transport.socket import SocketStream

LOCALHOST = "127.0.0.1"


async def dial(options: ConnectOptions) -> SocketStream:
    """Return a stream to the first host that can be reached, as `startup.opening` goes through them."""
    errors: list[Error] = []
    for host in attempts(options):
        try:
            return await open_host(host, options)
        except DialError as error:
            errors.append(error)
    raise combine_errors(errors)


def options(*hosts: HostSpec, **kwargs: Any) -> ConnectOptions:
    return ConnectOptions(hosts=hosts, user="me", dbname="db", **kwargs)


def tcp(host: str, port: int, hostaddr: str | None = None) -> HostSpec:
    return HostSpec(host, hostaddr, port)


def listen(resources: ExitStack, address: str = LOCALHOST, port: int = 0, backlog: int = 10) -> socket.socket:
    listener = resources.enter_context(socket.socket())
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(backlog)
    listener.settimeout(10)
    return listener


def black_hole(resources: ExitStack) -> socket.socket:
    """Return a listener that answers no more, because its queue is full and nobody accepts."""
    listener = listen(resources, backlog=0)
    for _ in range(4):
        filler = resources.enter_context(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
    return listener


def listen_unix(resources: ExitStack, directory: Path | str, port: int = 5432, backlog: int = 10) -> socket.socket:
    listener = resources.enter_context(socket.socket(socket.AF_UNIX))
    path = f"{directory}/.s.PGSQL.{port}"
    listener.bind("\0" + path[1:] if path.startswith("@") else path)
    listener.listen(backlog)
    listener.settimeout(10)
    return listener


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name have these addresses; return a list that gets each name that is looked up."""
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **kwargs: Any) -> list[Any]:
        asked.append(host)
        await anyio.lowlevel.checkpoint()
        return [info for each in addresses for info in socket.getaddrinfo(each, port, **kwargs)]

    monkeypatch.setattr(anyio, "getaddrinfo", getaddrinfo)
    return asked
