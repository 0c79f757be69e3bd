"""What can be done with results that have arrived, without waiting for anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from anyq._accel import keep_rows
from anyq.adapt import AdaptersMap, Loader, Transformer
from anyq.adapt.typeinfo import TypesRegistry
from anyq.errors import DataError, InterfaceError, ProgrammingError
from anyq.postgres import adapters, types
from anyq.protocol.messages import DataRow, FieldDescription
from anyq.protocol.request import Result, Run
from anyq.rows import AsyncRowFactory, RowMaker, scalar_row, tuple_row
from anyq.statements.requests import RowsRequest
from anyq.statements.results import ResultHolder

FIELDS = (FieldDescription("n", 0, 0, types["int4"].oid, 4, -1, 0),)


class Holder(ResultHolder[Any]):
    """A cursor without a connection."""

    ahead = 0
    """How many runs of each result are loaded before anybody fetches them."""

    def __init__(self, row_factory: AsyncRowFactory[Any] = tuple_row) -> None:
        super().__init__(row_factory)
        self.adapters = AdaptersMap(adapters)
        self.transformers: dict[int, Transformer] = {}

    def check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed")

    def _types(self) -> TypesRegistry:
        return types

    def _transformer(self, parameters: Mapping[str, str] | None) -> Transformer:
        return self.transformers.setdefault(id(parameters), Transformer(self, parameters=parameters))

    @property
    def connection(self) -> None:
        return None

    def take(self, results: Sequence[Result]) -> None:
        """Take results as a cursor does."""
        request = RowsRequest()
        request.results = list(results)
        request.parameters = {}
        self.load_ahead(request, request.parameters)
        self.take_request(request)

    def load_ahead(self, request: RowsRequest, parameters: Mapping[str, str]) -> None:
        """Load what is loaded before the request is at its end, when the server has these parameters."""
        request.tx = self._transformer(parameters)
        for result in request.results[: self.ahead]:
            whole, result.runs = result.runs, result.runs[: self.ahead]
            request.current = result
            assert not request.meanwhile()
            result.runs = whole
        request.current = None


@pytest.fixture(autouse=True, params=[0, 1, 9])
def ahead(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether rows have been loaded when they are fetched makes no difference."""
    monkeypatch.setattr(Holder, "ahead", request.param)


def rows(*values: object, tag: str | None = None, runs: Sequence[int] = (2, 10**9), fields: Any = FIELDS) -> Result:
    """A result that has come in runs of so many rows."""
    result = Result(fields)
    messages = [DataRow((None if value is None else str(value).encode(),)).encode() for value in values]
    for size in runs:
        run, messages = b"".join(messages[:size]), messages[size:]
        assert keep_rows(result, run, 0, len(run)) == len(run)
    result.tag = tag or f"SELECT {len(values)}"
    return result


def command(tag: str) -> Result:
    result = Result()
    result.tag = tag
    return result


def holding(*results: Result, row_factory: AsyncRowFactory[Any] = tuple_row) -> Holder:
    holder = Holder(row_factory)
    holder.take(results)
    return holder


def test_nothing() -> None:
    holder = Holder()
    assert (holder.description, holder.rowcount, holder.rownumber, holder.statusmessage) == (None, -1, None, None)
    assert holder.nextset() is None
    with pytest.raises(ProgrammingError, match="execute a statement first"):
        holder.next_row()


def test_rows() -> None:
    holder = holding(rows(1, 2, 3))
    assert (holder.rowcount, holder.rownumber, holder.statusmessage) == (3, 0, "SELECT 3")
    assert holder.description is not None
    assert [(column.name, column.type_display) for column in holder.description] == [("n", "int4")]
    assert holder.next_row() == (1,)
    position = holder.rownumber
    assert position == 1
    assert holder.remaining_rows() == [(2,), (3,)]
    assert holder.next_row() is None
    assert holder.remaining_rows() == []


def test_each_row() -> None:
    """One at a time: others may fetch in between, or go to another result."""
    holder = holding(rows(1, 2, 3), rows(4))
    assert (holder.has_results, Holder().has_results) == (True, False)
    each = holder.each_row()
    assert next(each) == (1,)
    assert holder.next_row() == (2,)
    assert next(each) == (3,)
    holder.go_to_result(1)
    assert list(each) == [(4,)]
    holder.forget_results()
    with pytest.raises(ProgrammingError, match="execute a statement first"):
        next(holder.each_row())


def test_some_rows() -> None:
    holder = holding(rows(*range(5)))
    assert holder.next_rows(0) == [(0,)]
    holder.arraysize = 2
    assert holder.next_rows(0) == [(1,), (2,)]
    assert holder.next_rows(10) == [(3,), (4,)]
    assert holder.next_rows(1) == []
    with pytest.raises(ValueError, match="-1"):
        holder.next_rows(-1)


def test_moving() -> None:
    holder = holding(rows(*range(5)))
    holder.move(3, "relative")
    holder.move(-1, "relative")
    assert holder.next_row() == (2,)
    holder.move(4, "absolute")
    assert holder.next_row() == (4,)
    for value, mode in ((5, "absolute"), (-1, "absolute"), (1, "relative"), (-6, "relative")):
        with pytest.raises(IndexError, match="out of the result's 5 rows"):
            holder.move(value, mode)
    with pytest.raises(ValueError, match="'backwards'"):
        holder.move(0, "backwards")
    assert holder.rownumber == 5


@pytest.mark.parametrize(
    ("result", "rowcount"),
    [
        (command("INSERT 0 5"), 5),
        (command("CREATE TABLE"), -1),
        (rows(1, tag="SHOW"), 1),
        (rows(tag="INSERT 0 0"), 0),
    ],
)
def test_rowcount(result: Result, rowcount: int) -> None:
    assert holding(result).rowcount == rowcount
    # The same if it is not the first.
    holder = holding(command("BEGIN"), result)
    assert holder.nextset()
    assert holder.rowcount == rowcount


def test_no_rows_to_fetch() -> None:
    holder = holding(command("INSERT 0 1"))
    assert (holder.description, holder.rownumber) == (None, None)
    for fetch in (
        holder.next_row,
        holder.remaining_rows,
        lambda: holder.next_rows(1),
        lambda: holder.move(0, "absolute"),
    ):
        with pytest.raises(ProgrammingError, match="returned no rows.*INSERT 0 1"):
            fetch()


def test_several_results() -> None:
    holder = holding(rows(1, 2), command("SET"), rows(3))
    assert holder.next_row() == (1,)
    assert holder.nextset()
    assert holder.statusmessage == "SET"
    assert holder.nextset()
    assert holder.remaining_rows() == [(3,)]
    assert holder.nextset() is None
    assert holder.statusmessage == "SELECT 1"
    # From its beginning again.
    holder.go_to_result(0)
    assert holder.remaining_rows() == [(1,), (2,)]
    holder.go_to_result(-2)
    assert holder.statusmessage == "SET"
    for index in (3, -4):
        with pytest.raises(IndexError, match="there are 3"):
            holder.go_to_result(index)


def test_row_factories() -> None:
    made: list[Any] = []

    def factory(cursor: Any) -> RowMaker[list[Any]]:
        made.append(cursor)
        return list

    holder = holding(rows(1, 2, 3), rows(4), row_factory=factory)
    assert holder.next_row() == [1]
    holder.row_factory = scalar_row
    assert holder.row_factory is scalar_row
    assert holder.next_row() == 2
    holder.row_factory = tuple_row
    assert holder.next_rows(1) == [(3,)]
    holder.row_factory = factory
    assert holder.nextset()
    assert holder.remaining_rows() == [[4]]
    # Once for each result that it is to make rows of.
    assert made == [holder] * 3


def test_closed() -> None:
    holder = holding(rows(1))
    holder.end()
    assert (holder.description, holder.rowcount, holder.rownumber, holder.statusmessage) == (None, -1, None, None)
    with pytest.raises(InterfaceError, match="the cursor is closed"):
        holder.next_row()


def test_new_results_replace_the_old_ones() -> None:
    holder = holding(rows(1), rows(2))
    assert holder.nextset()
    holder.forget_results()
    assert holder.rowcount == -1
    holder.take([rows(3)])
    assert holder.remaining_rows() == [(3,)]
    assert holder.nextset() is None


# -- rows that cannot be loaded

DATES = (FieldDescription("d", 0, 0, types["date"].oid, 4, -1, 0),)
INFINITE = "infinity"


def dates(*days: int | str, runs: Sequence[int] = (10**9,)) -> Holder:
    """Days of January, or what cannot be loaded."""
    return holding(rows(*[f"2020-01-{d:02}" if isinstance(d, int) else d for d in days], fields=DATES, runs=runs))


def day(row: Any) -> Any:
    return None if row is None else row[0].day


RUNS = [(10**9,), (1, 10**9), (2, 1, 10**9), (1,) * 9]
RUN_IDS = ["one run", "1 and more", "2, 1 and more", "each on its own"]


@pytest.mark.parametrize("runs", RUNS, ids=RUN_IDS)
@pytest.mark.parametrize("bad", [{0}, {1}, {3}, {4}, {0, 1}, {1, 2, 4}, {0, 1, 2, 3, 4}], ids=str)
def test_a_row_that_cannot_be_loaded_raises_for_itself(bad: set[int], runs: Sequence[int]) -> None:
    for fetch in (Holder.next_row, lambda holder: next(holder.each_row(), None)):
        holder = dates(*[INFINITE if n in bad else n + 1 for n in range(5)], runs=runs)
        for number in range(5):
            assert holder.rownumber == number
            if number in bad:
                with pytest.raises(DataError, match="'infinity'.*column 'd'"):
                    fetch(holder)
            else:
                assert day(fetch(holder)) == number + 1
        assert fetch(holder) is None
        assert holder.rowcount == 5


@pytest.mark.parametrize("runs", RUNS, ids=RUN_IDS)
@pytest.mark.parametrize("fetch", [Holder.remaining_rows, lambda holder: holder.next_rows(5)], ids=["all", "many"])
def test_many_rows_of_which_one_cannot_be_loaded(runs: Sequence[int], fetch: Callable[[Holder], Any]) -> None:
    """What is there before it is not lost; it is passed by when it is the first."""
    holder = dates(1, 2, INFINITE, 4, 5, runs=runs)
    for _ in range(2):
        with pytest.raises(DataError, match="infinity"):
            fetch(holder)
        assert holder.rownumber == 0
    assert [day(row) for row in holder.next_rows(2)] == [1, 2]
    with pytest.raises(DataError, match="infinity"):
        fetch(holder)
    assert holder.rownumber == 3
    assert [day(row) for row in fetch(holder)] == [4, 5]
    holder.move(1, "absolute")
    assert day(holder.next_row()) == 2


@pytest.mark.parametrize("runs", RUNS, ids=RUN_IDS)
def test_moving_among_rows_that_cannot_be_loaded(runs: Sequence[int]) -> None:
    holder = dates(INFINITE, 2, INFINITE, 4, 5, runs=runs)
    for number, expected in [(3, 4), (1, 2), (4, 5), (1, 2), (3, 4)]:
        holder.move(number, "absolute")
        assert day(holder.next_row()) == expected
        holder.move(0, "absolute")
        with pytest.raises(DataError, match="infinity"):
            holder.next_row()
        assert day(holder.next_row()) == 2


def test_the_work_for_rows_that_cannot_be_loaded_is_linear() -> None:
    count = 4000
    holder = dates(*[INFINITE] * count)
    seen: list[int] = []
    after = Run.after

    def counted(run: Run, start: int) -> int:
        seen.append(start)
        return after(run, start)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "after", counted)
        for _ in range(count):
            with pytest.raises(DataError):
                holder.next_row()
    assert len(seen) <= 2 * count


def test_loaders_that_are_registered_later_count_for_rows_not_fetched_yet() -> None:
    class Negative(Loader):
        def load(self, data: bytes) -> int:
            return -int(data)

    holder = holding(rows(1, 2, 3, 4))
    assert holder.next_row() == (1,)
    holder.adapters.register_loader("int4", Negative)
    holder.forget_loaded()
    assert holder.next_row() == (-2,)
    assert holder.remaining_rows() == [(-3,), (-4,)]
    holder.move(0, "absolute")
    assert holder.next_row() == (-1,)


def test_what_a_users_loader_raises_is_left_as_it_is() -> None:
    class Mine(Exception):
        pass

    class Fails(Loader):
        def load(self, data: bytes) -> int:
            if data == b"2":
                raise Mine
            return int(data)

    holder = holding(rows(1, 2, 3))
    holder.adapters.register_loader("int4", Fails)
    assert holder.next_row() == (1,)
    with pytest.raises(Mine):
        holder.next_row()
    assert holder.next_row() == (3,)


# -- settings that change amid a request


def in_styles(before: str, after: str, *results: Result) -> Holder:
    holder = Holder()
    request = RowsRequest()
    request.results = list(results)
    request.parameters_before, request.parameters = {"DateStyle": before}, {"DateStyle": after}
    holder.load_ahead(request, request.parameters_before)
    holder.take_request(request)
    return holder


def test_rows_are_loaded_by_the_settings_of_their_time() -> None:
    second_of_january = "01/02/2003"
    results = [rows(second_of_january, fields=DATES), command("SET"), rows(second_of_january, fields=DATES)]
    holder = in_styles("SQL, MDY", "SQL, DMY", *results)
    assert day(holder.next_row()) == 2
    holder.go_to_result(2)
    assert day(holder.next_row()) == 1
    # A single statement may change them by a function, before it writes the first row.
    assert day(in_styles("SQL, MDY", "SQL, DMY", rows(second_of_january, fields=DATES)).next_row()) == 1


@pytest.mark.parametrize("by", ["SELECT 1", "SET"])
def test_settings_of_which_nobody_knows_who_changed_them(by: str) -> None:
    between = [command("SET"), rows("01/02/2003", fields=DATES), command("SET")]
    several = [rows("01/02/2003", fields=DATES), rows("01/02/2003", fields=DATES)] if by == "SELECT 1" else between
    for number in range(len(several)):
        if several[number].fields is not None:
            holder = in_styles("SQL, MDY", "SQL, DMY", *several)
            holder.go_to_result(number)
            with pytest.raises(DataError, match="settings changed amid"):
                holder.next_row()
    # It does not matter to most values.
    holder = in_styles("SQL, MDY", "SQL, DMY", rows("2003-02-01", 0, fields=DATES), rows(5))
    assert day(holder.next_row()) == 1
    holder.go_to_result(1)
    assert holder.next_row() == (5,)
