"""What a pool counts, and under which names it tells."""

from __future__ import annotations

from anyq.pool.statistics import WAIT_BOUNDS, Counters


def test_names() -> None:
    """The names are psycopg_pool's; those of statements and the histogram are ours."""
    assert [name for name, _ in Counters().items()] == [
        *("usage_ms", "requests_num", "requests_queued", "requests_wait_ms", "requests_errors", "returns_bad"),
        *("connections_num", "connections_ms", "connections_errors", "connections_lost"),
        *("statements_num", "statements_alone", "statements_repeated"),
        *("requests_wait_le_1ms", "requests_wait_le_5ms", "requests_wait_le_25ms", "requests_wait_le_100ms"),
        *("requests_wait_le_500ms", "requests_wait_le_2500ms", "requests_wait_le_10000ms"),
    ]
    assert not any(value for _, value in Counters().items())


def test_times_are_whole_milliseconds() -> None:
    counters = Counters()
    counters.usage_time = 1.2345
    counters.connections_time = 0.0009
    stats = dict(counters.items())
    assert (stats["usage_ms"], stats["connections_ms"]) == (1234, 1)


def test_the_histogram_is_cumulative() -> None:
    counters = Counters()
    for seconds in (0.0005, 0.001, 0.02, 3.0, 60.0):
        counters.waited(seconds)
    stats = dict(counters.items())
    counts = [stats[f"requests_wait_le_{round(bound * 1000)}ms"] for bound in WAIT_BOUNDS]
    assert counts == [2, 2, 3, 3, 3, 3, 4]
    assert stats["requests_wait_ms"] == 63022


def test_who_waits_in_vain_is_in_no_histogram() -> None:
    counters = Counters()
    counters.waited(0.5, served=False)
    assert not any(counters.waits)
    assert dict(counters.items())["requests_wait_ms"] == 500


def test_counting_from_zero() -> None:
    counters = Counters()
    counters.requests_num = 5
    counters.waited(1.0)
    counters.reset()
    assert dict(counters.items()) == dict(Counters().items())
