"""XML: the same str from both formats, in every client encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import Format
from anyq.errors import FeatureNotSupported
from anyq.postgres import types
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, load, transformer

if TYPE_CHECKING:
    from anyq import AsyncConnection

#: In binary, and in text.
DOCUMENTS = [
    (b"<a/>", "<a/>"),
    (b'<?xml version="1.0" encoding="LATIN1"?>\xe9<a/>', "é<a/>"),
    (b'<?xml version="1.0" encoding="LATIN1"?>\n<a/>', "<a/>"),
    (b'<?xml version="1.1" encoding="LATIN1"?>\n<a/>', '<?xml version="1.1"?>\n<a/>'),
    (
        b'<?xml version="1.0" encoding="LATIN1" standalone="yes"?>\n<a/>',
        '<?xml version="1.0" standalone="yes"?>\n<a/>',
    ),
    (b'<?xml version="1.1"?><a/>', '<?xml version="1.1"?><a/>'),
    (b'<b><?xml version="1.0" encoding="LATIN1"?></b>', '<b><?xml version="1.0" encoding="LATIN1"?></b>'),
]


@pytest.mark.parametrize(("binary", "text"), DOCUMENTS)
def test_the_declaration_names_no_encoding(binary: bytes, text: str) -> None:
    tx = transformer("iso8859-1")
    assert load(binary, "xml", Format.BINARY, tx) == text
    assert load(text.encode("latin-1"), "xml", Format.TEXT, tx) == text


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=12))
def test_hostile_bytes(data: bytes, format: Format) -> None:
    check_hostile(data, "xml", format)
    check_hostile(b'<?xml version="1.0" encoding="' + data, "xml", format)


async def skip_without_xml(conn: AsyncConnection[Any]) -> None:
    try:
        await conn.execute(b"SELECT '<a/>'::xml")
    except FeatureNotSupported:
        pytest.skip("this server is built without libxml")
    finally:
        await conn.rollback()


@pytest.mark.anyio
@pytest.mark.parametrize("encoding", ["UTF8", "LATIN1", "SJIS"])
async def test_a_server_gives_the_same(conn: AsyncConnection[Any], encoding: str) -> None:
    await skip_without_xml(conn)
    await conn.execute(f"SET client_encoding TO '{encoding}'".encode())
    for start in (
        "",
        "\n",
        '<?xml version="1.0"?>\n',
        '<?xml version="1.1"?>',
        '<?xml version="1.0" standalone="no"?>',
    ):
        query = sql.SQL("SELECT {0}::xml, ARRAY[{0}::xml]").format(f"{start}<a>b</a>")
        rows = [await (await conn.execute(query, (), binary=binary)).fetchone() for binary in (False, True)]
        assert rows[0] == rows[1]


@pytest.mark.anyio
@pytest.mark.any_loop
@pytest.mark.parametrize(
    "document",
    ["<a>é</a>", '<?xml version="1.0" encoding="LATIN1"?><a>é</a>', "<?xml version='1.1' encoding='x-y' ?>é", "é"],
)
async def test_written_in_both_formats(conn: AsyncConnection[Any], document: str) -> None:
    """In binary the server would take a document in UTF-8 for one in the encoding that it declares."""
    binary = transformer("iso8859-1").get_dumper_by_oid(types["xml"].oid, Format.BINARY).dump(document)
    assert binary is not None
    assert b"encoding" not in bytes(binary)
    assert "é".encode() in bytes(binary)
    await skip_without_xml(conn)
    await conn.execute("SET client_encoding TO 'LATIN1'; CREATE TEMPORARY TABLE documents (a xml)")
    for form in ("text", "binary"):
        async with conn.cursor().copy(f"COPY documents FROM STDIN (FORMAT {form})") as copy:
            copy.set_types(["xml"])
            await copy.write_row((document,))
    [one, two] = await (await conn.execute("SELECT a, ARRAY[a] FROM documents")).fetchall()
    assert one == two
    assert "é" in one[0]
    assert "encoding" not in one[0]
