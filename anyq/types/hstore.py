"""hstore, an extension's type: a dict of str, whose values may be None.

Knows both formats (PostgreSQL manual, "hstore — hstore key/value datatype"; contrib/hstore/hstore_io.c). Must not know
the oid, which is another one in each database: whoever wants the type fetches its `TypeInfo` and registers it.

Text is read and written by characters of the client encoding; with SQL_ASCII, which has none, it is UTF-8.
"""

from __future__ import annotations

import codecs
import re
from struct import Struct
from typing import TypeAlias

from .._accel.failures import shown
from ..adapt.adapters_map import AdaptContext, adapters_of
from ..adapt.base import BinaryLoaders, Dumper, Loader
from ..adapt.encodings import encode_text, encoding_to_write, python_codec, text_encoding
from ..adapt.typeinfo import TypeInfo, check_info
from ..errors import DataError
from ..protocol.constants import Format

__all__ = [
    "BaseHstoreBinaryDumper",
    "BaseHstoreDumper",
    "Hstore",
    "HstoreBinaryLoader",
    "HstoreLoader",
    "register_hstore",
]

Hstore: TypeAlias = dict[str, "str | None"]

_int32 = Struct("!i")
_NULL = _int32.pack(-1)

_quoted = r'"([^"\\]*(?:\\.[^"\\]*)*)"'
_pair = re.compile(rf"{_quoted}=>(?:NULL|{_quoted})(?:, (?!\Z)|\Z)", re.DOTALL)
_special = re.compile(r'["\\]')
_escaped = re.compile(r"\\(.)", re.DOTALL)


class _HstoreDumper(Dumper):
    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._to_write = encoding_to_write(self._encoding)

    def dump(self, obj: Hstore) -> bytes:
        for key, value in obj.items():
            # What is no str is not made one: it would come back as another value.
            if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DataError(f"keys of an hstore are str, not {type(key).__name__}")
            if not isinstance(value, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise DataError(f"values of an hstore are str or None, not {type(value).__name__}: use str() or Jsonb")
        return self.write(obj)

    def write(self, obj: Hstore) -> bytes:
        raise NotImplementedError


class BaseHstoreDumper(_HstoreDumper):
    """Dump a dict as hstore, in text; `register_hstore` makes the subclass that has the oid."""

    def write(self, obj: Hstore) -> bytes:
        pairs = [f"{_quote(key)}=>{'NULL' if value is None else _quote(value)}" for key, value in obj.items()]
        return encode_text(", ".join(pairs), self._to_write)


class BaseHstoreBinaryDumper(_HstoreDumper):
    """Dump a dict as hstore, in binary; `register_hstore` makes the subclass that has the oid."""

    format = Format.BINARY

    def write(self, obj: Hstore) -> bytes:
        out = [_int32.pack(len(obj))]
        for pair in obj.items():
            for text in pair:
                if text is None:
                    out.append(_NULL)
                else:
                    encoded = encode_text(text, self._to_write)
                    out += (_int32.pack(len(encoded)), encoded)
        return b"".join(out)


def _quote(text: str) -> str:
    return '"' + _special.sub(r"\\\g<0>", text) + '"'


class HstoreLoader(Loader):
    """Load hstore from text as a dict."""

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._encoding = text_encoding(context)

    def load(self, data: bytes) -> Hstore:
        text = data.decode(self._encoding)
        pairs: Hstore = {}
        at = 0
        while at < len(text):
            found = _pair.match(text, at)
            if found is None:
                raise DataError(f"malformed hstore: {shown(data)}")
            key, value = found.groups()
            pairs[_unescape(key)] = None if value is None else _unescape(value)
            at = found.end()
        return pairs


class HstoreBinaryLoader(Loader):
    """Load hstore from binary as a dict."""

    format = Format.BINARY

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._encoding = text_encoding(context)

    def load(self, data: bytes) -> Hstore:
        (count,) = _int32.unpack_from(data)
        at = _int32.size
        texts: list[str | None] = []
        while at < len(data):
            (length,) = _int32.unpack_from(data, at)
            at += _int32.size
            if length < 0:
                texts.append(None)
            else:
                texts.append(data[at : at + length].decode(self._encoding))
                at += length
        keys = texts[::2]
        if at != len(data) or len(texts) != 2 * count or None in keys:
            raise ValueError("it has not the length that it says")
        return {key: value for key, value in zip(keys, texts[1::2], strict=True) if key is not None}

    @classmethod
    def is_usable(cls, oid: int, tx: BinaryLoaders) -> bool:
        # The lengths that a server sends are those of the text before it is converted for the client.
        server_encoding = tx.parameter_status("server_encoding")
        return server_encoding is None or codecs.lookup(python_codec(server_encoding)).name == tx.encoding


def _unescape(text: str) -> str:
    return _escaped.sub(r"\1", text) if "\\" in text else text


def register_hstore(info: TypeInfo, context: AdaptContext | None = None) -> None:
    """Load hstore as a dict, and dump every dict as hstore; arrays of it are lists of these.

    :param info: what `TypeInfo.fetch(conn, "hstore")` returned, with the schema's name if it is not in the path.
    :param context: a connection, a cursor or a map; None for all connections that are opened from now on, which all
        have to find the type by the same oid then: that is in one database.
    :raises TypeError: `info` is None, as the type was not found.
    """
    if info is None:  # pyright: ignore[reportUnnecessaryComparison]
        raise TypeError("there is no hstore to register: CREATE EXTENSION hstore, or name its schema in fetch()")
    check_info(info, TypeInfo, "hstore")
    info.register(context)
    adapters = adapters_of(context)
    known = {"oid": info.oid}
    # The last ones are preferred.
    adapters.register_dumper(dict, type("HstoreBinaryDumper", (BaseHstoreBinaryDumper,), known))
    adapters.register_dumper(dict, type("HstoreDumper", (BaseHstoreDumper,), known))
    adapters.register_loader(info.oid, HstoreBinaryLoader)
    adapters.register_loader(info.oid, HstoreLoader)
