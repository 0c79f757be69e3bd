"""Dumping what has bounds: which type of range, or of multirange, the bounds belong to.

Knows that the type of a range follows from that of its bounds. Must not know the formats of ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from .._accel import twin
from .._accel.failures import dumped_bytes, shown_object
from .._accel.twins import DumpRangeArguments
from ..adapt.adapters_map import AdaptContext, Buffer, DumperKey, DumperProtocol, PyFormat
from ..adapt.encodings import encoding_of, is_ascii_safe
from ..adapt.misfits import OUT_OF_RANGE, UNFIT, reason
from ..adapt.recursive import RecursiveDumper
from ..adapt.typeinfo import TEXT_OID, TypeInfo, global_types
from ..errors import DataError
from ..protocol.constants import Format
from ._inside import refuse_loss
from ._range_values import CLASSES

_NUMERIC = global_types["numeric"].oid


class BoundsDumper(RecursiveDumper):
    """Dump what has bounds of a subtype: ranges, and what is made of them.

    Registered for a class it makes a dumper for each type that it finds by the bounds. A subclass that has an oid knows
    its type.
    """

    subtype_oid = 0
    info_class: ClassVar[type[TypeInfo]]
    """What describes the types, by subtype."""
    untyped: ClassVar[type[DumperProtocol]]
    """The dumper of objects whose type the server has to find out, in text."""

    def __init__(self, cls: type, context: AdaptContext | None = None):
        super().__init__(cls, context)
        self._encoding = encoding_of(self._tx)

    def bounds_of(self, obj: Any) -> list[Any]:
        """Return all bounds of the object that are not None."""
        raise NotImplementedError

    @twin("key_bounds")
    def get_key(self, obj: Any, format: PyFormat) -> DumperKey:
        if self.oid:
            return self.cls
        return (self.cls, self._find_subtype(self.bounds_of(obj), format))

    def upgrade(self, obj: Any, format: PyFormat) -> DumperProtocol:
        if self.oid:
            return self
        info: Any = None
        subtype_oid = self._find_subtype(self.bounds_of(obj), format)
        if subtype_oid:
            info = self._tx.adapters.types.get_by_subtype(self.info_class, subtype_oid)
        if info is None:
            return self.untyped(self.cls, self._tx)
        dumper = type(self)(self.cls, self._tx)
        dumper.oid = info.oid
        dumper.subtype_oid = info.subtype_oid
        return dumper

    @twin("common_bounds")
    def common_item(self, items: Sequence[Any], format: PyFormat) -> Any:
        found: dict[Any, Any] = {}
        for item in items:
            found.setdefault(self.get_key(item, format), item)
        # What has no bounds may be of any type.
        found.pop((self.cls, None), None)
        if len(found) > 1:
            raise DataError(f"cannot dump a list of {self.cls.__name__} of different PostgreSQL types: make them alike")
        return next(iter(found.values()), items[0])

    def _find_subtype(self, bounds: Sequence[Any], format: PyFormat) -> int | None:
        """Return the oid of the type of the bounds; 0 if it is the server's to find out, None if there are none."""
        if not bounds:
            return None
        classes = set(map(type, bounds))
        if classes == {int}:
            # Whatever their size, they may be meant for a range of another kind of number.
            return 0
        if classes == {int, Decimal}:
            return _NUMERIC
        try:
            dumper = self._tx.get_common_dumper(bounds, format)
        except DataError as ex:
            if classes == {datetime}:
                self.check(bounds)
            names = ", ".join(sorted(cls.__name__ for cls in classes))
            raise DataError(f"cannot dump a {self.cls.__name__} with bounds of several types ({names})") from ex
        return dumper.oid or (TEXT_OID if isinstance(bounds[0], str) else 0)

    def dump_bound(self, value: Any) -> bytes:
        """Return one bound in the dumper's format.

        :raises DataError: it is not of the subtype, or would lose something.
        """
        dumper = self._tx.get_dumper(value, PyFormat.from_pq(self.format))
        refuse_loss(value, dumper.oid, self.subtype_oid)
        data: Buffer | None
        unfit: tuple[type[Exception], ...] = OUT_OF_RANGE
        if self.format != Format.TEXT and dumper.oid != self.subtype_oid:
            dumper = self._tx.get_dumper_by_oid(self.subtype_oid, self.format)
            unfit = UNFIT
        try:
            is_text_of_number = unfit is UNFIT and type(value) is str and self.subtype_oid == _NUMERIC
            data = dumper.dump(Decimal(value) if is_text_of_number else value)
        except unfit as ex:
            why = reason(self._tx.adapters, dumper.oid, value, ex)
            raise DataError(f"cannot dump {shown_object(value)} as a bound of {self._type_name()}: {why}") from ex
        bound = dumped_bytes(data, dumper.dump)
        if bound is None:
            raise DataError(f"cannot dump {shown_object(value)} as a bound of a range: a bound cannot be NULL")
        return bound

    def dump_arguments(self) -> DumpRangeArguments | None:
        """Return what the compiled twins need to know, None where they are no good."""
        if self.format == Format.TEXT and not is_ascii_safe(self._encoding):
            return None
        format = PyFormat.from_pq(self.format)
        return DumpRangeArguments(self._tx, format, self.oid, self.subtype_oid, self.dump_bound, CLASSES)

    def check(self, bounds: Sequence[Any]) -> None:
        """Refuse bounds of which some are aware and some are naive.

        :raises DataError: they are.
        """
        naive = [value.tzinfo is None for value in bounds if isinstance(value, datetime)]
        if naive and True in naive and False in naive:
            raise DataError(
                "cannot dump a range with a bound that has a time zone and one that has not: give both one, or neither"
            )

    def _type_name(self) -> str:
        info = self._tx.adapters.types.get(self.oid)
        return info.name if info is not None else self.cls.__name__
