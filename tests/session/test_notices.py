"""Functions that are called with notices, without a server; with one see `tests/test_connection.py`."""

from __future__ import annotations

import pytest

from anyq.errors import Diagnostic
from anyq.session.notices import HearsNotices


def without_handlers() -> HearsNotices:
    hears = HearsNotices()
    hears.notice_handlers = ()
    return hears


def test_each_is_told_though_one_fails(caplog: pytest.LogCaptureFixture) -> None:
    hears = without_handlers()
    heard: list[tuple[str, Diagnostic]] = []

    def fails(diagnostic: Diagnostic) -> None:
        heard.append(("fails", diagnostic))
        raise LookupError("of the handler")

    def last(diagnostic: Diagnostic) -> None:
        heard.append(("last", diagnostic))

    hears.add_notice_handler(fails)
    hears.add_notice_handler(last)
    notice = Diagnostic({})
    hears.tell_notice(notice)
    assert heard == [("fails", notice), ("last", notice)]
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["of the handler"]

    hears.remove_notice_handler(fails)
    hears.tell_notice(notice)
    assert heard[2:] == [("last", notice)]


def test_what_is_no_function_or_was_not_added() -> None:
    hears = without_handlers()
    with pytest.raises(TypeError):
        hears.add_notice_handler(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not in list"):
        hears.remove_notice_handler(print)
    assert hears.notice_handlers == ()
