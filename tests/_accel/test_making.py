"""What makes rows, compiled, against what does so in Python: equal objects of the same class, or equal errors.

Both run in one process, so this is of use whichever implementation is chosen, as long as the compiled one is built.
"""

from __future__ import annotations

import abc
import functools
import gc
import re
import sys
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FunctionType, new_class
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyq._accel import python
from tests.support.twins import outcome, twin_or_skip

making = twin_or_skip("making")

T = TypeVar("T")

NAMES = ["a", "b", "c", "self", "cls", "d", "?column?", "", "class", "é", "\ufb01", "args"]
names = st.lists(st.sampled_from(NAMES), max_size=5)


def both(maker: str, *args: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    return getattr(making, maker)(*args), getattr(python, maker)(*args)


def agree(maker: str, args: tuple[Any, ...], *rows: Any) -> None:
    compiled, pure = both(maker, *args)
    for row in rows:
        # Some objects have but their address to show.
        one, other = [re.sub(r" at 0x\w+", "", repr(outcome(make, row))) for make in (compiled, pure)]
        assert one == other


# -- what is called, of any signature


@st.composite
def signatures(draw: st.DrawFn) -> str:
    """The parameters of a function, as they are written."""
    free = draw(st.permutations(["a", "b", "c", "d", "e", "é"]))
    kinds = [draw(st.integers(0, 2)) for _ in range(3)]
    parts: list[str] = []
    optional = False
    for number, kind in enumerate(("positional only", "either", "by name only")):
        taken, free = free[: kinds[number]], free[kinds[number] :]
        if kind == "by name only":
            if draw(st.booleans()):
                parts.append("*args")
            elif taken:
                parts.append("*")
        for name in taken:
            optional = draw(st.booleans()) or (optional and kind != "by name only")
            parts.append(f"{name}={name!r}" if optional else name)
        if kind == "positional only" and taken:
            parts.append("/")
    if draw(st.booleans()):
        parts.append("**kwargs")
    return ", ".join(parts)


def function_of(parameters: str, self: str = "") -> Any:
    """A function that returns, or keeps in `self`, all that it was given."""
    source = f"def called({', '.join(filter(None, [self, parameters]))}):\n    "
    source += "self.given = sorted(locals().items(), key=repr)[:-1]\n" if self else "return list(locals().items())\n"
    space: dict[str, Any] = {}
    exec(source, space)
    return space["called"]


class Given:
    """Its `repr` says all, except of which class it is."""

    def __repr__(self) -> str:
        return repr([item for item in getattr(self, "given", ()) if item[0] != "self"])


def fill(init: Any, space: dict[str, Any]) -> None:
    space["__init__"] = init


def forms(parameters: str) -> Iterator[Any]:
    """What can be called with these."""
    function = function_of(parameters)
    yield function
    yield functools.partial(function)
    yield lambda *args, **kwargs: function(*args, **kwargs)
    yield type("Static", (), {"make": staticmethod(function)}).make  # type: ignore[attr-defined]
    yield type("Class", (), {"make": classmethod(function_of(parameters, "self"))}).make  # type: ignore[attr-defined]
    yield type("Instance", (), {"__call__": staticmethod(function)})()
    for self in ("self", "self=None") if parameters[:1] in ("", "*") else ("self",):
        init = function_of(parameters, self)
        yield type("Plain", (Given,), {"__init__": init})
        yield abc.ABCMeta("Abstract", (Given,), {"__init__": init})
        generic: Any = Generic
        bases: Any = (Given, generic[T])
        parent: Any = new_class("Parent", bases, {}, functools.partial(fill, init))
        yield type("Inherits", (parent[int].__origin__,), {})
        yield type(
            "Slots", (), {"__slots__": ("given",), "__init__": init, "__repr__": lambda self: repr(self.given[1:])}
        )
    yield type("Wrapped", (Given,), {"__init__": functools.partialmethod(function_of(parameters, "self"))})


@given(signatures(), names, st.lists(st.integers(), max_size=6))
@example("a, b, c", ["a", "b", "c"], [1, 2, 3])
@example("a, b, c", ["c", "a", "b"], [1, 2, 3])
@example("a, b, c=7", ["b", "a", "b", "a"], [1, 2, 3, 4])
@example("a, b", ["a"], [1])
@example("a, **kwargs", ["?column?", "a", "class"], [1, 2, 3])
def test_arguments(parameters: str, columns: list[str], values: list[int]) -> None:
    fitting = tuple(range(len(columns)))
    for called in forms(parameters):
        agree("kwargs_maker", (called, columns), fitting, tuple(values), values)
        agree("args_maker", (called,), fitting, tuple(values), values)


@given(names, st.lists(st.integers(), max_size=5))
def test_dictionaries(columns: list[str], values: list[int]) -> None:
    for row in (tuple(values), values, tuple(range(len(columns)))):
        expected = python.dict_maker(columns)(row)
        assert list(making.dict_maker(columns)(row).items()) == list(expected.items())


Two = namedtuple("Two", "a b")


@given(st.lists(st.integers(), max_size=3))
def test_named_tuples(values: list[int]) -> None:
    agree("namedtuple_maker", (Two,), tuple(values), values)
    row = making.namedtuple_maker(Two)((1, [2]))
    assert (row, row.b, hash(Two(1, 2))) == ((1, [2]), [2], hash((1, 2)))
    assert gc.is_tracked(row)
    agree("namedtuple_maker", (namedtuple("Nothing", ""),), ())


# -- classes of many kinds


@dataclass
class Plain:
    a: int
    b: str = "b"


@dataclass(frozen=True)
class Frozen:
    a: int
    b: str = "b"


@dataclass(slots=True, order=True)
class Slots:
    a: int
    b: str = "b"


@dataclass(kw_only=True)
class ByName:
    a: int
    b: str = "b"


@dataclass
class Child(Plain):
    c: list[int] = field(default_factory=list)


@dataclass
class Checked:
    a: int
    b: str = "b"
    sum: int = field(init=False)

    def __post_init__(self) -> None:
        self.sum = self.a + 1


class Pair(NamedTuple):
    a: int
    b: str = "b"


class Typed(TypedDict):
    a: int
    b: str


class Counted(int):
    def __new__(cls, a: int, b: int = 0) -> Counted:
        return super().__new__(cls, a + b)


class Meta(type):
    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return cls.__name__, args, list(kwargs.items())


class OfMeta(metaclass=Meta):
    def __init__(self, a: int) -> None:
        raise AssertionError


class Abstract(abc.ABC):
    def __init__(self, a: int, b: int) -> None:
        raise AssertionError

    @abc.abstractmethod
    def missing(self) -> None: ...


class New:
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def __init__(self, a: int) -> None:
        raise AssertionError


class Returns:
    def __init__(self, a: Any, b: Any = None) -> Any:  # type: ignore[misc] # that is what is tested
        return a


class Failure(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a, b)


class Raises:
    def __init__(self, a: int, b: int) -> None:
        raise Failure(a, b)


class Nothing:
    pass


class Generator:
    @staticmethod
    def make(a: int, b: int) -> Any:
        raise StopIteration(a)


class Descriptor:
    class Init:
        def __get__(self, instance: Any, owner: Any) -> Any:
            return lambda **kwargs: vars(instance).update(kwargs)

    __init__ = Init()

    def __repr__(self) -> str:
        return repr(vars(self))


CALLED: list[Any] = [
    *(Plain, Frozen, Slots, ByName, Child, Checked, Pair, Typed, Counted, OfMeta, Abstract, New, Returns, Failure),
    *(Raises, Nothing, Generator.make, Descriptor),
    *(dict, list, tuple, int, complex, object, type, print, sum, property, str.format, Exception, len, None, 5),
]


@pytest.mark.parametrize("called", CALLED, ids=[getattr(one, "__qualname__", repr(one)) for one in CALLED])
def test_kinds_of_classes(called: Any) -> None:
    values: tuple[Any, ...]
    for values in ((1, 2), (None, 2), ([1, 2], (3,))):
        for columns in (["a", "b"], ["b", "a"], ["a", "x"], ["b", "b"], ["real", "imag"], ["x y", "class"]):
            agree("kwargs_maker", (called, columns), values)
        agree("args_maker", (called,), values, values[:1], (), (1, 2, 3))
    for columns in (["a"], ["b"], ["sum"], []):
        agree("kwargs_maker", (called, columns), (1,) * len(columns))


@pytest.mark.parametrize("library", ["attrs", "msgspec", "pydantic"])
def test_classes_of_libraries(library: str) -> None:
    module = pytest.importorskip(library, exc_type=ImportError)
    space: dict[str, Any] = {"__annotations__": {"a": int, "b": str, "c": "list[int] | None"}, "b": "b", "c": None}
    classes: list[Any] = []
    if library == "attrs":
        for options in ({}, {"frozen": True}, {"slots": False}, {"kw_only": True}, {"init": False}):
            classes.append(module.define(**options)(type("Row", (), dict(space))))
        space["a"] = module.field(validator=module.validators.gt(1), converter=int)
        classes.append(module.define(type("Row", (), space)))
    elif library == "msgspec":
        for options in ({}, {"frozen": True}, {"kw_only": True}, {"array_like": True}, {"gc": False}):
            classes.append(type(module.Struct)("Row", (module.Struct,), dict(space), **options))

        def after(self: Any) -> None:
            if self.a == 1:
                raise Failure(self.a, 0)

        classes.append(type(module.Struct)("Row", (module.Struct,), {**space, "__post_init__": after}))
    else:
        for config in ({}, {"extra": "forbid"}, {"extra": "allow"}, {"frozen": True}):
            classes.append(type(module.BaseModel)("Row", (module.BaseModel,), {**space, "model_config": config}))
    for cls in classes:
        row = making.kwargs_maker(cls, ["b", "a"])(("x", 2)) if cls.__init__ is not object.__init__ else None
        assert row is None or (type(row), row.a, row.b, row.c) == (cls, 2, "x", None)
        for values in ((1, "x"), (2, "x"), ("2", "x"), (None, None)):
            for columns in (["a", "b"], ["b", "a"], ["a", "height"], ["a", "a"], ["b", "?column?"]):
                agree("kwargs_maker", (cls, columns), values)
            agree("args_maker", (cls,), values, values[:1], (*values, [3]), (*values, [3], 4))


@pytest.mark.parametrize("count", [63, 64, 65, 66, 200])
def test_many_columns(count: int) -> None:
    columns = [f"c{number}" for number in range(count)]
    values = tuple(range(count))
    backwards = type("Backwards", (Given,), {"__init__": function_of(", ".join(columns[::-1]), "self")})
    several = type("Several", (Given,), {"__init__": function_of("c1, *args, **kwargs", "self")})
    for called in (lambda **kwargs: kwargs, lambda *args, **kwargs: (args, kwargs), dict, backwards, several):
        agree("kwargs_maker", (called, columns), values)
        agree("kwargs_maker", (called, columns[:5] * (count // 5)), values[: 5 * (count // 5)])
        agree("args_maker", (called,), values)


def test_names_that_are_no_strings() -> None:
    class Name(str):
        __slots__ = ()

    for columns in ([Name("a"), "b"], ["a", 1], [None, "a"], [b"a", "b"]):
        agree("kwargs_maker", (lambda **kwargs: list(kwargs.items()), columns), (1, 2))


# -- what changes while rows are made


def test_a_class_may_be_changed() -> None:
    class Row:
        def __init__(self, a: int, b: int) -> None:
            self.a, self.b = a, b

        def __repr__(self) -> str:
            return repr(vars(self))

    def swapped(self: Row, b: int, a: int) -> None:
        self.a, self.b = -a, -b

    def named(self: Row, **kwargs: int) -> None:
        vars(self).update(kwargs, c=3)

    def new(cls: type[Row], **kwargs: int) -> Any:
        return list(kwargs.items())

    compiled, pure = both("kwargs_maker", Row, ["a", "b"])
    cls: Any = Row
    init, code = cls.__init__, cls.__init__.__code__
    for change in (
        lambda: setattr(init, "__code__", swapped.__code__),
        lambda: setattr(init, "__code__", code),
        lambda: setattr(cls, "__init__", named),
        lambda: setattr(cls, "__init__", init),
        lambda: setattr(cls, "__init__", functools.partialmethod(named)),
        lambda: delattr(cls, "__init__"),
        lambda: setattr(cls, "__init__", swapped),
        lambda: setattr(cls, "__new__", new),
        lambda: delattr(cls, "__new__"),
    ):
        do: Any = change
        do()
        for _ in range(2):
            assert outcome(compiled, (1, 2)) == outcome(pure, (1, 2))


def test_a_row_that_changes_its_class_and_makes_others() -> None:
    """What is called has its arguments by then; nothing of the maker's counts for it any more."""
    made: list[Any] = []

    Row: Any = type("Row", (), {})

    def one(self: Any, a: int, b: Any) -> None:
        if a:
            Row.__init__ = other
            gc.collect()
            make((a - 1, b))
        made.append(("one", a, b))

    def other(self: Any, b: Any, *, a: int) -> None:
        # This function is referred to by nobody else for a time.
        Row.__init__ = FunctionType(one.__code__, globals(), closure=one.__closure__)
        if a:
            make((a - 1, b))
        made.append(("other", a, b))

    Row.__init__ = one
    make = making.kwargs_maker(Row, ["a", "b"])
    assert type(make((3, "b"))) is Row
    assert made == [("other", 0, "b"), ("one", 1, "b"), ("other", 2, "b"), ("one", 3, "b")]


# -- references


class Value:
    """An object that can be counted."""


def references(maker: Callable[..., Any], *args: Any, fails: bool = False) -> None:
    """Make many rows of the same values, and look what is left of them."""
    values = tuple([Value() for _ in range(4)])
    make = maker(*args)
    counted = [*values, args[0], None, (), getattr(args[0], "__init__", None), make]
    for attempt in range(3):
        before = [sys.getrefcount(one) for one in counted]
        for _ in range(100):
            if fails:
                with pytest.raises((TypeError, Failure)):
                    make(values)
            else:
                make(values)
        gc.collect()
        after = [sys.getrefcount(one) for one in counted]
        if attempt:  # what is kept after the first time is kept for good
            # None has others that come and go; Python 3.12 and later do not count it.
            assert [abs(a - b) < 20 for a, b in zip(after, before, strict=True)] == [True] * len(counted)
    seen = weakref.ref(values[0])
    del values, counted, make
    gc.collect()
    assert seen() is None


@dataclass
class Four:
    a: Any
    b: Any
    c: Any
    d: Any


class SomeKept(Four):
    def __init__(self, a: Any, *, d: Any, **kwargs: Any) -> None:
        self.a, self.d = a, d
        if kwargs.pop("fails", None):
            raise Failure(1, 2)


class Fails(SomeKept):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, fails=True)


def fails(*args: Any, **kwargs: Any) -> None:
    raise Failure(1, 2)


@pytest.mark.parametrize("columns", ["abcd", "dcba", "abca"])
def test_no_reference_is_lost_or_kept(columns: str) -> None:
    for called in (Four, SomeKept, dict, Fails, fails, int, Abstract, Returns):
        if called is dict or (columns != "abca" and called in (Four, SomeKept)):
            references(making.kwargs_maker, called, columns)
        else:
            references(making.kwargs_maker, called, columns, fails=True)
    references(making.kwargs_maker, lambda **kwargs: kwargs, columns)
    references(making.args_maker, lambda *args: args)
    references(making.args_maker, Four)
    references(making.args_maker, fails, fails=True)
    references(making.args_maker, Abstract, fails=True)
    references(making.namedtuple_maker, namedtuple("Row", "a b c d"))
    references(lambda names: making.dict_maker(names), tuple(columns))


def test_what_failed_is_not_kept() -> None:
    alive: list[weakref.ref[Any]] = []

    class Row:
        def __init__(self, a: Any) -> None:
            alive.append(weakref.ref(self))
            raise Failure(1, 2)

    for make in (making.kwargs_maker(Row, ["a"]), making.args_maker(Row)):
        with pytest.raises(Failure):
            make((1,))
    gc.collect()
    assert [one() for one in alive] == [None, None]


# -- many rows


@pytest.mark.parametrize("module", [python, making], ids=["python", "cython"])
def test_many_rows(module: Any) -> None:
    rows: list[tuple[Any, ...]] = [(1, 2), (3, 4)]
    made: list[Any] = module.make_rows(module.kwargs_maker(Plain, ["b", "a"]), rows, iter(rows))
    assert made == [Plain(2, 1), Plain(4, 3)]  # type: ignore[arg-type]
    rows = [(1,), (2,)]
    assert module.make_rows(lambda row: [*row], rows, iter(rows)) == [[1], [2]]
    assert module.make_rows(module.dict_maker([]), [], iter([])) == []


@pytest.mark.parametrize("module", [python, making], ids=["python", "cython"])
@pytest.mark.parametrize("error", [Failure(1, 2), StopIteration(1), KeyboardInterrupt()])
def test_what_is_left_where_a_row_cannot_be_made(module: Any, error: BaseException) -> None:
    def call(a: int) -> int:
        if a == 3:
            raise error
        return a

    for make in (module.kwargs_maker(call, ["a"]), module.args_maker(call), lambda row: call(*row)):
        rows: list[tuple[Any, ...]] = [(number,) for number in range(6)]
        left = iter(rows)
        with pytest.raises(type(error)):
            module.make_rows(make, rows, left)
        assert list(left) == [(4,), (5,)]
