"""The drivers that are compared, each behind the interface of `base`."""

from __future__ import annotations

import importlib
from typing import NamedTuple

from .base import Driver, SyncDriver

NO_LOOP = "none"


class Entry(NamedTuple):
    module: str
    name: str
    loop: str
    """The event loop that it is called from."""
    implementation: str | None = None
    """What ANYQ_IMPL is in its process."""

    def make(self) -> Driver | SyncDriver:
        """:raises ImportError: it is not installed, or not in this implementation."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        driver: Driver | SyncDriver = getattr(module, self.name)()
        return driver


def _own() -> dict[str, Entry]:
    found = {}
    for implementation, suffix in (("cython", ""), ("python", "-pure")):
        for loop in ("asyncio", "uvloop", "trio"):
            found[f"anyq-{loop}{suffix}"] = Entry("own", "Anyq", loop, implementation)
        for loop, name in (("", "AnyqSync"), ("-uvloop", "AnyqSyncUvloop"), ("-trio", "AnyqSyncTrio")):
            found[f"anyq-sync{loop}{suffix}"] = Entry("own", name, NO_LOOP, implementation)
    return found


OWN = _own()
"""Those of anyq."""

DRIVERS: dict[str, Entry] = {
    "socket": Entry("blocking_socket", "BlockingSocket", NO_LOOP),
    **OWN,
    "asyncpg-asyncio": Entry("with_asyncpg", "Asyncpg", "asyncio"),
    "asyncpg-uvloop": Entry("with_asyncpg", "Asyncpg", "uvloop"),
    "fastpg-asyncio": Entry("with_fastpg", "Fastpg", "asyncio"),
    "fastpg-uvloop": Entry("with_fastpg", "Fastpg", "uvloop"),
    "psycopg-asyncio": Entry("with_psycopg", "PsycopgAsync", "asyncio"),
    "psycopg-asyncio-binary": Entry("with_psycopg", "PsycopgAsyncBinary", "asyncio"),
    "psycopg-sync": Entry("with_psycopg", "PsycopgSync", NO_LOOP),
    "psycopg-sync-binary": Entry("with_psycopg", "PsycopgSyncBinary", NO_LOOP),
    "psycopg2-sync": Entry("with_psycopg2", "Psycopg2", NO_LOOP),
    "pg8000-sync": Entry("with_pg8000", "Pg8000", NO_LOOP),
    "psqlpy-asyncio": Entry("with_psqlpy", "Psqlpy", "asyncio"),
}
