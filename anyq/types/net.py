"""Network addresses: inet, cidr, macaddr, macaddr8.

Knows that inet is an address of :mod:`ipaddress` or, with a mask that is not the full one, an interface; that cidr is
always a network; and that Python has no class for macaddr and macaddr8, which are str as the server writes them
(PostgreSQL manual, "Network Address Types"; src/backend/utils/adt/network.c, mac.c, mac8.c). Must not know other types.

An IPv6 zone (`fe80::1%eth0`) has no place in PostgreSQL: such an address is a `DataError`.
"""

from __future__ import annotations

from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from typing import TypeAlias

from .._accel import twin
from .._accel.failures import shown
from ..adapt.adapters_map import AdaptContext
from ..adapt.base import Dumper, Loader
from ..adapt.encodings import encode_text, encoding_to_write
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..protocol.constants import Format
from .string import AsciiLoader

__all__ = [
    "Address",
    "AddressBinaryDumper",
    "CidrBinaryLoader",
    "CidrLoader",
    "InetBinaryDumper",
    "InetBinaryLoader",
    "InetLoader",
    "Interface",
    "InterfaceBinaryDumper",
    "InterfaceDumper",
    "Macaddr8BinaryDumper",
    "Macaddr8Dumper",
    "MacaddrBinaryDumper",
    "MacaddrBinaryLoader",
    "MacaddrDumper",
    "Network",
    "NetworkBinaryDumper",
    "NetworkDumper",
    "register_default_adapters",
]

Address: TypeAlias = IPv4Address | IPv6Address
Interface: TypeAlias = IPv4Interface | IPv6Interface
Network: TypeAlias = IPv4Network | IPv6Network

_INET = global_types["inet"].oid
_CIDR = global_types["cidr"].oid

# src/include/utils/inet.h: PGSQL_AF_INET, PGSQL_AF_INET6. The binary format is the family, the bits of the mask,
# whether it is cidr, the number of bytes, and the bytes.
_IPV4 = 2
_IPV6 = 3
_HEADER_SIZE = 4


def _refuse_zone(obj: Address) -> None:
    if obj.version == 6 and obj.scope_id:
        raise DataError(
            f"cannot dump {str(obj)!r}: inet and cidr have no IPv6 zone;"
            f" pass the address without {'%' + obj.scope_id!r}"
        )


def _packed(address: Address, bits: int, is_cidr: bool) -> bytes:
    _refuse_zone(address)
    packed = address.packed
    return bytes((_IPV4 if address.version == 4 else _IPV6, bits, is_cidr, len(packed))) + packed


class InterfaceDumper(Dumper):
    """Dump an address or an interface as inet, in text."""

    oid = _INET

    def dump(self, obj: Address | Interface) -> bytes:
        _refuse_zone(obj)
        return str(obj).encode()


class InetBinaryDumper(Dumper):
    """Dump an address or an interface as inet, in binary."""

    format = Format.BINARY
    oid = _INET

    @twin("dump_inet")
    def dump(self, obj: Address | Interface) -> bytes:
        if isinstance(obj, IPv4Interface | IPv6Interface):
            return _packed(obj, obj.network.prefixlen, False)
        return _packed(obj, obj.max_prefixlen, False)


AddressBinaryDumper = InterfaceBinaryDumper = InetBinaryDumper


class NetworkDumper(Dumper):
    """Dump a network as cidr, in text."""

    oid = _CIDR

    def dump(self, obj: Network) -> bytes:
        _refuse_zone(obj.network_address)
        return str(obj).encode()


class NetworkBinaryDumper(Dumper):
    """Dump a network as cidr, in binary."""

    format = Format.BINARY
    oid = _CIDR

    @twin("dump_cidr")
    def dump(self, obj: Network) -> bytes:
        return _packed(obj.network_address, obj.prefixlen, True)


def _text(data: bytes) -> str:
    if b"%" in data:
        raise DataError(f"cannot load the address {shown(data)}: inet and cidr have no IPv6 zone")
    return data.decode("ascii")


def _unpack(data: bytes) -> tuple[Address, int]:
    family, bits, _, size = data[:_HEADER_SIZE]
    packed = data[_HEADER_SIZE:]
    if len(packed) == size:
        if family == _IPV4 and bits <= 32:
            return IPv4Address(packed), bits
        if family == _IPV6 and bits <= 128:
            return IPv6Address(packed), bits
    raise ValueError("it is no address")


class InetLoader(Loader):
    """Load inet from text: an address, or an interface if it has a mask that is not the full one."""

    @twin("load_inet_text")
    def load(self, data: bytes) -> Address | Interface:
        text = _text(data)
        if "/" not in text:
            return ip_address(text)
        interface = ip_interface(text)
        return interface if interface.network.prefixlen < interface.max_prefixlen else interface.ip


class InetBinaryLoader(Loader):
    """Load inet from binary: an address, or an interface if it has a mask that is not the full one."""

    format = Format.BINARY

    @twin("load_inet")
    def load(self, data: bytes) -> Address | Interface:
        address, bits = _unpack(data)
        return address if bits == address.max_prefixlen else ip_interface((address.packed, bits))


class CidrLoader(Loader):
    """Load cidr from text: always a network."""

    @twin("load_cidr_text")
    def load(self, data: bytes) -> Network:
        return ip_network(_text(data))


class CidrBinaryLoader(Loader):
    """Load cidr from binary: always a network."""

    format = Format.BINARY

    @twin("load_cidr")
    def load(self, data: bytes) -> Network:
        address, bits = _unpack(data)
        return ip_network((address.packed, bits))


class MacaddrDumper(Dumper):
    """Dump the str of a macaddr, in text: found by the oid, as where the types of columns are known."""

    oid = global_types["macaddr"].oid

    def dump(self, obj: str) -> bytes:
        return encode_text(obj, encoding_to_write(self._encoding))


class MacaddrBinaryDumper(Dumper):
    """Dump the str of a macaddr, in binary: found by the oid, as where the types of columns are known."""

    format = Format.BINARY
    oid = global_types["macaddr"].oid
    size = 6

    def dump(self, obj: str) -> bytes:
        try:
            packed = bytes.fromhex(obj.translate(_NO_SEPARATORS))
        except ValueError:
            packed = b""
        if len(packed) != self.size:
            raise DataError(f"cannot dump {obj[:_SHOWN]!r}: a MAC address of this type has {self.size} bytes")
        return packed


_NO_SEPARATORS = dict.fromkeys(map(ord, ":-. "))
_SHOWN = 40  # characters of a value in a message


class Macaddr8Dumper(MacaddrDumper):
    """Dump the str of a macaddr8, in text: found by the oid."""

    oid = global_types["macaddr8"].oid


class Macaddr8BinaryDumper(MacaddrBinaryDumper):
    """Dump the str of a macaddr8, in binary: found by the oid."""

    oid = global_types["macaddr8"].oid
    size = 8


class MacaddrBinaryLoader(Loader):
    """Load macaddr or macaddr8 from binary, as str: `08:00:2b:01:02:03`."""

    format = Format.BINARY

    @twin("load_macaddr")
    def load(self, data: bytes) -> str:
        if len(data) not in (6, 8):
            raise ValueError("a MAC address has 6 or 8 bytes")
        return data.hex(":")


def register_default_adapters(context: AdaptContext) -> None:
    """Register inet, cidr, macaddr and macaddr8."""
    adapters = context.adapters
    for cls in (IPv4Address, IPv6Address, IPv4Interface, IPv6Interface):
        adapters.register_dumper(cls, InterfaceDumper)
        adapters.register_dumper(cls, InetBinaryDumper)
    for network in (IPv4Network, IPv6Network):
        adapters.register_dumper(network, NetworkDumper)
        adapters.register_dumper(network, NetworkBinaryDumper)
    for dumper in (MacaddrDumper, MacaddrBinaryDumper, Macaddr8Dumper, Macaddr8BinaryDumper):
        adapters.register_dumper(None, dumper)
    for name, loader in _LOADERS:
        adapters.register_loader(name, loader)


# The last one of a type is preferred.
_LOADERS: tuple[tuple[str, type[Loader]], ...] = (
    ("inet", InetLoader),
    ("inet", InetBinaryLoader),
    ("cidr", CidrLoader),
    ("cidr", CidrBinaryLoader),
    ("macaddr", AsciiLoader),
    ("macaddr", MacaddrBinaryLoader),
    ("macaddr8", AsciiLoader),
    ("macaddr8", MacaddrBinaryLoader),
)
