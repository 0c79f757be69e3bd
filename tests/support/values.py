"""What the tests of the type families share: transformers for any client encoding, and one value there and back."""

from __future__ import annotations

from typing import Any

from anyq.adapt import AdaptersMap, Buffer, Format, PyFormat, Transformer
from anyq.postgres import adapters, types

FORMATS = [Format.TEXT, Format.BINARY]
PYFORMATS = [PyFormat.AUTO, PyFormat.TEXT, PyFormat.BINARY]


class FakeInfo:
    """The part of a connection's `info` that adapters ask."""

    def __init__(self, encoding: str):
        self.encoding = encoding

    def parameter_status(self, name: str) -> str | None:
        return None


class FakeConnection:
    """A context with a connection that is connected to nothing."""

    def __init__(self, encoding: str = "utf-8"):
        self.info = FakeInfo(encoding)
        self.adapters = AdaptersMap(adapters)

    @property
    def connection(self) -> FakeConnection:
        return self


def transformer(encoding: str = "utf-8") -> Transformer:
    return Transformer(FakeConnection(encoding))


def dump(value: Any, format: PyFormat, tx: Transformer | None = None) -> tuple[Buffer | None, int, int]:
    """Return the value, the oid and the wire format of one parameter."""
    values, oids, formats = (tx or transformer()).dump_sequence([value], [format])
    return values[0], oids[0], formats[0]


def load(data: bytes, type: str | int, format: int, tx: Transformer | None = None) -> Any:
    """Return what one value of a type is loaded as."""
    oid = types.get_oid(type) if isinstance(type, str) else type
    return (tx or transformer()).get_load_function(oid, format)(data)


def there_and_back(value: Any, format: PyFormat, tx: Transformer | None = None) -> Any:
    """Return what a parameter becomes if the server returns it unchanged."""
    tx = tx or transformer()
    data, oid, wire_format = dump(value, format, tx)
    return None if data is None else load(bytes(data), oid, wire_format, tx)
