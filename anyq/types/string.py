"""Text and bytes.

Knows the text family (text, varchar, bpchar, name, unknown), bytea, and what values of unknown types are
loaded as. Must not know other types.
"""

from __future__ import annotations

import re
from binascii import unhexlify

from .._accel import twin
from .._accel.twins import NoArguments
from ..adapt.adapters_map import AdaptContext, Buffer
from ..adapt.base import Dumper, Loader, plain
from ..adapt.encodings import SQL_ASCII, UTF8, encode_text, encoding_of, text_encoding
from ..adapt.quoting import quote_literal
from ..adapt.typeinfo import global_types
from ..protocol.constants import Format

# Loaders and dumpers that are one function of Python's.
twin("load_text")(bytes.decode)
twin("bytes")(bytes)

_BYTEA = global_types["bytea"].oid


class _BaseStrDumper(Dumper):
    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._encoding = text_encoding(context)

    @twin("dump_text")
    def dump(self, obj: str) -> bytes:
        try:
            data = obj.encode(self._encoding)
        except UnicodeEncodeError:
            return encode_text(obj, self._encoding)
        return encode_text(obj, self._encoding) if b"\0" in data else data

    def dump_arguments(self) -> NoArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        return NoArguments() if self._encoding == UTF8 else None

    def quote(self, obj: str) -> bytes:
        if type(self).dump is not _BaseStrDumper.dump:
            return super().quote(obj)
        # As the server will read it: Python writes some characters as a backslash (a yen sign in EUC_JP).
        return quote_literal(encode_text(str.__str__(obj), self._encoding), self._encoding)


class StrDumper(_BaseStrDumper):
    """Dump str as text."""

    oid = global_types["text"].oid


class StrDumperVarchar(_BaseStrDumper):
    """Dump str as varchar."""

    oid = global_types["varchar"].oid


class StrDumperBpchar(_BaseStrDumper):
    """Dump str as bpchar, the type of `character(n)` columns."""

    oid = global_types["bpchar"].oid


class StrDumperName(_BaseStrDumper):
    """Dump str as name."""

    oid = global_types["name"].oid


class StrDumperUnknown(_BaseStrDumper):
    """Dump str without a type, which the server finds out from where the parameter stands."""


class StrBinaryDumper(StrDumper):
    """Dump str as text, in binary format."""

    format = Format.BINARY


class StrBinaryDumperVarchar(StrDumperVarchar):
    """Dump str as varchar, in binary format."""

    format = Format.BINARY


class StrBinaryDumperBpchar(StrDumperBpchar):
    """Dump str as bpchar, in binary format."""

    format = Format.BINARY


class StrBinaryDumperName(StrDumperName):
    """Dump str as name, in binary format."""

    format = Format.BINARY


class TextLoader(Loader):
    """Load text as str; with the client encoding SQL_ASCII, which has no characters, as bytes."""

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._encoding = encoding_of(context)
        # One C function each for the usual cases, unless a subclass has its own way.
        if type(self).load is TextLoader.load:
            if self._encoding == UTF8:
                self.load = bytes.decode  # type: ignore[assignment, method-assign]
            elif self._encoding == SQL_ASCII:
                self.load = bytes  # type: ignore[assignment, method-assign]

    def load(self, data: bytes) -> str | bytes:
        return data.decode(self._encoding) if self._encoding != SQL_ASCII else data


class TextBinaryLoader(TextLoader):
    """Load text in binary format, which is the same."""

    format = Format.BINARY


class AsciiLoader(Loader):
    """Load what is ASCII in every client encoding, as str: for types that are str as the server writes them."""

    load = plain(bytes.decode)


class AsciiBinaryLoader(AsciiLoader):
    """Load what is ASCII in every client encoding, where the binary format is the text."""

    format = Format.BINARY


class BytesDumper(Dumper):
    """Dump bytes, bytearray and memoryview as bytea in hex format."""

    oid = _BYTEA

    @twin("dump_bytes_text")
    def dump(self, obj: Buffer) -> bytes:
        # A float has hex(), too.
        return b"\\x" + (obj if type(obj) is bytes else bytes(memoryview(obj))).hex().encode()


class BytesBinaryDumper(Dumper):
    """Dump bytes, bytearray and memoryview as they are."""

    format = Format.BINARY
    oid = _BYTEA

    @twin("dump_bytes")
    def dump(self, obj: Buffer) -> bytes:
        # Not bytes() alone, which makes zeros of an int.
        return obj if type(obj) is bytes else bytes(memoryview(obj))


class ByteaLoader(Loader):
    """Load bytea from hex format or escape format, whatever `bytea_output` is."""

    @twin("load_bytea_text")
    def load(self, data: bytes) -> bytes:
        # In escape format a backslash is doubled, so that this cannot be one.
        if data.startswith(b"\\x"):
            return unhexlify(data[2:])
        if b"\\" not in data:
            return data
        return _escapes.sub(_unescape, data)


class ByteaBinaryLoader(Loader):
    """Load bytes as they are."""

    format = Format.BINARY
    load = plain(bytes)


_escapes = re.compile(rb"\\(?:\\|([0-7]{3}))")


def _unescape(match: re.Match[bytes]) -> bytes:
    octal = match[1]
    return bytes((int(octal, 8),)) if octal else b"\\"


def register_default_adapters(context: AdaptContext) -> None:
    """Register the text family, bytea and the loaders for types that have none."""
    adapters = context.adapters

    # The last one serves AUTO and is found for the class; the others are found by oid.
    for binary in (StrBinaryDumperBpchar, StrBinaryDumperName, StrBinaryDumperVarchar, StrBinaryDumper):
        adapters.register_dumper(str, binary)
    for text in (StrDumperBpchar, StrDumperName, StrDumperVarchar, StrDumper, StrDumperUnknown):
        adapters.register_dumper(str, text)
    for name in ("text", "varchar", "bpchar", "name", "unknown"):
        adapters.register_loader(name, TextLoader)
        adapters.register_loader(name, TextBinaryLoader)

    for cls in (bytes, bytearray, memoryview):
        adapters.register_dumper(cls, BytesDumper)
        adapters.register_dumper(cls, BytesBinaryDumper)
    adapters.register_loader("bytea", ByteaLoader)
    adapters.register_loader("bytea", ByteaBinaryLoader)

    # Types without a loader: the text format is text, the binary format means nothing to us.
    adapters.register_loader(0, TextLoader)
    adapters.register_loader(0, ByteaBinaryLoader)
