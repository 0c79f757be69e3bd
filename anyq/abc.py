"""The types to annotate with: what a query and its parameters are, and the shapes that adaptation asks for.

Knows where these are defined, and defines those of queries. Must not do anything: a facade, which nothing below
imports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from typing_extensions import LiteralString

from .adapt.adapters_map import AdaptContext, Buffer, ConnectionInfo, DumperKey, LoadFunc, PyFormat
from .adapt.adapters_map import DumperProtocol as Dumper
from .adapt.adapters_map import LoaderProtocol as Loader
from .adapt.templates import Template
from .adapt.transformer import Transformer
from .sql import SQL, Composed

__all__ = [
    "AdaptContext",
    "Buffer",
    "ConnDict",
    "ConnMapping",
    "ConnParam",
    "ConnectionInfo",
    "DumpFunc",
    "Dumper",
    "DumperKey",
    "LoadFunc",
    "Loader",
    "Params",
    "PyFormat",
    "Query",
    "QueryNoTemplate",
    "Template",
    "Transformer",
]

QueryNoTemplate: TypeAlias = "LiteralString | bytes | SQL | Composed"
"""What can be executed with parameters: literal strings, so that a type checker refuses one made from values."""

Query: TypeAlias = "QueryNoTemplate | Template"
"""What can be executed; a template string has its parameters in it."""

Params: TypeAlias = Sequence[Any] | Mapping[str, Any]
"""The arguments of a query: a sequence for `%s`, a mapping for `%(name)s`."""

ConnParam: TypeAlias = str | int | float | None
"""The value of a connection keyword; None is as good as not given."""

ConnDict: TypeAlias = dict[str, ConnParam]
"""Connection keywords with their values, such as :func:`anyq.conninfo.conninfo_to_dict` gives."""

ConnMapping: TypeAlias = Mapping[str, ConnParam]

DumpFunc: TypeAlias = Callable[[Any], "Buffer | None"]
"""What makes bytes of an object; None is NULL."""
