"""Rows as the server sent them become Python objects: which loaders there are, and what is said where one fails."""

from __future__ import annotations

import struct
from datetime import date
from typing import Any

import pytest

from anyq._accel import keep_rows
from anyq.adapt import Format, Loader, Transformer
from anyq.errors import DataError
from anyq.postgres import types
from anyq.protocol.messages import DataRow, FieldDescription
from anyq.protocol.request import Result, Run
from anyq.statements.loading import DoubtfulLoads, LoadedAhead, RowLoads
from anyq.types.string import TextLoader
from tests.support.values import FakeConnection


def field(name: str, type_name: str, format: Format = Format.TEXT) -> FieldDescription:
    return FieldDescription(name, 0, 0, types[type_name].oid, -1, -1, format)


def run_of(fields: tuple[FieldDescription, ...], *rows: tuple[bytes | None, ...]) -> Run:
    result = Result(fields)
    data = b"".join(DataRow(row).encode() for row in rows)
    keep_rows(result, data, 0, len(data))
    return Run._make(result.runs[0])


@pytest.fixture
def tx() -> Transformer:
    return Transformer(FakeConnection())


def test_a_run_is_loaded_from_anywhere(tx: Transformer) -> None:
    fields = field("a", "int4", Format.BINARY), field("b", "text")
    run = run_of(fields, (b"\0\0\0\7", b"x"), (None, b""), (b"\0\0\0\1", None))
    loads = RowLoads(tx, fields)
    expected = [(7, "x"), (None, ""), (1, None)]
    start = run.start
    for number in range(3):
        rows: list[tuple[Any, ...]] = []
        assert loads.load(run, start, rows) == run.stop
        assert rows == expected[number:]
        start = run.after(start)
    assert start == run.stop


def test_what_it_is_for(tx: Transformer) -> None:
    loads = RowLoads(tx, (field("a", "int4"),))
    assert (loads.parameters, loads.adapters, loads.version) == (tx.parameters, tx.adapters, tx.adapters.version)
    tx.adapters.register_loader("text", TextLoader)
    assert loads.version != tx.adapters.version


def test_settings_that_make_a_difference() -> None:
    fields = (field("d", "date"), field("i", "int4"))
    styles = [Transformer(parameters={"DateStyle": style}) for style in ("SQL, MDY", "SQL, DMY")]
    loads = DoubtfulLoads([RowLoads(tx, fields) for tx in styles])
    rows: list[tuple[Any, ...]] = []
    run = run_of(fields, (b"2003-02-01", b"1"), (None, b"2"))
    assert loads.load(run, run.start, rows) == run.stop
    assert rows == [(date(2003, 2, 1), 1), (None, 2)]
    run = run_of(fields, (b"01/02/2003", b"1"))
    rows.clear()
    with pytest.raises(DataError, match="settings changed amid"):
        loads.load(run, run.start, rows)
    assert rows == []


def fails(error: BaseException) -> type[Loader]:
    class Fails(Loader):
        def load(self, data: bytes) -> Any:
            raise error

    return Fails


OWN: list[tuple[str, Format, bytes, str]] = [
    ("date", Format.TEXT, b"infinity", "cannot load date 'infinity'.*column 'b'"),
    ("int4", Format.TEXT, b"seven", "invalid literal.*column 'b'"),
    ("int4", Format.BINARY, b"\0", "length that its type has.*column 'b'"),
    ("text", Format.TEXT, b"caf\xe9", "'utf-8' codec can't decode.*column 'b'"),
    ("json", Format.TEXT, b"[1,", "column 'b'"),
]


@pytest.mark.parametrize(("name", "format", "data", "message"), OWN, ids=[f"{n} {f.name}" for n, f, _, _ in OWN])
def test_what_cannot_be_loaded_is_a_data_error_with_the_column(
    name: str, format: Format, data: bytes, message: str, tx: Transformer
) -> None:
    fields = field("a", "int4"), field("b", name, format), field("c", name, format)
    run = run_of(fields, (b"1", None, None), (b"2", data, data), (b"3", None, None))
    rows: list[tuple[Any, ...]] = []
    loads = RowLoads(tx, fields)
    bad = loads.load(run, run.start, rows)
    assert rows == [(1, None, None)]
    with pytest.raises(DataError, match=message):
        loads.load(run, bad, rows)
    assert loads.load(run, run.after(bad), rows) == run.stop
    assert rows == [(1, None, None), (3, None, None)]


@pytest.mark.parametrize(
    "error",
    [KeyError("mine"), struct.error("mine"), MemoryError(), KeyboardInterrupt()],
    ids=lambda e: type(e).__name__,
)
def test_what_others_raise_comes_through(error: BaseException, tx: Transformer) -> None:
    tx.adapters.register_loader("int4", fails(error))
    fields = (field("a", "int4"),)
    with pytest.raises(type(error)) as info:
        run = run_of(fields, (b"1",))
        RowLoads(tx, fields).load(run, run.start, [])
    assert info.value is error


def test_a_lack_of_memory_is_no_fault_of_the_value(tx: Transformer, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Any, data: bytes) -> Any:
        raise MemoryError

    fields = (field("a", "uuid"),)
    monkeypatch.setattr(type(tx.get_loader(types["uuid"].oid, Format.TEXT)), "load", load)
    run = run_of(fields, (b"1",))
    with pytest.raises(MemoryError):
        RowLoads(tx, fields).load(run, run.start, [])


def test_a_loader_that_fails_but_once(tx: Transformer) -> None:
    """The error that was raised counts, even if the second look finds nothing."""
    calls: list[bytes] = []

    class Once(Loader):
        def load(self, data: bytes) -> Any:
            calls.append(data)
            if len(calls) == 1:
                raise ZeroDivisionError
            return data

    tx.adapters.register_loader("int4", Once)
    fields = (field("a", "int4"),)
    run = run_of(fields, (b"1",))
    with pytest.raises(ZeroDivisionError):
        RowLoads(tx, fields).load(run, run.start, [])


def test_no_columns(tx: Transformer) -> None:
    run = run_of((), (), (), ())
    rows: list[tuple[Any, ...]] = []
    assert RowLoads(tx, ()).load(run, run.start, rows) == run.stop
    assert rows == [(), (), ()]


# -- before anybody fetches


def test_what_has_come_is_loaded_a_piece_at_a_time(tx: Transformer) -> None:
    fields = (field("a", "int4"),)
    runs = [run_of(fields, *[(b"%d" % (10 * number + i),) for i in range(10)]) for number in range(4)]
    ahead = LoadedAhead(RowLoads(tx, fields))
    assert ahead.go_on(runs[:3], 15)  # a run is loaded as a whole
    assert ahead.rows == [(i,) for i in range(20)]
    assert (ahead.run, ahead.after) == (1, runs[1].stop)
    assert not ahead.go_on(runs[:3], 15)
    assert not ahead.go_on(runs[:3], 15)
    assert ahead.rows == [(i,) for i in range(30)]
    assert not ahead.go_on(runs, 15)
    assert ahead.rows == [(i,) for i in range(40)]


@pytest.mark.parametrize("bad", [0, 1, 2, 3])
def test_nothing_is_loaded_ahead_from_what_cannot_be_loaded_on(tx: Transformer, bad: int) -> None:
    fields = (field("a", "int4"),)
    values: list[tuple[bytes | None, ...]] = [(b"%d" % i,) for i in range(4)]
    values[bad] = (b"x",)
    runs = [run_of(fields, *values[:2]), run_of(fields, *values[2:])]
    ahead = LoadedAhead(RowLoads(tx, fields))
    for _ in range(2):
        assert not ahead.go_on(runs, 100)
        assert ahead.rows == [(i,) for i in range(bad)]
        start = runs[ahead.run].start
        for _ in range(bad % 2):
            start = runs[ahead.run].after(start)
        assert (ahead.run, ahead.after) == (bad // 2, start)
