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
    return timezone_of(SimpleNamespace(info=info))


def test_names() -> None:
    assert zone_named("Europe/Rome") is ZoneInfo("Europe/Rome")
    assert zone_named("UTC") is zone_named(None) is timezone_of(None) is UTC


@pytest.mark.parametrize(
    ("name", "hours"),
    [("<+03>-03", 3), ("<-03>+03", -3), ("<+05:30>-05:30", 5.5), ("<-00:30>+00:30", -0.5), ("<UTC>0", 0)],
)
def test_posix_zones(name: str, hours: float, caplog: pytest.LogCaptureFixture) -> None:
    assert zone_named(name).utcoffset(None) == timedelta(hours=hours)
    assert not caplog.records


@pytest.mark.parametrize("name", ["", "Europe", "../etc/passwd", "/etc/passwd", "localtime?", "a\0b"])
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
    for name in ("Europe/Rome", "UTC", "5.5", "-3", "Asia/Kolkata"):
        await conn.execute(f"SET TIME ZONE {name if name[-1].isdigit() else repr(name)}".encode())
        cursor = await conn.execute("SELECT extract(timezone FROM timestamptz '2024-07-01 12:00:00+00')::int")
        offset = conn.info.timezone.utcoffset(datetime(2024, 7, 1, 12))
        assert await cursor.fetchone() == (offset.total_seconds(),)
