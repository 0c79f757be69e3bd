"""JSON.

Knows json and jsonb in both formats, the wrappers `Json` and `Jsonb`, how to use another library for JSON, and
jsonpath, which is str (PostgreSQL manual, "JSON Types"). Must not know what the documents hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeAlias

from .._accel import twin
from .._accel.failures import shown
from .._accel.twins import NoArguments
from ..adapt.adapters_map import AdaptContext, AdaptersMap, adapters_of
from ..adapt.base import Dumper, Loader, plain
from ..adapt.encodings import UTF8, encode_text, text_encoding
from ..adapt.typeinfo import global_types
from ..errors import DataError
from ..errors.arguments import check_callables, check_functions
from ..protocol.constants import Format
from .string import StrDumperUnknown, TextLoader

__all__ = ["Json", "Jsonb", "set_json_dumps", "set_json_loads"]

JsonDumpsFunction: TypeAlias = Callable[[Any], "str | bytes"]
JsonLoadsFunction: TypeAlias = Callable[[str], Any]

# PostgreSQL source, src/backend/utils/adt/{jsonb,jsonpath}.c: the only version of the binary format so far.
_JSONB_VERSION = b"\x01"


class Json:
    """Mark an object to be sent as json.

    :param dumps: what turns the object into JSON, for this object only.
    """

    def __init__(self, obj: Any, dumps: JsonDumpsFunction | None = None):
        if dumps is not None:
            check_callables(dumps=dumps)
        self.obj = obj
        self.dumps = dumps

    def __repr__(self) -> str:
        text = repr(self.obj)
        return f"{type(self).__name__}({text if len(text) <= 40 else text[:35] + ' ...'})"


class Jsonb(Json):
    """Mark an object to be sent as jsonb.

    :param dumps: what turns the object into JSON, for this object only.
    """


def set_json_dumps(dumps: JsonDumpsFunction, context: AdaptContext | None = None) -> None:
    """Set what turns objects into JSON.

    :param dumps: returns str, or bytes in the client's encoding.
    :param context: a connection, a cursor or a map; None for everything that has not got its own.
    :raises TypeError: it cannot be called, or has to be awaited.
    """
    check_functions(dumps=dumps)
    if context is None:
        _JsonDumper.dumps = plain(dumps)
        return
    for cls, base in _DUMPERS:
        adapters_of(context).register_dumper(cls, type(base.__name__, (base,), {"dumps": plain(dumps)}))


def set_json_loads(loads: JsonLoadsFunction, context: AdaptContext | None = None) -> None:
    """Set what turns JSON into objects.

    :param loads: is called with str.
    :param context: a connection, a cursor or a map; None for everything that has not got its own.
    :raises TypeError: it cannot be called, or has to be awaited.
    """
    check_functions(loads=loads)
    if context is None:
        _JsonLoader.loads = plain(loads)
        return
    for name, base in _LOADERS:
        adapters_of(context).register_loader(name, type(base.__name__, (base,), {"loads": plain(loads)}))


class _JsonDumper(Dumper):
    dumps: JsonDumpsFunction = plain(json.dumps)

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._encoding = text_encoding(context)

    def dump(self, obj: Any) -> bytes:
        # Found by oid, for COPY, it is given objects without a wrapper.
        dumps = self.dumps
        if isinstance(obj, Json):
            dumps, obj = obj.dumps or dumps, obj.obj
        try:
            data = dumps(obj)
        except (ValueError, RecursionError) as ex:
            # A TypeError says which object it is about, and is what programs expect.
            if dumps is not json.dumps:
                raise
            raise DataError(
                f"cannot dump {type(obj).__name__} as JSON: {ex}; convert it, or say how by set_json_dumps()"
            ) from ex
        return encode_text(data, self._encoding) if isinstance(data, str) else data


class JsonDumper(_JsonDumper):
    """Dump `Json` as json."""

    oid = global_types["json"].oid


class JsonBinaryDumper(JsonDumper):
    """Dump `Json` as json, in binary format, which is the same."""

    format = Format.BINARY


class JsonbDumper(_JsonDumper):
    """Dump `Jsonb` as jsonb."""

    oid = global_types["jsonb"].oid


class JsonbBinaryDumper(JsonbDumper):
    """Dump `Jsonb` as jsonb, in binary format."""

    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return _JSONB_VERSION + super().dump(obj)


class _JsonLoader(Loader):
    delegates = True
    loads: JsonLoadsFunction = plain(json.loads)

    def __init__(self, oid: int, context: AdaptContext | None = None):
        super().__init__(oid, context)
        self._encoding = text_encoding(context)

    @twin("load_json")
    def load(self, data: bytes) -> Any:
        try:
            text = data.decode(self._encoding)
        except UnicodeDecodeError as ex:
            raise _cannot_load(data, ex) from ex
        loads = self.loads
        if loads is not json.loads:
            return loads(text)
        try:
            return loads(text)
        except (ValueError, RecursionError) as ex:
            raise _cannot_load(data, ex) from ex

    def load_arguments(self) -> NoArguments | None:
        """Return what the compiled twin needs to know, None where it is no good."""
        return NoArguments() if self._encoding == UTF8 else None


def _cannot_load(data: bytes, ex: Exception) -> DataError:
    why = "it is nested too deeply for Python's parser" if isinstance(ex, RecursionError) else str(ex)
    return DataError(
        f"cannot load the JSON {shown(data)}: {why}."
        " Cast it to text in the query (column::text), or use another parser: set_json_loads()"
    )


class JsonLoader(_JsonLoader):
    """Load json."""


class JsonBinaryLoader(_JsonLoader):
    """Load json in binary format, which is the same."""

    format = Format.BINARY


class JsonbLoader(_JsonLoader):
    """Load jsonb."""


class JsonbBinaryLoader(_JsonLoader):
    """Load jsonb in binary format."""

    format = Format.BINARY

    @twin("load_jsonb")
    def load(self, data: bytes) -> Any:
        if data[:1] != _JSONB_VERSION:
            raise DataError(f"unknown version of the binary format of jsonb: {data[:1]!r}")
        return super().load(data[1:])


class JsonpathDumper(StrDumperUnknown):
    """Dump the str of a jsonpath, in text: found by the oid."""

    oid = global_types["jsonpath"].oid


class JsonpathBinaryDumper(JsonpathDumper):
    """Dump the str of a jsonpath, in binary: found by the oid."""

    format = Format.BINARY

    def dump(self, obj: str) -> bytes:
        return _JSONB_VERSION + super().dump(obj)


class JsonpathBinaryLoader(TextLoader):
    """Load jsonpath in binary format, as the str that it is in text."""

    format = Format.BINARY

    def load(self, data: bytes) -> str | bytes:
        if data[:1] != _JSONB_VERSION:
            raise DataError(f"unknown version of the binary format of jsonpath: {data[:1]!r}")
        return super().load(data[1:])


_DUMPERS: tuple[tuple[type[Json], type[_JsonDumper]], ...] = (
    (Json, JsonBinaryDumper),
    (Json, JsonDumper),
    (Jsonb, JsonbBinaryDumper),
    (Jsonb, JsonbDumper),
)
_LOADERS: tuple[tuple[str, type[_JsonLoader]], ...] = (
    ("json", JsonLoader),
    ("json", JsonBinaryLoader),
    ("jsonb", JsonbLoader),
    ("jsonb", JsonbBinaryLoader),
)


def register_default_adapters(context: AdaptContext) -> None:
    """Register json, jsonb and jsonpath."""
    adapters: AdaptersMap = context.adapters
    for cls, dumper in _DUMPERS:
        adapters.register_dumper(cls, dumper)
    for name, loader in _LOADERS:
        adapters.register_loader(name, loader)
    for by_oid in (JsonpathDumper, JsonpathBinaryDumper):
        adapters.register_dumper(None, by_oid)
    # The last one is preferred.
    adapters.register_loader("jsonpath", JsonpathBinaryLoader)
    adapters.register_loader("jsonpath", TextLoader)
