"""Writers of client messages, held against a parser of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.errors import DataError, LocalProtocolError
from anyq.protocol import constants, frontend
from tests.support import frontend_messages as fm

names = st.binary(max_size=70).map(lambda name: name.replace(b"\0", b"x"))
values = st.lists(st.none() | st.binary(max_size=40), max_size=8)
codes = st.sampled_from([0, 1])
oids = st.integers(0, 2**32 - 1)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)

BEFORE = b"what was there"


def written(write: Callable[..., None], *args: Any, first: bool = False) -> fm.FrontendMessage:
    """Return the one message that `write` appends to a buffer that is not empty."""
    out = bytearray(BEFORE)
    write(out, *args)
    assert out.startswith(BEFORE)
    (message,) = parsed(bytes(out[len(BEFORE) :]), first=first)
    return message


def parsed(data: bytes, first: bool = False) -> list[fm.FrontendMessage]:
    """Return the messages in `data`, which ends with one."""
    stream = fm.FrontendStream()
    stream.started = not first
    stream.feed(data)
    messages: list[fm.FrontendMessage] = []
    while (message := stream.next_message()) is not None:
        messages.append(message)
    assert not stream.buffer
    return messages


def answer(kind: type[fm.M], write: Callable[..., None], *args: Any) -> fm.FrontendMessage:
    return fm.as_kind(written(write, *args), kind)


def refused(error: type[Exception], match: str, write: Callable[..., None], *args: Any) -> None:
    """Check that `write` refuses and appends nothing."""
    out = bytearray(BEFORE)
    with pytest.raises(error, match=match):
        write(out, *args)
    assert out == BEFORE


def formats_for(draw: st.DrawFn, count: int) -> list[int]:
    return draw(st.lists(codes, min_size=count, max_size=count) | st.lists(codes, max_size=1))


@st.composite
def binds(draw: st.DrawFn) -> tuple[bytes, bytes, Sequence[int], list[bytes | None], Sequence[int]]:
    content = draw(values)
    formats = formats_for(draw, len(content))
    return draw(names), draw(names), formats, content, draw(st.lists(codes, max_size=5))


# --- Round trips


@given(
    st.dictionaries(texts.filter(bool), texts),
    st.sampled_from([constants.PROTOCOL_3_0, constants.PROTOCOL_3_2]),
)
def test_startup(params: dict[str, str], version: int) -> None:
    assert written(frontend.startup, params, version, first=True) == fm.Startup(version, params)


def test_startup_is_of_protocol_3_0_by_default() -> None:
    out = bytearray()
    frontend.startup(out, {"user": "me"})
    assert out == b"\0\0\0\x11\0\3\0\0user\0me\0\0"


@given(st.integers(-(2**31), 2**31 - 1), st.binary(min_size=4, max_size=256))
def test_cancel_request(pid: int, secret: bytes) -> None:
    assert written(frontend.cancel_request, pid, secret, first=True) == fm.CancelRequest(pid, secret)


@given(names)
def test_password(password: bytes) -> None:
    assert answer(fm.PasswordMessage, frontend.password, password) == fm.PasswordMessage(password)


@given(st.none() | st.binary())
def test_sasl_initial_response(data: bytes | None) -> None:
    expected = fm.SASLInitialResponse("SCRAM-SHA-256", data)
    assert answer(fm.SASLInitialResponse, frontend.sasl_initial_response, "SCRAM-SHA-256", data) == expected


@given(st.binary())
def test_sasl_response(data: bytes) -> None:
    assert answer(fm.SASLResponse, frontend.sasl_response, data) == fm.SASLResponse(data)


@given(names)
def test_query(sql: bytes) -> None:
    assert written(frontend.query, sql) == fm.Query(sql)


@given(names, names, st.lists(oids, max_size=10))
def test_parse(name: bytes, sql: bytes, types: list[int]) -> None:
    assert written(frontend.parse, name, sql, types) == fm.Parse(name, sql, tuple(types))


@given(binds())
def test_bind(args: tuple[bytes, bytes, list[int], list[bytes | None], list[int]]) -> None:
    portal, statement, formats, content, results = args
    expected = fm.Bind(portal, statement, tuple(formats), tuple(content), tuple(results))
    assert written(frontend.bind, *args) == expected
    # The second time, the constant parts come from a cache.
    assert written(frontend.bind, *args) == expected


@pytest.mark.parametrize("count", [64, 65, 1000, constants.MAX_PARAMETERS])
def test_bind_of_many_values(count: int) -> None:
    formats = [index % 2 for index in range(count)]
    content = [b"%d" % index if index % 3 else None for index in range(count)]
    expected = fm.Bind(b"", b"s", tuple(formats), tuple(content), (1,))
    assert written(frontend.bind, b"", b"s", formats, content, [1]) == expected


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(b"abcdefgh").cast("i"), b"abcdefgh"),
        (memoryview(b"abcdefgh").cast("B", (2, 2, 2)), b"abcdefgh"),
        (memoryview(b""), b""),
    ],
)
def test_any_buffer_is_a_value(value: bytearray | memoryview, content: bytes) -> None:
    assert written(frontend.bind, b"", b"", [], [value], []) == fm.Bind(b"", b"", (), (content,), ())
    assert written(frontend.copy_data, value) == fm.CopyData(content)


def test_bind_reads_format_enum_members() -> None:
    binary = constants.Format.BINARY
    assert written(frontend.bind, b"", b"", [binary], [b"1"], [binary]) == fm.Bind(b"", b"", (1,), (b"1",), (1,))


@given(st.sampled_from([b"S", b"P"]), st.just(b"") | names)
def test_describe_and_close(kind: bytes, name: bytes) -> None:
    assert written(frontend.describe, kind, name) == fm.Describe(kind, name)
    assert written(frontend.close, kind, name) == fm.Close(kind, name)


@pytest.mark.parametrize(
    ("constant", "messages"),
    [
        (frontend.SYNC, [fm.Sync()]),
        (frontend.FLUSH, [fm.Flush()]),
        (frontend.EXECUTE, [fm.Execute(b"", 0)]),
        (frontend.EXECUTE_SYNC, [fm.Execute(b"", 0), fm.Sync()]),
        (frontend.DESCRIBE_EXECUTE, [fm.Describe(b"P", b""), fm.Execute(b"", 0)]),
        (frontend.DESCRIBE_EXECUTE_SYNC, [fm.Describe(b"P", b""), fm.Execute(b"", 0), fm.Sync()]),
        (frontend.COPY_DONE, [fm.CopyDone()]),
        (frontend.TERMINATE, [fm.Terminate()]),
    ],
)
def test_constants(constant: bytes, messages: list[fm.FrontendMessage]) -> None:
    assert parsed(constant) == messages


def test_ssl_request() -> None:
    assert parsed(frontend.SSL_REQUEST, first=True) == [fm.SSLRequest()]


@given(st.binary())
def test_copy_data(data: bytes) -> None:
    assert written(frontend.copy_data, data) == fm.CopyData(data)


@given(st.binary())
def test_copy_fail_says_so_whatever_the_reason(reason: bytes) -> None:
    assert written(frontend.copy_fail, reason) == fm.CopyFail(reason.replace(b"\0", b" "))


def test_copy_fail_cuts_a_long_reason() -> None:
    message = written(frontend.copy_fail, b"x" * 1_000_000)
    assert isinstance(message, fm.CopyFail)
    assert len(message.reason) < 10_000


@given(st.lists(st.sampled_from(["sync", "flush", "parse", "bind"])))
def test_messages_follow_each_other(kinds: list[str]) -> None:
    out = bytearray()
    expected: list[fm.FrontendMessage] = []
    for kind in kinds:
        if kind == "sync":
            out += frontend.SYNC
            expected.append(fm.Sync())
        elif kind == "flush":
            out += frontend.FLUSH
            expected.append(fm.Flush())
        elif kind == "parse":
            frontend.parse(out, b"n", b"select $1", [23])
            expected.append(fm.Parse(b"n", b"select $1", (23,)))
        else:
            frontend.bind(out, b"", b"n", [1], [b"\0\0\0\1"], [1])
            expected.append(fm.Bind(b"", b"n", (1,), (b"\0\0\0\1",), (1,)))
    assert parsed(bytes(out)) == expected


# --- Refusals: nothing is appended


@pytest.mark.parametrize(
    ("write", "args"),
    [
        (frontend.parse, (b"a\0b", b"select 1", [])),
        (frontend.bind, (b"a\0b", b"", [], [], [])),
        (frontend.bind, (b"", b"a\0b", [], [], [])),
        (frontend.describe, (b"S", b"a\0b")),
        (frontend.describe, (b"P", b"\0")),
        (frontend.close, (b"S", b"a\0b")),
    ],
)
def test_a_name_with_nul_is_refused(write: Callable[..., None], args: tuple[Any, ...]) -> None:
    refused(LocalProtocolError, "NUL", write, *args)


@pytest.mark.parametrize(
    ("write", "args"),
    [
        (frontend.query, (b"select '\0'",)),
        (frontend.parse, (b"", b"select '\0'", [])),
        (frontend.password, (b"se\0cret",)),
        (frontend.startup, ({"user": "a\0b"},)),
        (frontend.startup, ({"us\0er": "a"},)),
    ],
)
def test_a_users_text_with_nul_is_refused(write: Callable[..., None], args: tuple[Any, ...]) -> None:
    refused(DataError, "NUL", write, *args)


def test_the_password_is_not_in_the_refusal() -> None:
    with pytest.raises(DataError) as caught:
        frontend.password(bytearray(), b"hunter2\0")
    assert "hunter2" not in str(caught.value)


def test_too_many_parameters_are_refused() -> None:
    count = constants.MAX_PARAMETERS + 1
    refused(DataError, "65535", frontend.bind, b"", b"", [], [None] * count, [])
    refused(DataError, "65535", frontend.parse, b"", b"", [0] * count)
    refused(LocalProtocolError, "65535", frontend.bind, b"", b"", [], [], [0] * count)


def test_messages_too_long_for_a_server_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not with the real limit: it would take gigabytes.
    monkeypatch.setattr(frontend, "MAX_MESSAGE_LENGTH", 100)
    long = b"x" * 100
    for value in (long, bytearray(long), memoryview(long)):
        refused(DataError, "at most 100", frontend.bind, b"", b"", [], [value], [])
        refused(DataError, "at most 100", frontend.copy_data, value)
    refused(DataError, "at most 100", frontend.bind, b"", b"", [], [b"x" * 60, b"x" * 60], [])
    refused(DataError, "at most 100", frontend.query, long)
    refused(DataError, "at most 100", frontend.parse, b"", long, [])
    assert written(frontend.query, b"x" * 95) == fm.Query(b"x" * 95)


def test_start_up_and_authentication_messages_too_long_are_refused() -> None:
    refused(DataError, "10000", frontend.startup, {"user": "x" * 10_000})
    refused(DataError, "65531", frontend.sasl_response, bytes(65_532))
    refused(DataError, "65531", frontend.password, b"x" * 65_531)
    assert answer(fm.SASLResponse, frontend.sasl_response, bytes(65_531)) == fm.SASLResponse(bytes(65_531))


@pytest.mark.parametrize(
    ("write", "args", "match"),
    [
        (frontend.startup, ({"": "x"},), "name"),
        (frontend.cancel_request, (1, b"abc"), "4 to 256 bytes, not 3"),
        (frontend.cancel_request, (1, bytes(257)), "not 257"),
        (frontend.cancel_request, (2**31, b"abcd"), "process id"),
        (frontend.sasl_initial_response, ("A\0B", None), "mechanism"),
        (frontend.sasl_initial_response, ("É", None), "mechanism"),
        (frontend.parse, (b"", b"", [-1]), "oid"),
        (frontend.parse, (b"", b"", [2**32]), "oid"),
        (frontend.bind, (b"", b"", [2], [b""], []), "format code"),
        (frontend.bind, (b"", b"", [], [], [-1]), "format code"),
        (frontend.bind, (b"", b"", [0, 1], [b""], []), "2 format codes for 1"),
        (frontend.bind, (b"", b"", [0, 1], [b"", b"", b""], []), "2 format codes for 3"),
        (frontend.describe, (b"X", b""), "neither"),
        (frontend.close, (b"", b""), "neither"),
    ],
)
def test_our_own_mistakes_are_refused(write: Callable[..., None], args: tuple[Any, ...], match: str) -> None:
    refused(LocalProtocolError, match, write, *args)


def test_a_lone_surrogate_in_a_start_up_parameter_is_refused() -> None:
    refused(DataError, "UTF-8", frontend.startup, {"user": "\ud800"})


@pytest.mark.parametrize("value", ["text", 5, object()])
def test_a_value_that_is_no_buffer_is_refused(value: object) -> None:
    refused(TypeError, "bytes-like", frontend.bind, b"", b"", [], [b"1", value], [])
