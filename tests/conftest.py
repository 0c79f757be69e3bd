"""Fixtures of the whole suite.

Asynchronous tests carry `pytestmark = pytest.mark.anyio` and run on asyncio, on asyncio with uvloop, and on
trio. Those that are about values, SQL or what the server says, and would say the same on each of them, carry
`any_loop` as well, or are in one of `ANY_LOOP`: they run on one, which is another one from test to test. The server
starts when the first test asks for it: tests/protocol/ runs without one. Each pytest-xdist worker has its own, or, on a
server that was named, a database of its own.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib.util
import os
import re
import secrets
import signal
import socket
import zlib
from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import HealthCheck, settings

from anyq import _accel
from anyq.cli.embedded import ServerUnavailable
from tests.support import blocked
from tests.support.server import BINDIR, Server, external_dsn, open_server

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

    # At run time a fixture imports it: tests of single modules do not need the whole driver to import.
    from anyq import AsyncConnection
    from tests.support.certificates import Certificates
    from tests.support.tls_server import TlsServer

# How long an example takes says more about the machine than about the code.
settings.register_profile(
    "anyq",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    max_examples=int(os.environ.get("ANYQ_TEST_EXAMPLES", "50")),
)
settings.load_profile("anyq")

_HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None
_no_uvloop = pytest.mark.skipif(not _HAS_UVLOOP, reason="uvloop is not available for this platform or Python")


#: Folders of tests that are about values and SQL; what an event loop does with their bytes is tested elsewhere.
ANY_LOOP = {"adapt", "statements", "types"}

#: Seconds that fixtures may take to end after a test, more than a cancelled operation's grace period.
TEARDOWN_TIMEOUT = 20


@pytest.fixture(scope="session")
def psycopg() -> Any:
    """libpq to compare with. Skips: in a property test's body that would look like a failing example."""
    return pytest.importorskip("psycopg")


def pytest_report_header() -> str:
    server = "one that was named" if external_dsn() else BINDIR or "of the installed package"
    return f"anyq: the {_accel.implementation} implementation; server: {server}"


def _refuse_what_is_out_of_date() -> None:
    """A compiled form stands before its source: one that is older than that would be tested in its place."""
    package = Path(_accel.__file__).parents[1]
    if package.parent != Path(__file__).parents[1]:
        return  # What is installed was built of what it came with.
    for form in (package / "compiled").rglob("*" + EXTENSION_SUFFIXES[0]):
        source = package / form.relative_to(package / "compiled").with_name(form.name.partition(".")[0] + ".py")
        if _accel.implementation != "python" and source.stat().st_mtime > form.stat().st_mtime:
            raise pytest.UsageError(
                f"{source} has changed since it was compiled: build it by python setup.py build_ext --inplace, or run "
                "this with ANYQ_IMPL=python"
            )


def pytest_configure(config: pytest.Config) -> None:
    blocked.install()
    _refuse_what_is_out_of_date()
    # A shell that runs the tests in the background has them ignore Ctrl-C, and so do the programs that they start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # PG* variables that nobody meant for the tests must not change what they connect to, nor how.
    if external_dsn() is None:
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[name]
        # Nor may the passwords of whoever runs them: this file does not exist.
        os.environ["PGPASSFILE"] = os.path.join(os.path.dirname(__file__), "no-password-file")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the event loops that were not asked for, and those that say nothing else of a test.

    ANYQ_TEST_LOOPS is `asyncio`, `uvloop`, `trio`, or several. A test that is marked `any_loop` runs on one of them.
    """
    wanted = os.environ.get("ANYQ_TEST_LOOPS", "").split() or ["asyncio", "uvloop", "trio"]
    unknown = set(wanted) - {"asyncio", "uvloop", "trio"}
    if unknown:
        raise pytest.UsageError(f"ANYQ_TEST_LOOPS knows asyncio, uvloop and trio, not {', '.join(sorted(unknown))}")
    alike: dict[str, list[pytest.Item]] = {}
    for item in items:
        loop = _loop_of(item)
        if loop in wanted and _is_for_any(item) and (loop != "uvloop" or _HAS_UVLOOP):
            alike.setdefault(_name_without(loop, item), []).append(item)
    # Another loop for each test, and the same one each time.
    drawn = {tests[zlib.crc32(name.encode()) % len(tests)] for name, tests in alike.items()}
    chosen = []
    for item in items:
        loop = _loop_of(item)
        if loop is None or (item in drawn if _is_for_any(item) else loop in wanted):
            chosen.append(item)
    kept = set(chosen)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = chosen


def pytest_collection(session: pytest.Session) -> None:
    # Nothing of what is made now is garbage.
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Keep the garbage collector from going through 20,000 tests each time that one of them calls it."""
    gc.freeze()
    gc.enable()


def _loop_of(item: pytest.Item) -> str | None:
    """Return the name of the event loop that a test runs on; None if it has not the choice."""
    callspec = getattr(item, "callspec", None)
    params = {} if callspec is None else callspec.params
    backend = params.get("anyio_backend") or params.get("portal_backend")
    if not isinstance(backend, tuple):
        return backend
    name, options = backend
    return "uvloop" if options.get("use_uvloop") else name


@cache
def _folder_of(path: Path) -> str:
    return path.relative_to(Path(__file__).parent).parts[0]


def _is_for_any(item: pytest.Item) -> bool:
    # A synchronous test, in another way than calls are made in.
    other_way = getattr(item, "callspec", None) and item.callspec.params.get("way", "direct") != "direct"  # type: ignore[attr-defined]
    one_will_do = other_way and "ANYQ_TEST_SYNC" not in os.environ
    return _folder_of(item.path) in ANY_LOOP or one_will_do or item.get_closest_marker("any_loop") is not None


def _name_without(loop: str, item: pytest.Item) -> str:
    """Return what a test has in common with those that differ from it in nothing but the event loop."""
    return re.sub(rf"(?<=[\[-]){loop}(?=[\]-])", "", item.nodeid, count=1)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Guard the end of a test too: pytest-timeout stops its clock for good when the test fails.

    A connection that a failed test left in a bad state may never close, and then the event loop of its fixtures is of
    no use to later tests either: so the process ends, as pytest-timeout does it, and pytest-xdist goes on with another.
    """
    faulthandler.dump_traceback_later(TEARDOWN_TIMEOUT, exit=True)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop", marks=_no_uvloop),
        pytest.param(("trio", {}), id="trio"),
    ],
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The event loop that an asynchronous test runs on."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The server of this session, started at the first use."""
    try:
        running = open_server()
    except ServerUnavailable as error:
        pytest.fail(f"{error}\nOr name a server to test on in ANYQ_TEST_DSN.", pytrace=False)
    yield running
    running.close()


@pytest.fixture
def embedded_server(server: Server) -> Server:
    """The server, for tests that need its files, its TCP port or its roles, or that restart it."""
    if not server.is_embedded:
        pytest.skip("needs the embedded server, and the tests were given an external one")
    return server


@pytest.fixture(scope="session")
def dsn(server: Server) -> str:
    """The connection string of the server."""
    return server.dsn


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of all kinds, right and wrong, in files."""
    from tests.support.certificates import Certificates

    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def tls_portal() -> Iterator[BlockingPortal]:
    """The event loop, in a thread, of proxies that have TLS for the embedded server."""
    from anyio.from_thread import start_blocking_portal

    with start_blocking_portal("asyncio") as portal:
        yield portal


@pytest.fixture(scope="session")
def tls_server(certificates: Certificates) -> Iterator[TlsServer]:
    """A PostgreSQL that has TLS itself, where the machine has one."""
    from tests.support.tls_server import TlsServer

    try:
        server = TlsServer(certificates)
    except ServerUnavailable as error:
        pytest.skip(str(error))
    yield server
    server.close()


@pytest.fixture
async def conn(anyio_backend: object, dsn: str) -> AsyncIterator[AsyncConnection]:
    """A connection to the server, not in autocommit mode, closed after the test."""
    from anyq import AsyncConnection

    async with AsyncConnection.connect(dsn) as connection:
        yield connection


@pytest.fixture
async def schema(anyio_backend: object, dsn: str) -> AsyncIterator[str]:
    """The name of a new schema, for what cannot be temporary; dropped after the test with all its content."""
    from anyq import AsyncConnection

    name = f"anyq_test_{secrets.token_hex(6)}"
    async with AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(f"CREATE SCHEMA {name}".encode())
        yield name
        await connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture
async def warm_loop(anyio_backend: Any) -> None:
    """Let anyio start its thread, with sockets of its own, if the loop cannot watch any."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        await anyio.wait_writable(ours)
