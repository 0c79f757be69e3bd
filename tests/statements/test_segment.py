"""Segments: which messages they are sent as, and what becomes of each statement; the server is a script of messages."""

from __future__ import annotations

from typing import Any

import pytest

from anyq import errors as e
from anyq.adapt import Transformer
from anyq.protocol import messages as be
from anyq.protocol.request import TransactionEffect
from anyq.statements.binders import SERVER_SIDE
from anyq.statements.composer import Composer
from anyq.statements.segment import Queued, SegmentRequest, not_received, skipped
from tests.support import frontend_messages as fm
from tests.support.sessions import IDLE, INTRANS, WRONG, busy, columns, feed, rows_of, started, wire
from tests.support.values import transformer

PARSED = be.ParseComplete()
RUN = [fm.Describe(b"P", b""), fm.Execute(b"", 0)]


def row(value: bytes) -> tuple[be.BackendMessage, ...]:
    return be.BindComplete(), columns("a"), be.DataRow((value,)), be.CommandComplete("SELECT 1")


@pytest.fixture
def tx() -> Transformer:
    return transformer()


class Segment:
    """A segment whose statements are SELECTs of a composer."""

    def __init__(self, composer: Composer, tx: Transformer, begin: bytes | None = None) -> None:
        self.composer = composer
        self._tx = tx
        self.data = bytearray()
        self.request = composer.begin_segment(self.data, begin)

    def add(self, query: str, prepare: bool | None = None, binary: bool | None = None) -> Queued:
        item = Queued(SERVER_SIDE.bind(query, None, self._tx), self._tx, prepare, binary)
        self.composer.add_to_segment(self.request, self.data, item)
        return item

    def messages(self) -> list[fm.FrontendMessage]:
        return fm.read(self.data)

    def answer(self, *replies: be.BackendMessage, pieces: int = 10**9) -> None:
        feed(busy(self.request), wire(*replies), [pieces] * 1000)
        assert self.request.done


@pytest.fixture
def composer() -> Composer:
    return Composer(5, started())


@pytest.fixture
def segment(composer: Composer, tx: Transformer) -> Segment:
    return Segment(composer, tx)


def outcome(item: Queued) -> Any:
    assert item.done
    if item.error is not None:
        return type(item.error)
    assert item.result is not None
    return rows_of(item.result)


# -- what is sent


def test_statements_without_a_sync_in_between(segment: Segment) -> None:
    segment.add("SELECT 1")
    segment.add("SELECT 2")
    bind = fm.Bind(b"", b"", (), (), (0,))
    assert segment.messages() == [
        *(fm.Parse(b"", b"SELECT 1", ()), bind, *RUN),
        *(fm.Parse(b"", b"SELECT 2", ()), bind, *RUN),
    ]
    assert segment.request.effect is TransactionEffect.NONE


def test_the_same_statement_is_parsed_once(segment: Segment) -> None:
    for _ in range(3):
        segment.add("SELECT 1")
    assert sum(isinstance(message, fm.Parse) for message in segment.messages()) == 1


def test_a_begin_goes_before_all(composer: Composer, tx: Transformer) -> None:
    segment = Segment(composer, tx, b"BEGIN")
    segment.add("SELECT 1")
    assert [message.sql for message in segment.messages() if isinstance(message, fm.Parse)] == [b"BEGIN", b"SELECT 1"]
    effects = [segment.request.effect]
    segment.add("COMMIT")
    effects.append(segment.request.effect)
    assert effects == [TransactionEffect.BEGINS, TransactionEffect.UNCERTAIN]


def test_what_a_segment_prepares_is_run_by_its_name_behind_that(segment: Segment) -> None:
    segment.add("SELECT 1", prepare=True)
    segment.add("SELECT 1")
    segment.add("SELECT 1", prepare=False)
    parses = [message for message in segment.messages() if isinstance(message, fm.Parse)]
    binds = [message for message in segment.messages() if isinstance(message, fm.Bind)]
    name = parses[0].name
    assert name
    assert [parse.name for parse in parses] == [name, b""]
    assert [bind.statement for bind in binds] == [name, name, b""]


def test_what_others_have_prepared_without_a_description_is_described_once(composer: Composer, tx: Transformer) -> None:
    """As an executemany() does."""
    entry = composer.statements.lookup((b"SELECT 1", ()), True)
    assert entry is not None
    composer.statements.executed(entry, True)
    described: list[bool] = []
    for _ in range(2):
        segment = Segment(composer, tx)
        segment.add("SELECT 1")
        assert not any(isinstance(message, fm.Parse) for message in segment.messages())
        described.append(any(isinstance(message, fm.Describe) for message in segment.messages()))
        segment.answer(*row(b"1"), IDLE)
    assert described == [True, False]
    assert len(composer.statements) == 1


def test_behind_what_may_drop_them_nothing_is_run_by_its_name(segment: Segment) -> None:
    segment.add("SELECT 1", prepare=True)
    segment.add("DISCARD ALL")
    segment.add("SELECT 1", prepare=True)
    assert [message.name != b"" for message in segment.messages() if isinstance(message, fm.Parse)] == [
        *(True, False, False)
    ]


def test_a_statement_that_cannot_be_written_leaves_nothing_behind(segment: Segment, tx: Transformer) -> None:
    segment.add("SELECT 1")
    before = bytes(segment.data)
    for prepare in (None, True):
        item = Queued(SERVER_SIDE.bind(b"SELECT '\0'", None, tx), tx, prepare, None)
        with pytest.raises(e.DataError, match="NUL"):
            segment.composer.add_to_segment(segment.request, segment.data, item)
    assert segment.data == before
    assert len(segment.request.items) == 1


def test_binary_results_of_what_is_not_known(segment: Segment) -> None:
    segment.add("SELECT 1", binary=True)
    (bind,) = [message for message in segment.messages() if isinstance(message, fm.Bind)]
    assert bind.result_formats == (1,)


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        *(("SELECT 1", False), ("CREATE TABLE t ()", False), ("BEGIN", False), ("SAVEPOINT s", False)),
        *(("COMMIT", True), ("ROLLBACK TO s", True), ("SET x = 1", True), ("DO 'x'", True), ("CALL f()", True)),
        *(("PREPARE TRANSACTION 'x'", True), ("PREPARE x AS SELECT 1", False), ("", True), ("EXECUTE x", True)),
        *(("COPY t TO '/tmp/x'", True), ("; /* c */ COMMIT", True), ("whatever", True)),
    ],
)
def test_what_ends_a_segment(text: str, ends: bool, tx: Transformer) -> None:
    assert Queued(SERVER_SIDE.bind(text, None, tx), tx, None, None).ends is ends


@pytest.mark.parametrize("text", ["COPY t FROM STDIN", "; -- c\n copy (select 1) to stdout"])
def test_copy_is_refused(text: str, tx: Transformer) -> None:
    with pytest.raises(e.NotSupportedError, match="pipeline"):
        Queued(SERVER_SIDE.bind(text, None, tx), tx, None, None)


# -- what is answered


@pytest.mark.parametrize("pieces", [1, 7, 10**9])
def test_each_statement_has_its_result(segment: Segment, pieces: int) -> None:
    items = [segment.add(f"SELECT {i}") for i in range(3)]
    segment.answer(*(message for i in range(3) for message in (PARSED, *row(b"%d" % i))), IDLE, pieces=pieces)
    segment.request.distribute(None)
    assert [outcome(item) for item in items] == [[(b"0",)], [(b"1",)], [(b"2",)]]
    assert segment.request.failed_item() is None


def test_an_error_is_that_of_its_statement_and_the_others_are_skipped(segment: Segment) -> None:
    items = [segment.add(f"SELECT {i}") for i in range(4)]
    segment.answer(PARSED, *row(b"0"), PARSED, be.ErrorResponse(WRONG), IDLE)
    assert segment.request.failed_item() is items[1]
    segment.request.distribute(segment.request.error)
    assert outcome(items[0]) == [(b"0",)]
    assert items[1].error is segment.request.error
    assert [outcome(item) for item in items[2:]] == [e.PipelineAborted] * 2
    with pytest.raises(e.PipelineAborted, match="was not run"):
        items[3].raise_error()
    assert [item.told for item in items] == [False, False, False, True]


def test_behind_a_begin(composer: Composer, tx: Transformer) -> None:
    segment = Segment(composer, tx, b"BEGIN")
    items = [segment.add(f"SELECT {i}") for i in range(2)]
    begun = (PARSED, be.BindComplete(), be.CommandComplete("BEGIN"))
    segment.answer(*begun, PARSED, *row(b"0"), PARSED, *row(b"1"), INTRANS)
    segment.request.distribute(None)
    assert [outcome(item) for item in items] == [[(b"0",)], [(b"1",)]]


def test_a_begin_that_fails_is_the_error_of_the_first(composer: Composer, tx: Transformer) -> None:
    segment = Segment(composer, tx, b"BEGIN")
    item = segment.add("SELECT 1")
    segment.answer(PARSED, be.ErrorResponse(WRONG), IDLE)
    assert segment.request.failed_item() is item


def test_an_error_behind_the_last_one_is_nobodys(segment: Segment) -> None:
    item = segment.add("SELECT 1")
    segment.answer(PARSED, *row(b"1"), be.ErrorResponse(WRONG), IDLE)
    assert segment.request.error is not None
    assert segment.request.failed_item() is None
    segment.request.distribute(segment.request.error)
    assert outcome(item) == [(b"1",)]


def test_a_connection_that_is_lost(segment: Segment) -> None:
    items = [segment.add(f"SELECT {i}") for i in range(3)]
    session = busy(segment.request)
    feed(session, wire(PARSED, *row(b"0"), PARSED))
    session.fail("it is gone")
    segment.request.distribute(segment.request.error, lost=True)
    assert outcome(items[0]) == [(b"0",)]
    assert [outcome(item) for item in items[1:]] == [e.OperationalError] * 2


def test_a_server_that_answers_too_little_or_too_much(composer: Composer, tx: Transformer) -> None:
    little = Segment(composer, tx)
    items = [little.add(f"SELECT {i}") for i in range(2)]
    little.answer(PARSED, *row(b"0"), IDLE)
    assert little.request.failed_item() is items[1]
    much = Segment(composer, tx)
    item = much.add("SELECT 1")
    much.answer(*[message for i in range(3) for message in (PARSED, *row(b"%d" % i))], IDLE)
    much.request.distribute(None)
    assert outcome(item) == [(b"0",)]


def test_what_is_abandoned_drops_its_results(segment: Segment) -> None:
    entry = segment.add("SELECT 1", prepare=True).entry
    segment.add("SELECT 2", prepare=True)
    assert entry is not None
    segment.request.abandon()
    segment.answer(PARSED, *row(b"0"), be.ErrorResponse(WRONG), IDLE)
    assert segment.request.results == []
    # The server has parsed the one, and not the other.
    assert entry.prepared
    assert len(segment.composer.statements) == 1


# -- prepared statements


def prepared(segment: Segment) -> list[bool]:
    lookup = segment.composer.statements.lookup
    found = [lookup((b"SELECT %d" % i, ()), None) for i in range(3)]
    return [entry is not None and entry.prepared for entry in found]


def test_what_was_parsed_is_prepared(segment: Segment) -> None:
    for i in range(3):
        segment.add(f"SELECT {i}", prepare=True)
    segment.answer(PARSED, *row(b"0"), PARSED, be.BindComplete(), columns("a"), be.ErrorResponse(WRONG), IDLE)
    assert prepared(segment) == [True, True, False]


def test_what_is_dropped_within_is_prepared_no_more(segment: Segment) -> None:
    segment.add("SELECT 0", prepare=True)
    segment.add("SELECT 1", prepare=True)
    segment.add("DEALLOCATE ALL")
    nothing = (be.BindComplete(), be.NoData(), be.CommandComplete("DEALLOCATE ALL"))
    segment.answer(PARSED, *row(b"0"), PARSED, *row(b"1"), PARSED, *nothing, IDLE)
    assert prepared(segment) == [False, False, False]


def test_the_next_segment_knows_the_result(segment: Segment, tx: Transformer) -> None:
    segment.add("SELECT 0", prepare=True)
    segment.answer(PARSED, *row(b"0"), IDLE)
    again = Segment(segment.composer, tx)
    item, other = again.add("SELECT 0"), again.add("SELECT 1")
    assert item.reused
    assert not any(isinstance(message, fm.Describe) for message in again.messages()[:2])
    again.answer(be.BindComplete(), be.DataRow((b"5",)), be.CommandComplete("SELECT 1"), PARSED, *row(b"6"), IDLE)
    again.request.distribute(None)
    assert (outcome(item), outcome(other)) == ([(b"5",)], [(b"6",)])


# -- errors


def test_what_is_said_of_a_skipped_statement(segment: Segment) -> None:
    failure = e.DataError("it is wrong\nDETAIL")
    failure.query = "SELECT\n  1 / 0" + " " * 100 + "FROM " + "t" * 80
    item = segment.add("SELECT 5")
    error = skipped(item, failure)
    assert "it is wrong (in 'SELECT 1 / 0 FROM " in str(error)
    assert "..." in str(error)
    assert "DETAIL" not in str(error)
    assert error.query == "SELECT 5"
    assert error.__cause__ is failure
    assert "pipeline had failed" in str(skipped(item, None))


def test_only_the_first_outcome_counts(segment: Segment) -> None:
    item = segment.add("SELECT 1")
    first = not_received("so")
    item.fail(first)
    item.fail(not_received("or so"))
    assert item.error is first


def test_columns_without_a_binary_loader(segment: Segment) -> None:
    assert isinstance(segment.request, SegmentRequest)
    item = segment.add("SELECT 1", binary=True)
    described = be.RowDescription((columns("a").fields[0]._replace(type_oid=999_999, format=1),))
    segment.answer(PARSED, be.BindComplete(), described, be.CommandComplete("SELECT 0"), IDLE)
    segment.request.distribute(None)
    assert outcome(item) is e.DataError
    assert "type oid 999999" in str(item.error)
