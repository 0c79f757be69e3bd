"""The table of keywords is libpq's; and what is said about a keyword that is none."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

import anyq
from anyq.conninfo import KEYWORDS, conninfo_to_dict, keywords, make_conninfo, parse_conninfo, resolve
from anyq.errors import NotSupportedError, ProgrammingError


def test_keywords_are_those_of_libpq(libpq_18: Any) -> None:
    defaults = libpq_18.pq.Conninfo.get_defaults()
    variables = {option.keyword.decode(): option.envvar and option.envvar.decode() for option in defaults}
    # This one is of 19.
    variables["servicefile"] = "PGSERVICEFILE"
    assert {keyword: spec.envvar for keyword, spec in KEYWORDS.items()} == variables


def test_typo_after_a_password_still_gets_the_hint() -> None:
    with pytest.raises(ProgrammingError, match="did you mean 'dbname'"):
        parse_conninfo("password=x dbnam=y")


@pytest.mark.parametrize("function", [make_conninfo, conninfo_to_dict])
@pytest.mark.parametrize("value", ["x", None])
def test_unknown_keyword_argument(function: Any, value: str | None) -> None:
    with pytest.raises(ProgrammingError, match="'pasword': did you mean 'password'"):
        function(pasword=value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("autocomit=1", "did you mean 'autocommit'"),
        ("autocommit=1", "it is a parameter of connect"),
        ("sslcontext=x", "did you mean 'ssl_context'"),
    ],
)
def test_a_parameter_of_connect_for_a_keyword(text: str, hint: str) -> None:
    with pytest.raises(ProgrammingError, match=hint):
        conninfo_to_dict(text)


def test_parameters_of_connect() -> None:
    parameters = inspect.signature(anyq.Connection.connect).parameters
    assert set(keywords.PARAMETERS) == set(parameters) - {"conninfo", "password", "kwargs"}


NOWHERE = {"user": "me", "host": "h"}


@pytest.mark.parametrize("keyword", [keyword for keyword, spec in KEYWORDS.items() if not spec.implemented])
def test_not_implemented_yet(keyword: str) -> None:
    reason = re.escape(KEYWORDS[keyword].reason)
    with pytest.raises(NotSupportedError, match=f"connection option '{keyword}' {reason}: leave it out"):
        resolve("", {**NOWHERE, keyword: "something"}, {})
    assert resolve("", {**NOWHERE, keyword: ""}, {}) == resolve("", NOWHERE, {})
    for value in KEYWORDS[keyword].neutral:
        assert resolve("", {**NOWHERE, keyword: value}, {}) == resolve("", NOWHERE, {})
    variable = KEYWORDS[keyword].envvar
    if variable:
        with pytest.raises(NotSupportedError, match=f"environment variable {variable} {reason}: leave it out"):
            resolve("", NOWHERE, {variable: "something"})
