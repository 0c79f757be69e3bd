"""The compiled dumpers against the ones in Python: equal values of equal types, or equal errors.

Both run in one process, so this is of use whichever implementation is chosen, as long as the compiled one is built.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from anyq._accel import python
from anyq.adapt import PyFormat, Transformer, transformer
from anyq.errors import DataError
from anyq.protocol.frontend import bind
from anyq.session import executemany as _executemany
from anyq.session.naming import Names
from anyq.statements.binders import SERVER_SIDE
from anyq.statements.composer import Composer
from anyq.types.enum import EnumInfo, register_enum
from anyq.types.numeric import Float4, Int2, Int4, Int8, IntNumeric, Oid
from anyq.types.string import StrDumper
from tests.support.sessions import started
from tests.support.twins import Context, outcome, twin_or_skip

dumping = twin_or_skip("dumping")

NAMED = ["Europe/Berlin", "America/New_York", "Africa/Monrovia"]


class Colour(enum.IntEnum):
    RED = 1


class Mood(enum.Enum):
    sad = 1
    ok = 2
    fine = 2


class Loud(enum.Enum):
    sad = 1

    @property
    def name(self) -> str:
        return "SAD"


class Can(enum.Flag):
    READ = 1
    WRITE = 2


class Text(str):
    pass


class Number(float):
    pass


OBJECTS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.sampled_from(
        [sign * 2**bits - less for bits in (15, 16, 31, 32, 63, 64) for sign in (1, -1) for less in (0, 1)]
    ),
    st.floats(),
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=6),
    st.sampled_from(["NULL", "null", "", "a b", 'a"b', "a\\b", "{", "a,b", "\xa0", "nul", "\0", "\ud800"]),
    st.binary(max_size=6),
    st.binary(max_size=6).map(bytearray),
    st.decimals(allow_nan=True),
    st.sampled_from([Decimal(text) for text in ("NaN", "-NaN12", "sNaN3", "-Infinity", "1E+5", "0E-7", "-0", "1E-7")]),
    st.uuids(),
    st.ip_addresses(),
    st.builds(
        lambda make, address, bits: make((int(address), min(bits, address.max_prefixlen))),
        st.sampled_from([ip_interface, lambda pair: ip_network(pair, strict=False)]),
        st.ip_addresses(),
        st.integers(0, 128),
    ),
    st.sampled_from([ip_interface("10.0.0.1/8"), ip_network("10.0.0.0/8"), ip_address("fe80::1%eth0")]),
    st.sampled_from([ip_interface("fe80::1%eth0/64"), *Mood, *Loud, *Can, Can.READ | Can.WRITE, Can(0)]),
    st.dates(),
    st.times(),
    st.datetimes(),
    st.datetimes(
        timezones=st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(seconds=1)), *map(ZoneInfo, NAMED)])
    ),
    st.times(timezones=st.just(dt.timezone(dt.timedelta(hours=-5)))),
    st.timedeltas(),
    st.sampled_from([Int2(7), Int4(7), Int8(7), IntNumeric(7), Oid(7), Float4(0.1), Colour.RED, Text("a"), Number(3)]),
)
LISTS = st.one_of(
    st.lists(st.one_of(st.none(), st.integers(-(2**64), 2**64)), max_size=5),
    st.lists(st.one_of(st.none(), st.integers(-70_000, 70_000)), max_size=5),
    st.lists(st.one_of(st.none(), st.text(max_size=4)), max_size=4),
    st.lists(
        st.sampled_from(["NULL", "nULl", "", "a b", 'a"b', "a\\b", "{}", "a,b", "\xa0", "nul", "\0", "\v"]), max_size=4
    ),
    st.lists(st.one_of(st.none(), st.floats()), max_size=4),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=4),
    st.lists(st.decimals(), max_size=3),
    st.lists(st.uuids(), max_size=3),
    st.lists(st.dates(), max_size=3),
    st.lists(st.datetimes(), max_size=3),
    st.lists(st.binary(max_size=4), max_size=3),
    st.lists(OBJECTS, max_size=3),
    st.lists(st.lists(st.integers(0, 3), max_size=2), max_size=2),
    st.integers(1, 3).flatmap(lambda size: st.lists(st.lists(st.integers(), min_size=size, max_size=size), max_size=3)),
    st.lists(
        st.lists(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=2, max_size=2), min_size=1), max_size=2
    ),
    st.lists(st.one_of(st.none(), st.ip_addresses()), max_size=3),
    st.lists(st.sampled_from(Mood), max_size=3),
    st.lists(st.datetimes(timezones=st.just(dt.timezone.utc)), max_size=3),
)


def dumped(implementation: Any, params: Sequence[object], formats: Sequence[PyFormat]) -> Any:
    """Dump with a transformer that has only ever used this implementation."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
            patch.setattr(transformer, name, getattr(implementation, name))
        tx = Transformer(Context())
        once = outcome(tx.dump_sequence, params, formats)
        # And again, by the plans that are there now.
        assert outcome(tx.dump_sequence, params, formats) == once
        return once


@given(st.lists(st.tuples(st.one_of(OBJECTS, LISTS), st.sampled_from(PyFormat)), max_size=3))
def test_parameters(params: list[tuple[object, PyFormat]]) -> None:
    objects, formats = [one for one, _ in params], [other for _, other in params]
    assert dumped(dumping, objects, formats) == dumped(python, objects, formats)


@pytest.mark.parametrize("implementation", [dumping, python], ids=["compiled", "python"])
@pytest.mark.parametrize("registered", [True, False])
def test_a_member_is_dumped_as_it_was_the_first_time(
    implementation: Any, registered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Size(enum.Enum):
        small = 1
        large = 2

    class Named(enum.Enum):
        small = 1

        @property
        def name(self) -> str:
            return name_now[0]

    name_now = ["small"]
    for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
        monkeypatch.setattr(transformer, name, getattr(implementation, name))
    context = Context()
    if registered:
        register_enum(EnumInfo("size", 60_000, 60_001, ["small", "large"]), context, Size)
        register_enum(EnumInfo("named", 60_002, 60_003, ["small"]), context, Named)
    tx = Transformer(context)

    def dump(*members: enum.Enum) -> list[Any]:
        return list(tx.dump_sequence(members, [PyFormat.AUTO] * len(members))[0])

    assert dump(Size.small) == [b"small"]
    monkeypatch.setattr(Size.small, "_name_", "large")
    assert dump(Size.small, Size.large) == [b"small", b"large"]
    # But where the class says that it is another one each time.
    assert dump(Named.small) == [b"small"]
    name_now[0] = "large"
    if registered:
        with pytest.raises(DataError, match="no label for"):
            dump(Named.small)
    else:
        assert dump(Named.small) == [b"large"]


COLUMNS = [OBJECTS, LISTS, st.integers(0, 100_000), st.one_of(st.none(), st.text(max_size=5)), st.floats(), st.dates()]


@st.composite
def many_sets(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """A query and sets of parameters for it, most of which are like each other."""
    columns = draw(st.lists(st.sampled_from(COLUMNS), max_size=3))
    query = ", ".join([draw(st.sampled_from(["%s", "%b", "%t"])) for _ in columns])
    usual = st.one_of(st.tuples(*columns), st.tuples(*columns).map(list))
    sets = draw(st.lists(usual, max_size=8))
    if draw(st.booleans()):
        sets.insert(draw(st.integers(0, len(sets))), draw(st.sampled_from([(), (1,), [2, "x"], {"a": 1}, "ab", 5])))
    return query, sets


def bound(implementation: Any, query: str, sets: Sequence[Any], meddle: Callable[[Transformer], None]) -> Any:
    """Return the batches that these sets make; `meddle` is called in the middle."""
    batches: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
            patch.setattr(transformer, name, getattr(implementation, name))
        patch.setattr(_executemany, "bind_sets", implementation.bind_sets)
        patch.setattr(_executemany, "BATCH_SETS", 3)
        patch.setattr(_executemany, "BATCH_BYTES", 150)
        tx = Transformer(Context())

        def feed() -> Iterator[Any]:
            for index, params in enumerate(sets):
                if index == len(sets) // 2:
                    meddle(tx)
                yield params

        many: Any = _executemany.Sets(query, SERVER_SIDE, tx, False, Names(Composer(None, started()), by_name=False))
        many.refill(feed())
        more = True
        while more:
            result = outcome(many.batch)
            batches.append((result, many.previous))
            more = result[0] is tuple and result[1][1] == (bool, "True")
    return batches


@given(many_sets())
@example(("%s, %s", [(1, None), (2, None), (3, "a"), (None, "b"), (40_000, "c")] * 3))
def test_sets_of_parameters(case: tuple[str, list[Any]]) -> None:
    assert bound(dumping, *case, lambda tx: None) == bound(python, *case, lambda tx: None)


def bound_alike(implementation: Any, formats: Any, like: Any, params: Any) -> Any:
    """What comes of binding parameters to a statement that was prepared for others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
            patch.setattr(transformer, name, getattr(implementation, name))
        tx = Transformer(Context())
        try:
            _, oids, wire = tx.dump_sequence(like, formats)
        except Exception:
            assume(False)
        alike = implementation.Alike(tx, formats, oids, wire, b"a_name", (1, 0, 1), b"behind")
        out = bytearray(b"before")
        try:
            taken = alike.bind(out, params)
        except Exception:
            # Who executes gets it from the dumpers, which are tried next.
            taken = False
        return taken, bytes(out)


@given(st.data())
def test_one_set_bound_like_another(data: st.DataObject) -> None:
    columns = st.tuples(*data.draw(st.lists(st.sampled_from(COLUMNS), max_size=3)))
    like, params = data.draw(columns), data.draw(columns | st.sampled_from([(), [1], "ab", 5, {"a": 1}]))
    formats = tuple(data.draw(st.sampled_from(PyFormat)) for _ in like)
    taken, out = bound_alike(dumping, formats, like, params)
    # It may leave what is not usual to others, of which there is nothing to be seen then.
    assert out == b"before" if not taken else (taken, out) == bound_alike(python, formats, like, params)


@pytest.mark.parametrize("implementation", [python, dumping], ids=["python", "cython"])
def test_a_set_bound_like_another_is_what_bind_makes_of_it(
    implementation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DumpPlan", "compile_dump", "compile_key", "dump_values"):
        monkeypatch.setattr(transformer, name, getattr(implementation, name))
    tx = Transformer(Context())
    formats = (PyFormat.AUTO, PyFormat.TEXT)
    values, oids, wire = tx.dump_sequence((7, "x"), formats)
    plain = bytearray()
    bind(plain, b"", b"a_name", wire, values, (1,), b"behind")
    alike = implementation.Alike(tx, formats, oids, wire, b"a_name", (1,), b"behind")
    out = bytearray()
    assert alike.bind(out, [7, "x"])
    assert out == plain
    assert alike.bind(bytearray(), (8, ""))
    assert not alike.bind(out, [70_000, "x"])
    assert not alike.bind(out, [None, "x"])
    tx.adapters.register_dumper(str, StrDumper)
    assert not alike.bind(out, [7, "x"])
    assert out == plain


def test_a_dumper_that_is_registered_between_two_sets_counts() -> None:
    class Louder(StrDumper):
        def dump(self, obj: str) -> bytes:
            return obj.upper().encode()

    def register(tx: Transformer) -> None:
        tx.adapters.register_dumper(str, Louder)

    case = "%s", [("a",), ("b",), ("c",), ("d",)]
    batches = bound(dumping, *case, register)
    assert batches == bound(python, *case, register)
    assert b"b" in eval(batches[0][0][1][0][1])
    assert b"C" in eval(batches[0][0][1][0][1])


def test_sets_of_parameters_that_end_in_an_error() -> None:
    def fail(tx: Transformer) -> None:
        raise LookupError("the generator's own")

    case = "%s", [(1,), (2,), (3,), (4,)]
    assert bound(dumping, *case, fail) == [((LookupError, "the generator's own"), 0)]
