"""What is said where a value does not fit; of each type and odd value see tests/promises/test_odd_values.py."""

from __future__ import annotations

from decimal import Decimal
from struct import error as StructError
from typing import Any

import pytest

from anyq.adapt import Dumper, Format, PyFormat
from anyq.adapt.misfits import is_own_dumper, misfit, reason
from anyq.errors import DataError
from anyq.postgres import adapters, types
from anyq.types.numeric import Float4, Int2, Int4, Oid
from anyq.types.range import Int4Range, Range
from tests.support.values import dump, transformer


@pytest.mark.parametrize(
    ("name", "value", "ex", "why"),
    [
        ("int4", 2**31, StructError("'i' format requires"), "it is out of range"),
        ("float8", Decimal(1), OverflowError("too large"), "it is out of range"),
        ("int4", "x", StructError("required argument"), "convert it to int first"),
        ("int4[]", 5, TypeError("no len()"), "convert it to list first"),
        ("bytea", "x", TypeError("a bytes-like"), "convert it to bytes first"),
        ("cidr", "x", AttributeError("no network_address"), "convert it to ip_network() first"),
        ("uuid", "\ud800", UnicodeEncodeError("utf-8", "\ud800", 0, 1, "no"), "convert it to UUID first"),
        ("point", 5, TypeError("what"), "convert it first (what)"),
        ("gtsvector", 5, TypeError("what"), "convert it first (what)"),
    ],
)
def test_reason(name: str, value: object, ex: Exception, why: str) -> None:
    oid = types.get_oid(name)
    assert reason(adapters, oid, value, ex) == why
    failure = misfit(adapters, oid, value, ex)
    assert str(failure) == f"a value of type {type(value).__name__} does not fit {name}: {why}"
    assert failure.__cause__ is ex


def test_of_an_unknown_type() -> None:
    failure = misfit(adapters, 99_999, 5, StructError("x"), "here: ")
    assert str(failure) == "here: a value of type int does not fit its PostgreSQL type: it is out of range"


def test_own_dumpers() -> None:
    class Own(Dumper):
        pass

    assert not is_own_dumper(Own(int))
    assert is_own_dumper(adapters.get_dumper_by_oid(types["oid"].oid, Format.TEXT)(int))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (Int2(2**15), "parameter 1: a value of type Int2 does not fit int2: it is out of range"),
        (Float4(1e39), "parameter 1: a value of type Float4 does not fit float4: it is out of range"),
        (
            [[None, Int2(1)], [Int2(2**15), None]],
            "a value of type list does not fit int2[]: convert its items first (a value of type Int2 does not fit int2:"
            " it is out of range)",
        ),
        (
            [Oid(2**32)],
            "a value of type list does not fit oid[]: convert its items first (a value of type Oid does not fit oid: it"
            " is out of range)",
        ),
        (Int4Range(1, 2**40), "cannot dump 1099511627776 as a bound of int4range: it is out of range"),
        (Range(Int4(2**31)), "cannot dump Int4(2147483648) as a bound of int4range: it is out of range"),
    ],
)
def test_the_part_that_does_not_fit_is_told(value: Any, why: str) -> None:
    """Compiled or not, and each time."""
    tx = transformer()
    for _ in range(2):
        with pytest.raises(DataError) as caught:
            dump(value, PyFormat.BINARY, tx)
        assert str(caught.value) == why


def test_what_a_dumper_of_a_user_raises_comes_through() -> None:
    class Thing:
        pass

    class Failing(Dumper):
        oid = 60_001

        def dump(self, obj: Any) -> bytes:
            raise ValueError("mine")

    tx = transformer()
    tx.adapters.register_dumper(Thing, Failing)
    value: Any
    for value in (Thing(), [Thing()], (Thing(),), Range(Thing(), None), [(Thing(),)]):
        with pytest.raises(ValueError, match="^mine$"):
            dump(value, PyFormat.TEXT, tx)
