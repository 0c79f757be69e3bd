"""What is told has no values in it, unless they are asked for, and no passwords at all."""

from __future__ import annotations

from typing import Any
from weakref import ref

import pytest

from anyq.tracing import Server, TracedCheckout, TracedConnect, TracedCopy, TracedNotification, TracedQuery
from anyq.tracing.told import without_secrets

SERVER = Server("h", 5432, None, "d", "u", 1)


@pytest.mark.parametrize(
    "sql, told",
    [
        ("SELECT 'a', $1", "SELECT 'a', $1"),
        ("ALTER ROLE r PASSWORD 'hunter2'", "ALTER ROLE r PASSWORD '***'"),
        ("alter role r password 'hunter2' valid until 'x'", "alter role r password '***'"),
        ("ALTER ROLE r PASSWORD E'hun\\'ter2'", "ALTER ROLE r PASSWORD E'***'"),
        ("ALTER ROLE r PASSWORD 'hunter2", "ALTER ROLE r PASSWORD '***'"),
        ("ALTER ROLE r PASSWORD 'hun''ter2' -- it's", "ALTER ROLE r PASSWORD '***'s"),
        ("ALTER ROLE r PASSWORD $$hunter2$$", "ALTER ROLE r PASSWORD '***'"),
        ("ALTER ROLE r PASSWORD $é_1$hunter2$é_1$;", "ALTER ROLE r PASSWORD '***';"),
        ("CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'a', Passwd 'hunter2')", "... (user '***')"),
        ("SELECT dblink('postgresql://u:hunter2@h/d', 'SELECT 1'), 7", "SELECT dblink('***'), 7"),
        ("SELECT * FROM users WHERE passwort = $1 AND n = $2", "SELECT * FROM users WHERE passwort = $1 AND n = $2"),
        ("SELECT 'https://example.org/a@b'", "SELECT 'https://example.org/a@b'"),
    ],
)
def test_a_text_that_has_to_do_with_passwords_is_told_without_its_constants(sql: str, told: str) -> None:
    shown = without_secrets(sql)
    assert shown.endswith(told.removeprefix("...")) and "hunter2" not in shown
    query = TracedQuery("execute", sql, None, SERVER)
    assert query.sql == shown and "hunter2" not in repr(query)


def test_parameters_are_told_on_demand_and_never_with_passwords() -> None:
    query = TracedQuery("execute", "SELECT %s", ["value"], SERVER)
    assert query.parameterized and query.parameters() == ["value"] and "value" not in repr(query)
    query = TracedQuery("execute", "SELECT crypt(%s) AS password", ["hunter2"], SERVER)
    assert query.parameterized and query.parameters() is None
    assert not TracedQuery("execute", "SELECT 1", None, SERVER).parameterized
    assert TracedQuery("execute", "SELECT 1", (), SERVER).parameterized


def test_a_text_is_made_when_it_is_asked_for_and_once() -> None:
    made: list[str] = []

    def text() -> str:
        made.append("x")
        return "SELECT 1"

    query = TracedCopy(text, None, SERVER)
    assert made == []
    assert (query.sql, query.sql, query.kind, made) == ("SELECT 1", "SELECT 1", "copy", ["x"])


def test_what_is_told_begins_with_nothing_known() -> None:
    query = TracedQuery("execute", "SELECT 1", None, SERVER)
    assert (query.began, query.seconds, query.rows, query.bytes, query.sets, query.tag) == (0, 0, -1, 0, 1, None)
    assert TracedCopy("COPY t FROM STDIN", None, SERVER).direction is None


def test_what_is_told_takes_nothing_else_but_may_be_referred_to_weakly() -> None:
    told: list[Any] = [TracedQuery("execute", "SELECT 1", None, SERVER), TracedCopy("COPY t TO STDOUT", None, SERVER)]
    for what in [*told, TracedConnect(), TracedCheckout("p")]:
        with pytest.raises(AttributeError):
            what.mine = "a value"
        assert ref(what)() is what


def test_a_payload_is_told_on_demand() -> None:
    notification = TracedNotification("channel", "secret", 7, SERVER)
    assert (notification.channel, notification.size, notification.payload()) == ("channel", 6, "secret")
    assert "secret" not in repr(notification)
