"""Network addresses."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq import sql
from anyq.adapt import Dumper, Format, PyFormat, Transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.types import net
from tests.support.hostile_values import check_hostile
from tests.support.values import FORMATS, PYFORMATS, FakeConnection, dump, load, there_and_back, transformer

if TYPE_CHECKING:
    from anyq import AsyncConnection

# Strategies of st.ip_addresses() prefer special ranges, so plain numbers too.
addresses = (
    st.ip_addresses()
    | st.integers(0, 2**32 - 1).map(IPv4Address)
    | st.integers(0, 2**128 - 1).map(IPv6Address)
    | st.integers(0, 2**32 - 1).map(lambda number: IPv6Address(0xFFFF << 32 | number))
)


@st.composite
def _with_bits(draw: st.DrawFn) -> tuple[Any, int]:
    address = draw(addresses)
    return address, draw(st.integers(0, address.max_prefixlen))


interfaces = _with_bits().map(ip_interface)
networks = _with_bits().map(lambda pair: ip_network(pair, strict=False))


def loaded(value: Any) -> Any:
    """What a parameter is loaded as: an interface with a full mask is an address."""
    is_full = hasattr(value, "ip") and value.network.prefixlen == value.max_prefixlen
    return value.ip if is_full else value


def same(got: Any, expected: Any) -> bool:
    return type(got) is type(expected) and bool(got == expected)


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=addresses | interfaces)
def test_inet_there_and_back(value: Any, format: PyFormat) -> None:
    assert same(there_and_back(value, format), loaded(value))
    assert dump(value, format)[1] == types["inet"].oid
    [got] = there_and_back([value], format)
    assert same(got, loaded(value))


@pytest.mark.parametrize("format", PYFORMATS)
@given(value=networks)
def test_cidr_there_and_back(value: Any, format: PyFormat) -> None:
    assert same(there_and_back(value, format), value)
    assert dump(value, format)[1] == types["cidr"].oid
    assert there_and_back([[value, None]], format) == [[value, None]]


def test_a_full_mask_is_an_address_and_a_cidr_always_a_network() -> None:
    assert load(b"10.0.0.1/24", "inet", Format.TEXT) == ip_interface("10.0.0.1/24")
    for text in (b"10.0.0.1", b"10.0.0.1/32"):
        assert same(load(text, "inet", Format.TEXT), IPv4Address("10.0.0.1"))
    assert same(load(b"::1/128", "inet", Format.TEXT), IPv6Address("::1"))
    assert same(load(b"10.0.0.1/32", "cidr", Format.TEXT), IPv4Network("10.0.0.1/32"))
    assert same(load(b"::1", "cidr", Format.TEXT), IPv6Network("::1/128"))


@pytest.mark.parametrize("format", PYFORMATS)
@pytest.mark.parametrize("make", [ip_address, lambda text: ip_interface(f"{text}/64"), ip_network])
def test_a_zone_is_an_error(make: Any, format: PyFormat) -> None:
    value = make("fe80::1%eth0")
    for parameter in (value, [value]):
        with pytest.raises(DataError, match="no IPv6 zone; pass the address without '%eth0'"):
            dump(parameter, format)
    with pytest.raises(DataError, match="no IPv6 zone"):
        transformer().as_literal(value)


@pytest.mark.parametrize("name", ["inet", "cidr"])
def test_a_zone_is_not_loaded(name: str) -> None:
    with pytest.raises(DataError, match="no IPv6 zone"):
        load(b"fe80::1%eth0", name, Format.TEXT)


@pytest.mark.parametrize("format", PYFORMATS)
def test_lists_of_all_kinds_of_addresses(format: PyFormat) -> None:
    values = [ip_address("10.0.0.1"), None, ip_interface("10.0.0.1/24"), ip_address("::1"), ip_interface("::1/64")]
    assert there_and_back(values, format) == values
    with pytest.raises(DataError, match="mixed types"):
        dump([ip_address("10.0.0.1"), ip_network("10.0.0.0/8")], format)


def test_literals() -> None:
    tx = transformer()
    assert tx.as_literal(ip_address("10.0.0.1")) == b"'10.0.0.1'::inet"
    assert tx.as_literal(ip_interface("10.0.0.1/8")) == b"'10.0.0.1/8'::inet"
    assert tx.as_literal(ip_network("10.0.0.0/8")) == b"'10.0.0.0/8'::cidr"
    assert tx.as_literal([ip_address("::1"), None]) == b"'{::1,NULL}'::inet[]"


@pytest.mark.parametrize("name", ["inet", "cidr", "macaddr", "macaddr8"])
@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=24))
@example(data=b"")
@example(data=b"\2\40\1\4\1\2\3\4")
@example(data=b"\2\41\1\4\1\2\3\4")
@example(data=b"\3\40\1\4\1\2\3\4")
@example(data=b"\2\10\1\4\1\2\3\4")
@example(data="１.2.3.4".encode())
@example(data=b"1.2.3.4/33")
@example(data=b"1.2.3.4/-1")
def test_hostile_bytes(data: bytes, name: str, format: Format) -> None:
    check_hostile(data, name, format)


# -- macaddr


@pytest.mark.parametrize(("name", "size"), [("macaddr", 6), ("macaddr8", 8)])
@given(data=st.data())
def test_mac_addresses(data: st.DataObject, name: str, size: int) -> None:
    packed = data.draw(st.binary(min_size=size, max_size=size))
    text = packed.hex(":")
    tx = transformer()
    assert load(packed, name, Format.BINARY) == load(text.encode(), name, Format.TEXT) == text
    for separator in (":", "-", ""):
        dumper = tx.get_dumper_by_oid(types[name].oid, Format.BINARY)
        assert dumper.dump(packed.hex(separator) if separator else packed.hex()) == packed
    assert tx.get_dumper_by_oid(types[name].oid, Format.TEXT).dump(text) == text.encode()
    by_array = tx.get_dumper_by_oid(types[name].array_oid, Format.BINARY).dump([text, None])
    assert load(bytes(by_array or b""), f"{name}[]", Format.BINARY, tx) == [text, None]


@pytest.mark.parametrize("text", ["", "08:00:2b:01:02", "08:00:2b:01:02:0g", "08:00:2b:01:02:03:04", "é"])
def test_no_mac_address(text: str) -> None:
    with pytest.raises(DataError, match="a MAC address of this type has 6 bytes"):
        transformer().get_dumper_by_oid(types["macaddr"].oid, Format.BINARY).dump(text)


# -- psycopg's names


def test_dumpers_can_be_subclassed_and_registered() -> None:
    class UpsideDown(net.InetBinaryDumper):
        def dump(self, obj: Any) -> bytes:
            return super().dump(obj)[:4] + bytes(reversed(obj.packed))

    class AsText(net.InetLoader):
        def load(self, data: bytes) -> Any:
            return str(super().load(data))

    context = FakeConnection()
    context.adapters.register_dumper(IPv4Address, UpsideDown)
    context.adapters.register_loader("inet", AsText)
    tx = Transformer(context)
    assert there_and_back(IPv4Address("1.2.3.4"), PyFormat.BINARY, tx) == IPv4Address("4.3.2.1")
    assert there_and_back(IPv4Address("1.2.3.4"), PyFormat.TEXT, tx) == "1.2.3.4"
    # Others are as they were.
    assert there_and_back(IPv6Address("::1"), PyFormat.BINARY, tx) == IPv6Address("::1")
    for name in ("AddressBinaryDumper", "InterfaceBinaryDumper", "InterfaceDumper", "NetworkBinaryDumper"):
        assert issubclass(getattr(net, name), Dumper)


# -- with a server


@pytest.mark.anyio
async def test_a_server_gives_them_back(conn: AsyncConnection[Any]) -> None:
    values = [
        *map(ip_address, ("0.0.0.0", "255.255.255.255", "::", "::ffff:1.2.3.4", "2001:db8::1")),
        *map(ip_interface, ("10.0.0.1/24", "10.0.0.1/0", "10.0.0.1/32", "2001:db8::1/64", "::1/0", "::1/128")),
    ]
    expected = tuple(map(loaded, values))
    subnets = tuple(map(ip_network, ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.1/32", "::/0", "2001:db8::/32", "::1/128")))
    for format in PyFormat:
        for binary in (False, True):
            places = ", ".join([f"%{format.value}"] * len(values))
            cursor = await conn.execute(f"SELECT {places}".encode(), values, binary=binary)
            row = await cursor.fetchone()
            assert row == expected
            assert [type(value) for value in row or ()] == [type(value) for value in expected]
            places = ", ".join([f"%{format.value}"] * len(subnets))
            cursor = await conn.execute(f"SELECT {places}".encode(), subnets, binary=binary)
            assert await cursor.fetchone() == subnets
            query = f"SELECT %{format.value}, %{format.value}, %{format.value}::text"
            cursor = await conn.execute(query.encode(), [values, list(subnets), values[5]], binary=binary)
            assert await cursor.fetchone() == (list(expected), list(subnets), "10.0.0.1/24")
    literals = sql.SQL("SELECT {}").format(sql.SQL(", ").join(map(sql.Literal, values)))
    cursor = await conn.execute(literals)
    assert await cursor.fetchone() == expected


@pytest.mark.anyio
async def test_mac_addresses_of_a_server(conn: AsyncConnection[Any]) -> None:
    query = b"SELECT '08002b-010203'::macaddr, '08002b:0102030405'::macaddr8, ARRAY['08002b-010203'::macaddr, NULL]"
    for binary in (False, True):
        cursor = await conn.execute(query, (), binary=binary)
        expected = ("08:00:2b:01:02:03", "08:00:2b:01:02:03:04:05", ["08:00:2b:01:02:03", None])
        assert await cursor.fetchone() == expected
