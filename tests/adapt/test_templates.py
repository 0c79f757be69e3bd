"""What a template string is."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from anyq import sql
from anyq.adapt.templates import is_template, parts, refused, shown
from tests.support.templates import Interpolation, Template, t


@pytest.mark.parametrize("obj", ["a", b"a", None, 5, sql.SQL("a"), sql.Literal(t("a")), ("a",), Interpolation(1)])
def test_what_is_none(obj: Any) -> None:
    assert not is_template(obj)


def test_what_looks_like_one() -> None:
    assert is_template(t("a"))
    assert is_template(Template(("",), ()))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="this Python has no template strings")
def test_pythons_own() -> None:
    x = 5
    template = eval('t"a {x:l} b"', {"x": x})
    assert is_template(template)
    first, value, last = parts(template)
    assert (first, last) == ("a ", " b")
    assert not isinstance(value, str)
    assert (value.value, value.format_spec, shown(value)) == (5, "l", "{x:l}")


def test_parts() -> None:
    first, x, between, y, last = parts(t("a{x}{y:t}", x=1, y=2))
    assert (first, between, last) == ("a", "", "")
    assert not isinstance(x, str) and (x.value, x.conversion, x.format_spec, shown(x)) == (1, None, "", "{x}")
    assert not isinstance(y, str) and (y.value, y.conversion, y.format_spec, shown(y)) == (2, None, "t", "{y:t}")
    assert parts(t("")) == [""]


@pytest.mark.parametrize("conversion", ["r", "s", "a"])
def test_no_conversions(conversion: str) -> None:
    with pytest.raises(TypeError, match=rf"conversions are not supported in queries: {{x!{conversion}:l}}; drop it"):
        parts(t(f"a {{x!{conversion}:l}}", x=1))


def test_an_error_shows_no_value() -> None:
    assert str(refused(Interpolation("hunter2", "x", None, "u"), "why")) == "{x:u} in a template string: why"
