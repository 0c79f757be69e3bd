"""The time zone of a session, from its name."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from anyq import AsyncConnection
from anyq.adapt.timezones import fixed_timezone, timezone_of

UTC = timezone.utc


def zone_named(name: str | None) -> Any:
    info = SimpleNamespace(parameter_status={"TimeZone": name}.get)
    context: Any = SimpleNamespace(connection=SimpleNamespace(info=info))
    return timezone_of(context)


def test_names() -> None:
    assert zone_named("Europe/Rome") is ZoneInfo("Europe/Rome")
    assert zone_named("UTC") is zone_named(None) is timezone_of(None) is UTC


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        *[("<+03>-03", 3), ("<-03>+03", -3), ("<+05:30>-05:30", 5.5), ("<-00:30>+00:30", -0.5), ("<UTC>0", 0)],
        # West of Greenwich is positive, as a server reads these; the name says nothing.
        *[("<+03>-3", 3), ("UTC+5", -5), ("UTC-5", 5), ("FOO5", -5), ("+05:30", -5.5), ("-05:30", 5.5), ("3:30", -3.5)],
        *[("A1", -1), ("<ABC>5", -5), ("UTC23:59", -23 - 59 / 60), ("<-23:59:59>23:59:59", -24 + 1 / 3600)],
    ],
)
def test_posix_zones(name: str, hours: float, caplog: pytest.LogCaptureFixture) -> None:
    assert zone_named(name).utcoffset(None) == timedelta(hours=hours)
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "january", "july"),
    [
        ("FOO5BAR", -5, -4),
        ("FOO5BAR,M3.2.0,M11.1.0", -5, -4),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 1, 2),
        ("EST5EDT4,J60/2,300/2", -5, -4),
        ("<+03>-3<+04>,M3.2.0,M11.1.0", 3, 4),
    ],
)
def test_posix_zones_with_a_summer(name: str, january: float, july: float, caplog: pytest.LogCaptureFixture) -> None:
    zone = zone_named(name)
    for month, hours in ((1, january), (7, july)):
        local = datetime(2024, month, 1, tzinfo=UTC).astimezone(zone)
        assert local.utcoffset() == timedelta(hours=hours)
    assert not caplog.records


def test_names_of_posix_zones() -> None:
    assert zone_named("FOO5").tzname(None) == "FOO"
    assert datetime(2024, 7, 1, tzinfo=zone_named("FOO5BAR")).tzname() == "BAR"


@pytest.mark.parametrize("name", ["<+30>-30", "<-167>+167", "UTC24", "FOO30BAR", "<+999>-999"])
def test_an_offset_that_python_has_not(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "anyq"):
        assert zone_named(name) is UTC
    assert "will be in UTC" in caplog.text


@pytest.mark.parametrize(
    "name",
    [
        *[
            "",
            "Europe",
            "../etc/passwd",
            "/etc/passwd",
            "localtime?",
            "a\0b",
            "localtime",
            "posixrules",
            "\ud800",
            "é5",
        ],
        *["FOO5BAR,", "FOO5BAR,M99.1.1,M1.1.1", "FOO5BAR,\n", "<+03>-3\n", "A" * 100_000, "1" * 100_000, "<" * 9999],
    ],
)
def test_no_zone_at_all(name: str) -> None:
    assert zone_named(name) is UTC


def test_an_unknown_zone_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "anyq"):
        for _ in range(2):
            assert zone_named("Mars/Deimos") is UTC
    assert [record.getMessage()[:24] for record in caplog.records] == ["time zone 'Mars/Deimos' "]


def test_fixed_zones() -> None:
    assert fixed_timezone(0) is UTC
    assert fixed_timezone(-19_800) is fixed_timezone(-19_800)
    assert fixed_timezone(-19_800).utcoffset(None) == timedelta(hours=-5.5)


@pytest.mark.anyio
async def test_what_a_server_says(conn: AsyncConnection[Any]) -> None:
    names = [
        "'Europe/Rome'",
        "'UTC'",
        "5.5",
        "-3",
        "'Asia/Kolkata'",
        "30",
        "-30",
        "-3.75",
        "'+05:30'",
        "'UTC+5'",
        "'FOO5'",
    ]
    for name in [*names, "'<+03>-3'", "'CET-1CEST,M3.5.0,M10.5.0/3'", "'foo5bar'"]:
        await conn.execute(f"SET TIME ZONE {name}".encode())
        for binary in (False, True):
            cursor = await conn.execute(
                "SELECT i, extract(timezone FROM i)::int, i::text FROM (VALUES (timestamptz '2024-07-01 12:00:00+00'))"
                " AS t (i)",
                binary=binary,
            )
            row = await cursor.fetchone()
            assert row is not None
            assert row[0] == datetime(2024, 7, 1, 12, tzinfo=UTC)
            offset = row[0].utcoffset().total_seconds()
            # Python has no offset of a day: then it is the same instant, in UTC.
            assert offset == (row[1] if abs(row[1]) < 86_400 else 0)
