"""Fields of COPY's text format: escapes, and encodings in which half a character looks like one."""

from __future__ import annotations

import codecs
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.adapt.copy_text import TextSplitter, escape, unescape
from anyq.adapt.encodings import python_codec
from anyq.errors import DataError

ENCODINGS = ["UTF8", "LATIN1", "SJIS", "SHIFT_JIS_2004", "GBK", "BIG5", "GB18030", "UHC", "JOHAB", "EUC_JP", "EUC_KR"]


def codec(name: str) -> str:
    return codecs.lookup(python_codec(name)).name


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"", b""),
        (b"plain", b"plain"),
        (b"\\", rb"\\"),
        (b"\\.", rb"\\."),
        (b"\\N", rb"\\N"),
        (rb"\x41\101", rb"\\x41\\101"),
        (b"\b\t\n\v\f\r", rb"\b\t\n\v\f\r"),
        (b"a\r\nb", rb"a\r\nb"),
        (b"\x01\x07\x0e\x1f\x7f", b"\x01\x07\x0e\x1f\x7f"),
        ("\U0001f418".encode(), "\U0001f418".encode()),
    ],
)
def test_escapes(value: bytes, field: bytes) -> None:
    assert escape(value, "utf-8") == field
    assert unescape(field, "utf-8") == value


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (rb"\101", b"A"),
        (rb"\1018", b"A8"),
        (rb"\0101", b"\x081"),
        (rb"\7", b"\7"),
        (rb"\78", b"\x078"),
        (rb"\501", b"A"),  # the server takes eight bits of it
        (rb"\134n", b"\\n"),
        (rb"\x41", b"A"),
        (rb"\x4", b"\x04"),
        (rb"\x4g", b"\x04g"),
        (rb"\x411", b"A1"),
        (rb"\xaF", b"\xaf"),
        (rb"\xg", b"xg"),
        (rb"\x5cn", b"\\n"),
        (rb"\a\8\.\N", b"a8.N"),
        (rb"\\n\\\n", b"\\n\\\n"),
    ],
)
def test_escapes_that_only_others_write(field: bytes, value: bytes) -> None:
    assert unescape(field, "utf-8") == unescape(field, codec("SJIS")) == value
    wide = "\u8868".encode("shift_jis")
    assert wide == b"\x95\\"
    assert unescape(wide + field + wide, codec("SJIS")) == wide + value + wide
    assert unescape(b"\\" + wide + field, codec("SJIS")) == wide + value


@pytest.mark.parametrize("field", [rb"\000", rb"\x00", rb"\400", b"a\0\\\\"])
@pytest.mark.parametrize("encoding", ["UTF8", "GBK"])
def test_no_nul_is_read(field: bytes, encoding: str) -> None:
    with pytest.raises(DataError, match="NUL"):
        unescape(field, codec(encoding))


@pytest.mark.parametrize("encoding", ["UTF8", "SJIS"])
@pytest.mark.parametrize("value", [b"\0", b"a\0b", b"\\\0", "\u8868".encode("shift_jis") + b"\0"])
def test_no_nul_is_written(value: bytes, encoding: str) -> None:
    with pytest.raises(DataError, match="NUL"):
        escape(value, codec(encoding))


@pytest.mark.parametrize("field", [b"\\", b"a\\", rb"\\" + b"\\", "\u8868".encode("shift_jis") + b"\\"])
def test_nothing_behind_a_backslash(field: bytes) -> None:
    with pytest.raises(DataError, match="ends within an escape"):
        unescape(field, codec("SJIS"))


@pytest.mark.parametrize("encoding", ["SJIS", "GBK", "BIG5", "GB18030", "JOHAB", "SHIFT_JIS_2004"])
def test_halves_of_characters_are_no_backslashes(encoding: str) -> None:
    """And a lone first byte would swallow the escape behind it."""
    name = codec(encoding)
    characters = [chr(code) for code in range(0x80, 0x10000) if not 0xD800 <= code < 0xE000]
    wide: list[bytes] = []
    for character in characters:
        try:
            data = character.encode(name)
        except UnicodeEncodeError:
            continue
        if data[1:].find(b"\\") >= 0 and data != b"\x81\x5f":
            wide.append(data)
    assert len(wide) > 20
    for data in wide:
        assert escape(data, name) == data
        assert unescape(data + b"\\n" + data, name) == data + b"\n" + data
        assert escape(data + b"\\" + data + b"\t", name) == data + b"\\\\" + data + b"\\t"
    with pytest.raises(DataError, match="half a character"):
        escape(b"a\x95", name)


def test_the_wide_backslash_that_the_server_takes_for_the_other() -> None:
    assert escape(b"\x81\x5fn", codec("SHIFT_JIS_2004")) == b"\x81\x5f\x81\x5fn"
    assert escape(b"\x81\x5fn", codec("SJIS")) == b"\x81\x5fn"


@given(
    st.text(st.sampled_from("a\\\t\n\r\b\v\fnN.x41\u8868\u80fd\xe9\U0001f418"), max_size=20), st.sampled_from(ENCODINGS)
)
def test_there_and_back(text: str, encoding: str) -> None:
    name = codec(encoding)
    try:
        value = text.encode(name)
    except UnicodeEncodeError:
        return
    field = escape(value, name)
    assert not set(field) & set(b"\t\n\r")
    assert unescape(field, name) == value


def split(chunks: list[bytes], columns: int | None = None, encoding: str = "utf-8") -> tuple[list[object], str | None]:
    splitter = TextSplitter(encoding, columns)
    records: deque[list[bytes | None]] = deque()
    for chunk in chunks:
        splitter.split(chunk, records)
    return list(records), splitter.missing()


DATA = b"a\t\\N\n\\\\N\t\xc3\xa9\n\t\n"
ROWS = [[b"a", None], [b"\\N", b"\xc3\xa9"], [b"", b""]]


@given(st.lists(st.integers(0, len(DATA))))
def test_it_may_be_cut_anywhere(cuts: list[int]) -> None:
    at = [0, *sorted(cuts), len(DATA)]
    assert split([DATA[a:b] for a, b in zip(at, at[1:], strict=False)]) == (ROWS, None)


def test_it_is_told_where_it_is() -> None:
    splitter = TextSplitter("utf-8", None)
    records: deque[list[bytes | None]] = deque()
    where: list[bool] = []
    for byte in b"a\nb\n":
        splitter.split(bytes((byte,)), records)
        where.append(splitter.is_between_rows)
    assert where == [False, True, False, True]
    assert split([b"a\nb"]) == ([[b"a"]], "within a row")
    assert split([]) == ([], None)


def test_columns() -> None:
    assert split([b"\n\n"], 0)[0] == [[], []]
    assert split([b"\n\n"], 1)[0] == split([b"\n\n"])[0] == [[b""], [b""]]
    for data, columns in ((b"a\tb\n", 1), (b"a\n", 2), (b"a\n", 0), (b"a\nb\tc\n", None)):
        with pytest.raises(DataError, match="columns, expected"):
            split([data], columns)


def test_the_end_that_old_servers_write() -> None:
    assert split([b"a\n\\.\n"]) == split([b"a\n\\", b".", b"\n"]) == ([[b"a"]], None)
    assert split([b"\\\\.\n\\.\n"]) == ([[b"\\."]], None)
    for chunks in ([b"\\.\na\n"], [b"\\.\n", b"a\n"], [b"\\.\n", b"a"], [b"\\.\na"], [b"\\.\n\\.\n"]):
        with pytest.raises(DataError, match="behind its end"):
            split(chunks)
