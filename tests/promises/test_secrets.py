"""A password is in no message, repr, traceback or log, wherever it comes from and whatever goes wrong."""

from __future__ import annotations

import functools
import logging
import secrets
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import anyio.lowlevel
import pytest

import anyq
from anyq import errors as e
from anyq.conninfo import conninfo_to_dict, make_conninfo
from anyq.protocol import messages as be
from anyq.protocol.auth.verifiers import encrypt_password
from tests.support import frontend_messages as fm
from tests.support.fakeserver import FakeClient, fake_server
from tests.support.server import Server

pytestmark = pytest.mark.anyio

#: Not written down anywhere, so that no line of source code in a traceback has it.
SECRET = secrets.token_hex(8)

Options = dict[str, Any]
Given = tuple[str, Options]


class Sources:
    """Ways to give a password. Each returns the arguments of connect()."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self._monkeypatch = monkeypatch
        self._folder = folder

    def keyword(self, password: str, options: Options) -> Given:
        return "", {**options, "password": password}

    def string(self, password: str, options: Options) -> Given:
        # Not by make_conninfo(), which looks at the values.
        escaped = password.replace("\\", "\\\\").replace("'", "\\'")
        return f"{make_conninfo(**options)} password='{escaped}'", {}

    def uri(self, password: str, options: Options) -> Given:
        encoded = quote(password, safe="", errors="surrogatepass")
        query = "&".join([f"{keyword}={quote(str(value), safe='')}" for keyword, value in options.items()])
        return f"postgresql://:{encoded}@?{query}", {}

    def environment(self, password: str, options: Options) -> Given:
        if "\0" in password:
            pytest.skip("cannot be")
        self._monkeypatch.setenv("PGPASSWORD", password)
        return "", options

    def passfile(self, password: str, options: Options) -> Given:
        escaped = password.replace("\\", "\\\\").replace(":", "\\:")
        return "", {**options, "passfile": self._write(f"*:*:*:*:{escaped}\n")}

    def function(self, password: str, options: Options) -> Given:
        return "", {**options, "password": lambda host: password}

    def service(self, password: str, options: Options) -> Given:
        return "", {**options, "service": "x", "servicefile": self._write(f"[x]\npassword={password}\n")}

    def _write(self, text: str) -> str:
        path = self._folder / "file"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        path.chmod(0o600)
        return str(path)


SOURCES = [name for name in vars(Sources) if not name.startswith("_")]


@pytest.fixture(params=SOURCES)
def give(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, Options], Given]:
    give: Callable[[str, Options], Given] = getattr(Sources(monkeypatch, tmp_path), request.param)
    return give


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Everything that is logged, which must not have it either."""
    with caplog.at_level(logging.DEBUG):
        yield caplog
    assert SECRET not in caplog.text
    assert all(SECRET not in repr(vars(record)) for record in caplog.records)


TESTS = str(Path(__file__).parent.parent)


def local_variables(error: BaseException) -> str:
    """Return what tools show that capture the local variables of a traceback; those of the user's frames are his."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return "\n".join(
        f"{frame.f_code.co_filename} {frame.f_code.co_name}: {name} = {value!r}"
        for frame in frames
        if not frame.f_code.co_filename.startswith(TESTS)
        for name, value in frame.f_locals.items()
    )


def told(error: BaseException) -> str:
    """Return all that an error tells, and the errors before it."""
    chain: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is not None and each not in chain:
            chain.append(each)
            todo += [each.__cause__, each.__context__]
    texts = [f"{each}{each!r}{each.args!r}{vars(each)}{getattr(each, 'diag', '')!r}" for each in chain]
    return "\n".join([*texts, *traceback.format_exception(error), *map(local_variables, chain)])


async def fails(given: Given, error: type[BaseException]) -> None:
    conninfo, options = given
    connecting = anyq.AsyncConnection.connect(conninfo, **options)
    assert SECRET not in repr(connecting)
    with pytest.raises(error) as caught:
        await connecting
    assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


def test_what_is_told_can_tell() -> None:
    for cause in (ValueError(SECRET), None):
        try:
            try:
                raise ValueError(SECRET)
            except ValueError:
                raise e.OperationalError("harmless") from cause
        except e.OperationalError as error:
            assert SECRET in told(error)


# --- a real server ---


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password"])
async def test_wrong_password(give: Callable[[str, Options], Given], embedded_server: Server, method: str) -> None:
    options = conninfo_to_dict(embedded_server.role_dsn(method))
    del options["password"]
    await fails(give(SECRET, options), e.InvalidPassword)


async def test_right_password(embedded_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    options = conninfo_to_dict(embedded_server.role_dsn("scram-sha-256"))
    password = options.pop("password")
    for name in SOURCES:
        with monkeypatch.context() as patch:
            conninfo, given = getattr(Sources(patch, tmp_path), name)(password, options)
            async with anyq.AsyncConnection.connect(conninfo, **given) as conn:
                assert conn.info.password == ("" if name == "function" else password)
                told = [repr(conn), repr(conn.info), str(conn), conn.info.dsn, str(conn.info.get_parameters())]
                assert password not in "".join(told)
            with pytest.raises(e.OperationalError) as caught:
                await conn.execute("SELECT 1")
            assert password not in str(caught.value) + repr(conn) + conn.info.error_message


async def test_refused_user(give: Callable[[str, Options], Given], embedded_server: Server) -> None:
    options = conninfo_to_dict(embedded_server.role_dsn("reject"))
    del options["password"]
    await fails(give(SECRET, options), e.OperationalError)


# --- passwords that cannot be ---


@pytest.mark.parametrize(
    "password",
    [f"{SECRET}\0", f"{SECRET}\udcff", f"\udcff{SECRET}", f"{SECRET}\udcff\0"],
    ids=["nul", "surrogate after", "surrogate before", "both"],
)
async def test_what_cannot_be_sent(give: Callable[[str, Options], Given], password: str) -> None:
    conninfo, options = give(password, {"host": "h", "user": "u"})
    if callable(options.get("password")):
        pytest.skip("known only when a server asks: see the next test")
    await fails((conninfo, options), e.ProgrammingError)


@pytest.mark.parametrize("password", [f"{SECRET}\0", f"{SECRET}\udcff"], ids=["nul", "surrogate"])
@pytest.mark.parametrize(
    "request_",
    [
        be.AuthenticationCleartextPassword(),
        be.AuthenticationMD5Password(b"salt"),
        be.AuthenticationSASL(("SCRAM-SHA-256",)),
    ],
    ids=["cleartext", "md5", "scram"],
)
async def test_what_a_function_gives(request_: be.Authentication, password: str) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(request_)
        first = await client.receive()
        if first is not None and isinstance(request_, be.AuthenticationSASL):
            first = fm.as_kind(first, fm.SASLInitialResponse)
            assert isinstance(first, fm.SASLInitialResponse) and first.data is not None
            nonce = first.data.split(b"r=")[1]
            await client.send(be.AuthenticationSASLContinue(b"r=" + nonce + b"x,s=c2FsdA==,i=4096"))
            await client.receive()

    async with fake_server(script) as server:
        await fails((server.conninfo, {"password": lambda host: password}), e.OperationalError)


@pytest.mark.any_loop
@pytest.mark.parametrize("request_", [be.AuthenticationCleartextPassword(), be.AuthenticationMD5Password(b"salt")])
async def test_what_is_too_long(give: Callable[[str, Options], Given], request_: be.Authentication) -> None:
    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(request_)
        await client.receive()

    async with fake_server(script) as server:
        await fails(give(SECRET * 10_000, conninfo_to_dict(server.conninfo)), e.OperationalError)


@pytest.mark.any_loop
@pytest.mark.parametrize(
    "options",
    [
        {"host": "h", "user": "u", "gsslib": "gssapi"},
        {"host": "h", "user": "u", "keepalives": "maybe"},
        {"host": "h", "user": "u", "connect_timeout": "soon"},
        {"host": "h", "user": "u", "target_session_attrs": "master"},
        {"host": "h,i", "user": "u", "port": "1,2,3"},
        {"host": "h", "user": "u", "port": "x"},
        {"hostaddr": "h", "user": "u"},
    ],
)
async def test_other_options_are_wrong(give: Callable[[str, Options], Given], options: Options) -> None:
    await fails(give(SECRET, options), e.Error)


@pytest.mark.parametrize("keyword", ["sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"])
async def test_other_secrets(keyword: str) -> None:
    for given in [
        ("host=h user=u port=1", {keyword: f"{SECRET}\0"}),
        (f"host=h user=u port=x {keyword}={SECRET}", {}),
        (f"host=h user=u gsslib=x {keyword}={SECRET}", {}),
        (f"host=h user=u {keyword}={SECRET} {SECRET}", {}),
        (f"host=h user=u {keyword}={SECRET} {SECRET}=1", {}),
    ]:
        await fails(given, e.Error)


# --- servers that are not there, or not what they should be ---


async def test_nobody_there(give: Callable[[str, Options], Given]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        options = {"host": "127.0.0.1,127.0.0.1", "user": "u", "port": str(unused.getsockname()[1])}
        await fails(give(SECRET, options), e.OperationalError)


async def http(client: FakeClient) -> None:
    await client.receive()
    await client.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def kerberos(client: FakeClient) -> None:
    await client.expect(fm.Startup)
    await client.send(be.AuthenticationGSS())


async def no_proof(client: FakeClient) -> None:
    await client.expect(fm.Startup)
    await client.send(be.AuthenticationSASL(("SCRAM-SHA-256",)))
    first = await client.expect(fm.SASLInitialResponse)
    assert first.data is not None
    nonce = first.data.split(b"r=")[1]
    await client.send(be.AuthenticationSASLContinue(b"r=" + nonce + b"x,s=c2FsdA==,i=4096"))
    await client.expect(fm.SASLResponse)
    await client.send(be.AuthenticationSASLFinal(b"v=" + b"A" * 43 + b"="))


async def reset(client: FakeClient) -> None:
    await client.expect(fm.Startup)
    await client.send(be.AuthenticationCleartextPassword())
    await client.receive()
    await client.abort()


async def garbage(client: FakeClient) -> None:
    await client.expect(fm.Startup)
    await client.send(be.AuthenticationCleartextPassword())
    await client.receive()
    await client.send(be.AuthenticationOk())
    await client.send_raw(b"nonsense")


@pytest.mark.parametrize("script", [http, kerberos, no_proof, reset, garbage])
async def test_servers_that_are_none(
    give: Callable[[str, Options], Given], script: Callable[[FakeClient], Awaitable[None]]
) -> None:
    async with fake_server(script) as server:
        await fails(give(SECRET, conninfo_to_dict(server.conninfo)), e.Error)


async def test_no_answer(give: Callable[[str, Options], Given]) -> None:
    async with fake_server(FakeClient.stall) as server:
        options = {**conninfo_to_dict(server.conninfo), "connect_timeout": "0.05"}
        await fails(give(SECRET, options), e.ConnectionTimeout)


async def test_cancelled() -> None:
    asked = anyio.Event()

    async def script(client: FakeClient) -> None:
        await client.expect(fm.Startup)
        await client.send(be.AuthenticationCleartextPassword())
        await client.receive()
        asked.set()
        await client.stall()

    caught: list[BaseException] = []

    async def connect(conninfo: str) -> None:
        try:
            await anyq.AsyncConnection.connect(conninfo, password=SECRET)
        except BaseException as error:
            caught.append(error)
            raise

    async with fake_server(script) as server, anyio.create_task_group() as group:
        group.start_soon(connect, server.conninfo)
        await asked.wait()
        group.cancel_scope.cancel()
    assert SECRET not in told(caught[0])


# --- those who are not connect()


@pytest.mark.parametrize(
    "options",
    [
        {"host": "/nowhere", "user": "u"},
        {"host": "h", "user": "u", "port": "x"},
        {"host": "h", "user": "u", "gsslib": "gssapi"},
        {"host": "h", "user": "u", "busy_wait": 7.0},
        {"host": "h", "user": "u", "row_factory": 1},
    ],
)
def test_synchronous(give: Callable[[str, Options], Given], options: Options, request: pytest.FixtureRequest) -> None:
    own = {name: options.pop(name) for name in ("busy_wait", "row_factory") if name in options}
    conninfo, given = give(SECRET, options)
    with pytest.raises(e.Error) as caught:
        anyq.connect(conninfo, **given, **own)
    assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


def test_synchronous_login(give: Callable[[str, Options], Given], embedded_server: Server) -> None:
    for method in ("scram-sha-256", "md5", "password", "reject"):
        options = conninfo_to_dict(embedded_server.role_dsn(method))
        del options["password"]
        conninfo, given = give(SECRET, options)
        with pytest.raises(e.OperationalError) as caught:
            anyq.connect(conninfo, **given)
        assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


@pytest.mark.parametrize("options", [{"host": "/nowhere"}, {"port": "x"}, {"stream": None}, {"keepalives": "maybe"}])
async def test_listeners(options: Options) -> None:
    for given in (f"user=u password={SECRET}", f"postgresql://u:{SECRET}@"):
        with pytest.raises((e.Error, TypeError)) as caught:
            async with anyq.listen(given, "a", **options, password=SECRET):
                pass
        assert [line for line in told(caught.value).split("\n") if SECRET in line] == []
        with (
            pytest.raises((e.Error, TypeError)) as caught,
            anyq.sync.listen(given, "a", **options, password=SECRET),
        ):
            pass
        assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


async def test_a_listener_of_no_channel() -> None:
    with pytest.raises(e.ProgrammingError) as caught:
        anyq.listen(f"user=u password={SECRET}", "", password=SECRET)
    assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


@pytest.mark.parametrize(
    "given",
    [
        "user=u password='<secret>",
        "user=u password=<secret> <secret>",
        "postgresql://u:<secret>%@h",
        "postgresql://u:<secret>/@h:1",
        "postgresql://u:<secret>@[h",
        "postgresql://u@h/d?password=<secret>&x",
        "postgresql+psycopg://u:<secret>@h",
        "<secret>",
    ],
)
@pytest.mark.parametrize(
    "parse", [anyq.conninfo.parse_conninfo, conninfo_to_dict, make_conninfo, anyq.connect, anyq.sync.connect]
)
def test_connection_strings(parse: Callable[[str], object], given: str) -> None:
    with pytest.raises(e.ProgrammingError) as caught:
        parse(given.replace("<secret>", SECRET))
    assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


async def test_changed(embedded_server: Server) -> None:
    async with anyq.AsyncConnection.connect(embedded_server.dsn) as conn:
        for user, password in ((f"{SECRET[:4]} nobody", SECRET), ("postgres", f"{SECRET}\0"), ("x", f"{SECRET}\udcff")):
            with pytest.raises(e.Error) as caught:
                await conn.change_password(user, password)
            assert [line for line in told(caught.value).split("\n") if SECRET in line or "SCRAM-" in line] == []
            await conn.rollback()
    for algorithm in ("scram-sha-256", "md5", "no such"):
        with pytest.raises(e.Error) as caught:
            encrypt_password(f"{SECRET}\0", "user", algorithm)
        assert [line for line in told(caught.value).split("\n") if SECRET in line] == []


async def test_what_a_function_raises_is_told_with_its_frames(embedded_server: Server) -> None:
    """It is the user's, who wants to know where; and the driver's own frames know no secret."""

    async def fails_later(host: object) -> str:
        await anyio.lowlevel.checkpoint()
        return await fails_now(host)

    async def fails_now(host: object) -> str:
        raise LookupError("the vault is closed")

    options = conninfo_to_dict(embedded_server.role_dsn("scram-sha-256"))
    del options["password"]
    with pytest.raises(LookupError) as caught:
        await anyq.AsyncConnection.connect(**options, password=functools.partial(fails_later))
    names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert names[-2:] == ["fails_later", "fails_now"]


async def test_what_a_function_was_made_of(embedded_server: Server) -> None:
    def fails(secret: str, host: object) -> str:
        raise LookupError("the vault is closed")

    options = conninfo_to_dict(embedded_server.role_dsn("scram-sha-256"))
    del options["password"]
    with pytest.raises(LookupError) as caught:
        await anyq.AsyncConnection.connect(**options, password=functools.partial(fails, SECRET))
    assert [line for line in told(caught.value).split("\n") if SECRET in line] == []
