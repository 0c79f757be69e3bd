"""Layout: the columns of a result that are known before it comes, the formats to ask for and what loads its rows.

Knows descriptions of columns and the transformer that chooses loaders. Must not know messages or statements' texts.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from ..adapt import Transformer
from ..errors import DataError
from ..protocol.request import UNDESCRIBED, Fields
from .loading import RowLoads
from .prepared import StatementKey

MAX_DESCRIBED = 100
"""How many statements that asked for binary results without being prepared have their description remembered."""


class Layout:
    """The result of a statement whose description is known before it runs: what to ask for, and how to load it.

    One for each combination of the statement, the transformer and whether binary results are wanted.
    """

    __slots__ = ("adapters", "description", "result_formats", "tx", "version")

    def __init__(self, fields: Fields | None, tx: Transformer, binary: bool | None) -> None:
        self.tx = tx
        self.adapters = tx.adapters
        self.version = self.adapters.version
        self.description = UNDESCRIBED
        self.result_formats: Sequence[int] = ()
        if fields is not None:
            wanted = [int(_wants_binary(tx, field.type_oid, binary)) for field in fields]
            fields = tuple(field._replace(format=f) for field, f in zip(fields, wanted, strict=True))
            self.description = fields, RowLoads(tx, fields)
            # One code stands for all columns.
            self.result_formats = wanted[:1] if len(set(wanted)) == 1 else wanted


class Layouts:
    """The layouts of one statement, made from its description when they are first needed."""

    __slots__ = ("_made", "fields")

    def __init__(self, fields: Fields | None) -> None:
        self.fields = fields
        self._made: dict[bool | None, Layout] = {}

    def get(self, tx: Transformer, binary: bool | None) -> Layout:
        """Return the layout for a transformer; for `binary` see :meth:`Composer.compose`."""
        layout = self._made.get(binary)
        if layout is None or layout.tx is not tx or layout.version != layout.adapters.version:
            layout = self._made[binary] = Layout(self.fields, tx, binary)
        return layout


class Descriptions:
    """The descriptions of statements that asked for binary results without being prepared, those last used."""

    __slots__ = ("_layouts",)

    def __init__(self) -> None:
        self._layouts: OrderedDict[StatementKey, Layouts] = OrderedDict()

    def find(self, key: StatementKey) -> Layouts | None:
        """Return what is known of a statement; it is kept for longer then."""
        layouts = self._layouts.get(key)
        if layouts is not None:
            self._layouts.move_to_end(key)
        return layouts

    def add(self, key: StatementKey, fields: Fields | None) -> None:
        """Remember the description of a statement: None if it returns no rows."""
        self._layouts[key] = Layouts(fields)
        if len(self._layouts) > MAX_DESCRIBED:
            self._layouts.popitem(last=False)

    def discard(self, key: StatementKey) -> None:
        """Forget a statement whose description has changed."""
        self._layouts.pop(key, None)


def _wants_binary(tx: Transformer, oid: int, binary: bool | None) -> bool:
    """Return whether to ask for a column in binary format; None leaves it to what is faster."""
    return tx.prefers_binary(oid) if binary is None else binary and tx.has_binary_loader(oid)


def changed_format(tx: Transformer, fields: Fields) -> DataError | None:
    """Return the error for a column that came in binary and should not have, as there was another one before it."""
    for field in fields:
        if field.format and not tx.has_binary_loader(field.type_oid):
            return DataError(
                f"the result has changed since the statement was described (column {field.name!r}); execute it again"
            )
    return None
