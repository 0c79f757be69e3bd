"""LateHolder: a cursor whose statement is in a pipeline, so that its result comes later.

Knows the outcome of a queued statement, and whom to ask for it. Must not know how it comes about.
"""

from __future__ import annotations

from typing import Generic

from typing_extensions import TypeVar

from ..rows import TupleRow
from ..statements.column import Column
from ..statements.results import ResultHolder
from ..statements.segment import Queued
from .pipeline import PipelineQueue

Row = TypeVar("Row", default=TupleRow)


class LateHolder(ResultHolder[Row], Generic[Row]):
    """What has arrived for a cursor, or will: as soon as it is there, whoever looks finds it."""

    _pipeline: PipelineQueue | None = None

    def queue_late(self, pipeline: PipelineQueue, late: Queued) -> bool:
        """For this package: put a statement into a pipeline; return whether that is to be flushed."""
        self._pipeline, self.late = pipeline, late
        return pipeline.add(late)

    async def arrive(self) -> None:
        """For this package: wait for the result of a statement in a pipeline.

        :raises Error: the statement has failed.
        """
        late: Queued | None = self.late
        if late is not None and self._pipeline is not None:
            await self._pipeline.bring(late)
            self.look()

    def look(self) -> None:
        """For this package: take the result, if it is there."""
        late: Queued | None = self.late
        if late is not None and late.done and late.result is not None and late.error is None:
            self.late = None
            if late.reloads:
                late.result.loads = late.result.ahead = None
            self._request = late.request
            self._results = (late.result,)
            self._select(late.result, 0)

    def forget_results(self) -> None:
        self.late = None
        super().forget_results()

    @property
    def description(self) -> list[Column] | None:
        """The columns of the result; None if there is no result, or it has no rows."""
        self.look()
        return super().description

    @property
    def rowcount(self) -> int:
        """How many rows the last statement affected or returned; -1 where that is not known."""
        self.look()
        return self._rowcount

    @property
    def rownumber(self) -> int | None:
        """The index, from 0, of the row that would be fetched next; None if there are none to fetch."""
        self.look()
        return super().rownumber

    @property
    def statusmessage(self) -> str | None:
        """The command tag of the last statement, such as ``INSERT 0 1``."""
        self.look()
        return super().statusmessage
