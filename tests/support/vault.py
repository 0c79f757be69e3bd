"""What gives a password when it is asked for, in every way that there is."""

from __future__ import annotations

import functools
import threading
from typing import Any

import anyio
import anyio.from_thread

from anyq.conninfo import HostSpec, PasswordSource
from tests.support.server import Role, Server


def dsn_of(server: Server, role: Role) -> str:
    """The connection string of a role, without its password."""
    return f"host=127.0.0.1 port={server.port} user={role.user} dbname=postgres"


class Vault:
    """Something that keeps a password, asked in every way that there is; notes what it was asked."""

    def __init__(self, password: Any) -> None:
        self.password = password
        self.asked: list[tuple[HostSpec, int]] = []

    def sync(self, host: HostSpec) -> str:
        self.asked.append((host, threading.get_ident()))
        return self.password  # type: ignore[no-any-return]

    async def asynchronous(self, host: HostSpec) -> str:
        await anyio.lowlevel.checkpoint()
        return self.sync(host)

    async def __call__(self, host: HostSpec) -> str:
        return await self.asynchronous(host)

    def partial(self, host: HostSpec, word: str) -> str:
        return self.sync(host)

    def source(self, kind: str) -> PasswordSource:
        sources: dict[str, PasswordSource] = {
            "sync": self.sync,
            "asynchronous": self.asynchronous,
            "callable object": self,
            "partial": functools.partial(self.partial, word="hunter2"),
            "lambda": lambda host: self.asynchronous(host),
        }
        return sources[kind]
