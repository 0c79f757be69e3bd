"""The pure Python twin of the hot loops; it works everywhere and defines what the compiled one must do.

Knows how a DataRow is laid out (manual, "Message Formats"), and the plans that a `Transformer` makes. Must not know
types, requests or sockets.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any, Protocol, TypeVar, cast

from ..protocol.frontend import bind
from ..protocol.handlers import torn_row, wrong_number
from ..protocol.request import Result
from ..protocol.session import ReplyTaker
from .failures import dumped_buffer

_HEADER = Struct("!BIH").unpack_from  # code, length, number of columns
_SINGLE = Struct("!BIHi").unpack_from  # the same and the first column's length
_LENGTH = Struct("!i").unpack_from
_DATA_ROW = ord("D")
T = TypeVar("T")

_EXACT = (tuple, list)  # what parameters can be taken from without a look at their class


def keep_rows(result: Result, run: bytes, pos: int, end: int) -> int:
    """Take every complete DataRow message in `run` from `pos` on, without a break, into a result.

    :return: the position of the first byte that is not part of a complete DataRow.
    :raises RemoteProtocolError: a row's columns do not add up to its length or to the row description.
    """
    assert result.fields is not None
    columns = len(result.fields)
    values: list[bytes | None] = []
    pos, count = (_split_single if columns == 1 else _split)(run, pos, end, columns, values)
    if count:
        # As values and not as messages, so that each is cut out but once.
        result.take(values, 0, count, count)
    return pos


def _split(run: bytes, pos: int, end: int, columns: int, values: list[bytes | None]) -> tuple[int, int]:
    rows = 0
    while end - pos >= 7:
        code, length, count = _HEADER(run, pos)
        stop = pos + 1 + length
        if code != _DATA_ROW or stop > end:
            break
        if count != columns:
            raise wrong_number(count, columns)
        pos += 7
        for _ in range(columns):
            (size,) = _LENGTH(run, pos) if stop - pos >= 4 else (-2,)
            pos += 4
            if size >= 0:
                after = pos + size
                if after > stop:
                    raise torn_row()
                values.append(run[pos:after])
                pos = after
            elif size == -1:
                values.append(None)
            else:
                raise torn_row()
        if pos != stop:
            raise torn_row()
        rows += 1
    return pos, rows


def _split_single(run: bytes, pos: int, end: int, columns: int, values: list[bytes | None]) -> tuple[int, int]:
    while end - pos >= 11:
        code, length, count, size = _SINGLE(run, pos)
        stop = pos + 1 + length
        if code != _DATA_ROW or stop > end:
            break
        if count != columns:
            raise wrong_number(count, columns)
        if size == length - 10 >= 0:
            values.append(run[pos + 11 : stop])
        elif size == -1 and length == 10:
            values.append(None)
        else:
            raise torn_row()
        pos = stop
    return pos, len(values)


def load_rows(
    data: Any,
    start: int,
    stop: int,
    loads: Sequence[Callable[[bytes], Any]],
    rows: list[tuple[Any, ...]],
) -> None:
    """Append a tuple to `rows` for every row of a :class:`Run` from `start` to `stop`.

    What a load function raises comes through; the rows before that one have been appended then.
    """
    columns = len(loads)
    if not columns:
        rows.extend([()] * (stop - start))
    elif columns == 1 and stop - start == 1:
        value = data[start]
        rows.append((None if value is None else loads[0](value),))
    else:
        values = data[columns * start : columns * stop]
        # Row by row, though it does not look like it: for each one the zip takes an item of each of these.
        before = len(rows)
        rows.extend(zip(*[_loaded(values[i::columns], load) for i, load in enumerate(loads)], strict=False))
        if len(rows) - before < stop - start:
            raise RuntimeError("a loader raised StopIteration")


def _loaded(values: list[bytes | None], load: Callable[[bytes], Any]) -> Iterable[Any]:
    if None in values:
        return (None if value is None else load(value) for value in values)
    return map(load, cast("list[bytes]", values))


def args_maker(func: Callable[..., T]) -> Callable[[Sequence[Any]], T]:
    """Return what calls a function with the values of a row."""

    def make_with_args(values: Sequence[Any]) -> T:
        return func(*values)

    return make_with_args


def kwargs_maker(func: Callable[..., T], names: Sequence[str]) -> Callable[[Sequence[Any]], T]:
    """Return what calls a function with the values of a row, by name: the last of columns that share one wins."""

    def make_with_kwargs(values: Sequence[Any]) -> T:
        return func(**dict(zip(names, values)))  # noqa: B905 (as long as each other, and strict= costs)

    return make_with_kwargs


def namedtuple_maker(cls: Any) -> Callable[[Sequence[Any]], Any]:
    """Return what makes named tuples of rows.

    :param cls: a class that `namedtuple()` has made, and nobody changes.
    """
    make: Callable[[Sequence[Any]], Any] = cls._make
    return make


def dict_maker(names: Sequence[str]) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Return what makes a dictionary of a row: the last of columns that share a name wins."""

    def make_dict(values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(names, values))  # noqa: B905 (as long as each other, and strict= costs)

    return make_dict


def make_rows(
    make: Callable[[Sequence[Any]], T], rows: list[tuple[Any, ...]], left: Iterator[tuple[Any, ...]]
) -> list[T]:
    """Return what is made of rows, in a list that is another one or the same.

    :param rows: may be changed.
    :param left: an iterator over that. What is left of it tells which row could not be made, if one could not.
    """
    return [make(row) for row in left]


def compile_load(load: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Return what to call for each value: here, the load function as it is."""
    return load


def compile_dump(dump: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what to call for each parameter of a class: here, the dump function as it is."""
    return dump


def compile_key(get_key: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return what to call to tell objects of a class apart: here, the `get_key` as it is."""
    return get_key


class DumpPlan:
    """How to dump the objects of one class, or of one key of a class."""

    __slots__ = ("by_key", "dump", "dumper", "format", "get_key", "oid")

    def __init__(
        self,
        get_key: Callable[[Any, Any], Any] | None,
        dump: Callable[[Any], Any],
        oid: int,
        format: int,
        dumper: Any,
    ) -> None:
        self.get_key = get_key
        """What tells objects of the class apart, None where all of them are dumped alike."""
        self.by_key: dict[Any, DumpPlan] = {}
        """The plans for those that `get_key` has told apart."""
        self.dump = dump
        self.oid = oid
        self.format = format
        self.dumper = dumper
        """What `dump` is a method of."""


def dump_values(
    params: Sequence[object],
    formats: Sequence[Any],
    plans: Mapping[Any, Mapping[type, DumpPlan]],
    make_plan: Callable[[Any, Any], DumpPlan],
    make_key_plan: Callable[[DumpPlan, Any, Any], DumpPlan],
    values: list[Any],
    oids: list[int],
    wire: list[int],
) -> None:
    """Append the value, the oid and the wire format of each parameter: NULL, 0 and 0 for None.

    :param plans: of each format, what is known of classes.
    :param make_plan: called with an object and a format for a class without a plan.
    :param make_key_plan: called with a plan, an object and a format for a key without one.
    """
    for obj, format in zip(params, formats):  # noqa: B905 (whoever calls this has compared their lengths, and strict= costs)
        if obj is None:
            values.append(None)
            oids.append(0)
            wire.append(0)
            continue
        plan = plans[format].get(type(obj))
        if plan is None:
            plan = make_plan(obj, format)
        get_key = plan.get_key
        if get_key is not None:
            plan = plan.by_key.get(get_key(obj, format)) or make_key_plan(plan, obj, format)
        value = plan.dump(obj)
        if type(value) is not bytes:
            value = dumped_buffer(value, plan.dump)
        values.append(value)
        oids.append(plan.oid)
        wire.append(plan.format)


class _Versioned(Protocol):
    @property
    def version(self) -> int: ...


class Dumping(Protocol):
    """What is asked of a `Transformer` here."""

    @property
    def adapters(self) -> _Versioned:
        """Return the map, whose version changes with every registration."""
        ...

    @property
    def dump_plans(self) -> Mapping[Any, Mapping[type, DumpPlan]]:
        """Return the plans that there are, of each format those for classes."""
        ...

    def dump_sequence(self, params: Sequence[object], formats: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Return the values, the oids and the wire formats of parameters."""
        ...


class Nesting:
    """How deep a `Transformer` is in values inside of values, which it dumps."""

    __slots__ = ("level",)

    def __init__(self) -> None:
        self.level = 0


class Alike:
    """Binds sets of parameters to one statement, if they are like one that was bound to it before.

    :param tx: the `Transformer` that has dumped that one.
    :param formats: those asked for each parameter.
    :param oids: the types that the parameters had.
    :param wire: the formats that they had.
    :param after: bytes that go behind each Bind.
    """

    __slots__ = ("_after", "_formats", "_oids", "_results", "_statement", "_tx", "_version", "_wire")

    def __init__(
        self,
        tx: Dumping,
        formats: tuple[Any, ...],
        oids: tuple[int, ...],
        wire: Sequence[int],
        statement: bytes,
        results: Sequence[int],
        after: bytes,
    ) -> None:
        self._tx = tx
        self._version = tx.adapters.version
        self._formats = formats
        self._oids = oids
        self._wire = list(wire)
        self._statement = statement
        self._results = results
        self._after = after

    def bind(self, out: bytearray, params: Any) -> bool:
        """Append the messages of a set; if it is not like the other append nothing, and return False."""
        if type(params) not in _EXACT or len(params) != len(self._formats):
            return False
        if self._version != self._tx.adapters.version:
            return False
        values, oids, wire = self._tx.dump_sequence(params, self._formats)
        if oids != self._oids or wire != self._wire:
            return False
        bind(out, b"", self._statement, wire, values, self._results, self._after)
        return True


def bind_sets(
    out: bytearray, sets: Iterator[Any], most: int, size: int, add: Callable[[bytearray, Any], tuple[Any, ...] | None]
) -> int:
    """Append the messages of sets of parameters to `out`, until it has `size` bytes or there are `most` sets.

    :param add: appends those of one set. It returns the arguments of the `Alike` for the sets that follow it, None if
        each of them is to be given to it as well.
    :return: how many sets there were.
    """
    count = 0
    for params in sets:
        add(out, params)
        count += 1
        if count == most or len(out) >= size:
            break
    return count


class RowFormatting(Protocol):
    """What writes rows of a COPY in Python: a `RowFormatter`."""

    def format_pure(self, row: Sequence[Any], out: bytearray) -> bool:
        """Append a row to `out`; return whether that has more than enough bytes."""
        ...


def compile_format(formatter: RowFormatting) -> Callable[[Sequence[Any], bytearray], bool]:
    """Return what to call for each row that is written for a COPY: here, the method in Python."""
    return formatter.format_pure


class RowParsing(Protocol):
    """What reads rows of a COPY in Python: a `RowParser`."""

    def parse_pure(self, chunk: bytes) -> list[tuple[Any, ...]]:
        """Take more of the data, and return the rows that are complete by it."""
        ...


def compile_parse(parser: RowParsing) -> Callable[[bytes], list[tuple[Any, ...]]]:
    """Return what to call for each piece of the data of a COPY: here, the method in Python."""
    return parser.parse_pure


def send_now(sock: socket.socket, data: bytes | bytearray | memoryview) -> int:
    """Send what a non-blocking socket takes now; return how many bytes that is, 0 if it would block."""
    try:
        return sock.send(data)
    except (BlockingIOError, InterruptedError):
        return 0


def receive_now(sock: socket.socket, most: int) -> bytes | None:
    """Return what a non-blocking socket has now, `most` bytes at most; None if it would block."""
    try:
        return sock.recv(most)
    except (BlockingIOError, InterruptedError):
        return None


def readable_within(fd: int, seconds: float) -> bool:
    """Return whether a socket is readable by then, asking again and again. Other threads may run meanwhile.

    On Windows, where a socket cannot be asked in this way, always False.
    """
    if not hasattr(select, "poll"):
        return False
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    end = time.perf_counter() + seconds
    while not poller.poll(0):
        if time.perf_counter() >= end:
            return False
    return True


take_replies: ReplyTaker | None = None
"""What takes the commonest replies. In pure Python the session's own handlers do, and there is nothing faster."""


class Done(Coroutine[Any, Any, None]):
    """A coroutine that is over when it is awaited, and may be awaited by anyone, and again."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        return cast("Generator[Any, Any, None]", iter(()))

    def send(self, value: Any) -> Any:
        raise StopIteration

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        raise kind if value is None else value

    def close(self) -> None:
        pass


DONE: Coroutine[Any, Any, None] = Done()
"""What a function returns that is to be awaited, where there is nothing to wait for: a coroutine function would make
a coroutine each time, which takes as long as all that some of them do."""


class Seat:
    """The base of `sync.direct.Direct`: the compiled twin has the attributes of that as fields, and its `call()`."""
