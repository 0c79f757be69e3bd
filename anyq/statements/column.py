"""Column: one column of a result as ``Cursor.description`` gives it (PEP 249, with psycopg's additions).

Knows a FieldDescription and where PostgreSQL keeps length, precision and scale in a type modifier. Must not know
cursors or loaders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..adapt.typeinfo import TypesRegistry
from ..protocol.messages import FieldDescription

_VARHDRSZ = 4  # a type modifier counts the header of a variable-length value
_BPCHAR, _VARCHAR, _NUMERIC, _BIT, _VARBIT = 1042, 1043, 1700, 1560, 1562
_TIMES = {1083, 1114, 1184, 1186, 1266}  # time, timestamp, timestamptz, interval, timetz
_NO_INTERVAL_PRECISION = 0xFFFF


class Column(Sequence[Any]):
    """A column's description; also the 7-item sequence of PEP 249."""

    __slots__ = ("_field", "_types")

    def __init__(self, field: FieldDescription, types: TypesRegistry) -> None:
        self._field = field
        self._types = types

    @property
    def name(self) -> str:
        """The name of the column."""
        return self._field.name

    @property
    def type_code(self) -> int:
        """The oid of the column's type."""
        return self._field.type_oid

    @property
    def type_display(self) -> str:
        """The name of the type with its modifier, such as ``numeric(10,2)``; the oid of an unknown type."""
        info = self._types.get(self.type_code)
        if info is None:
            return str(self.type_code)
        name, suffix = info.name, ""
        if info.array_oid == self.type_code:
            suffix = "[]"
        modifiers = [m for m in (self.display_size, self.precision, self.scale) if m is not None]
        if not modifiers:
            return name + suffix
        return f"{name}({','.join(map(str, modifiers))}){suffix}"

    @property
    def display_size(self) -> int | None:
        """The length in characters of ``varchar(n)`` and ``char(n)``, in bits of ``bit(n)``."""
        modifier = self._field.type_modifier
        if modifier >= 0:
            if self._base_type in (_BPCHAR, _VARCHAR):
                return modifier - _VARHDRSZ
            if self._base_type in (_BIT, _VARBIT):
                return modifier
        return None

    @property
    def internal_size(self) -> int | None:
        """The size of a value on the server in bytes; None where it varies."""
        size = self._field.type_size
        return size if size >= 0 else None

    @property
    def precision(self) -> int | None:
        """The digits of ``numeric(p, s)``, or the fractional digits of a time type's seconds."""
        modifier = self._field.type_modifier
        if modifier < 0:
            return None
        if self._base_type == _NUMERIC:
            return (modifier - _VARHDRSZ) >> 16 & 0xFFFF
        if self._base_type in _TIMES:
            precision = modifier & 0xFFFF
            return None if precision == _NO_INTERVAL_PRECISION else precision
        return None

    @property
    def scale(self) -> int | None:
        """The fractional digits of ``numeric(p, s)``; negative ones round to the left of the point."""
        modifier = self._field.type_modifier
        if self._base_type != _NUMERIC or modifier < 0:
            return None
        scale = (modifier - _VARHDRSZ) & 0x7FF  # eleven bits, signed
        return scale - 0x800 if scale & 0x400 else scale

    @property
    def null_ok(self) -> bool | None:
        """Always None: the protocol does not tell."""
        return None

    @property
    def table_oid(self) -> int | None:
        """The oid of the table that the column comes from; None for an expression."""
        return self._field.table_oid or None

    @property
    def table_column(self) -> int | None:
        """The number of the column in its table, from 1; None for an expression."""
        return self._field.column or None

    @property
    def _base_type(self) -> int:
        # An array has the type modifier of its items.
        info = self._types.get(self.type_code)
        return self.type_code if info is None else info.oid

    def _items(self) -> tuple[Any, ...]:
        return (
            self.name,
            self.type_code,
            self.display_size,
            self.internal_size,
            self.precision,
            self.scale,
            self.null_ok,
        )

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: Any) -> Any:
        return self._items()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Column) and self._field == other._field

    def __hash__(self) -> int:
        return hash(self._field)

    def __repr__(self) -> str:
        return f"<Column {self.name!r}, type: {self.type_display} (oid: {self.type_code})>"
