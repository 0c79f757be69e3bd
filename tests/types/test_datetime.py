"""Dates, times and intervals, both formats, both directions, every style."""

from __future__ import annotations

import logging
import struct
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.adapt import AdaptersMap, Format, PyFormat, Transformer
from anyq.adapt.timezones import timezone_of
from anyq.adapt.typeinfo import global_types
from anyq.errors import DataError
from anyq.types import _datestyle
from anyq.types.datetime import DateLoader, register_default_adapters

if TYPE_CHECKING:
    from anyq import AsyncConnection

UTC = timezone.utc
ROME = ZoneInfo("Europe/Rome")
CHICAGO = ZoneInfo("America/Chicago")
EPOCH = datetime(2000, 1, 1)
DATESTYLES = ["ISO, MDY", "ISO, DMY", "SQL, MDY", "SQL, DMY", "Postgres, MDY", "Postgres, DMY", "German, DMY"]
INTERVALSTYLES = ["postgres", "postgres_verbose", "sql_standard", "iso_8601"]
TYPES = ["date", "time", "timetz", "timestamp", "timestamptz", "interval"]


class FakeInfo:
    encoding = "utf-8"

    def __init__(self, **parameters: str) -> None:
        self.parameters = parameters

    def parameter_status(self, name: str) -> str | None:
        return self.parameters.get(name)


class FakeConnection:
    def __init__(self, **parameters: str) -> None:
        self.info = FakeInfo(**parameters)
        self.adapters = ADAPTERS

    @property
    def connection(self) -> FakeConnection:
        return self


ADAPTERS = AdaptersMap(types=global_types)
register_default_adapters(ADAPTERS)


def load(type_name: str, data: bytes | str, **parameters: str) -> Any:
    """Load a value, given as bytes in binary or as str in text, for a connection with some parameters."""
    tx = Transformer(FakeConnection(**parameters) if parameters else ADAPTERS)
    if isinstance(data, str):
        return tx.get_load_function(global_types[type_name].oid, Format.TEXT)(data.encode())
    return tx.get_load_function(global_types[type_name].oid, Format.BINARY)(data)


def dump(obj: Any, format: PyFormat) -> tuple[str, bytes]:
    dumper = Transformer(ADAPTERS).get_dumper(obj, format)
    info = global_types.get(dumper.oid)
    data = dumper.dump(obj)
    assert info is not None
    assert data is not None
    assert dumper.format is PyFormat.as_pq(format)
    return info.name, bytes(data)


def usecs(value: datetime) -> int:
    return (value - EPOCH) // timedelta(microseconds=1)


def clock_text(value: datetime | time) -> str:
    """The time of day as the server prints it."""
    text = f"{value.hour:02}:{value.minute:02}:{value.second:02}"
    return f"{text}.{value.microsecond:06}".rstrip("0") if value.microsecond else text


def offset_text(offset: timedelta | None) -> str:
    assert offset is not None
    seconds = abs(offset) // timedelta(seconds=1)
    text = "-" if offset < timedelta(0) else "+"
    text += f"{seconds // 3600:02}"
    if seconds % 3600:
        text += f":{seconds // 60 % 60:02}"
    if seconds % 60:
        text += f":{seconds % 60:02}"
    return text


def offsets(max_hours: int = 15) -> st.SearchStrategy[tzinfo]:
    seconds = st.integers(-max_hours * 3600, max_hours * 3600)
    return st.one_of(st.integers(-12, 14).map(lambda hours: hours * 3600), seconds).map(
        lambda seconds: timezone(timedelta(seconds=seconds))
    )


class TestDate:
    @pytest.mark.parametrize("value", [date.min, date(1999, 12, 31), date(2000, 1, 1), date(2024, 2, 29), date.max])
    def test_round_trip(self, value: date) -> None:
        assert dump(value, PyFormat.TEXT) == ("date", str(value).encode())
        name, data = dump(value, PyFormat.BINARY)
        assert (name, data) == ("date", struct.pack("!i", (value - EPOCH.date()).days))
        assert load("date", data) == value
        assert load("date", str(value)) == value
        assert type(load("date", data)) is date

    @pytest.mark.parametrize(
        ("text", "style"),
        [
            ("2003-02-01", "ISO, MDY"),
            ("02/01/2003", "SQL, MDY"),
            ("02/01/2003", "SQL, YMD"),
            ("01/02/2003", "SQL, DMY"),
            ("02-01-2003", "Postgres, MDY"),
            ("01-02-2003", "Postgres, DMY"),
            ("01.02.2003", "German, DMY"),
            ("01.02.2003", "German, MDY"),
            # The setting changed while the value was on its way.
            ("2003-02-01", "SQL, DMY"),
            ("01.02.2003", "ISO, MDY"),
        ],
    )
    def test_styles(self, text: str, style: str) -> None:
        assert load("date", text, DateStyle=style) == date(2003, 2, 1)

    def test_ambiguous(self) -> None:
        with pytest.raises(DataError, match="'01/02/2003': the DateStyle is not known"):
            load("date", "01/02/2003")
        assert load("date", "01.02.2003") == date(2003, 2, 1)

    @pytest.mark.parametrize(
        ("days", "text"),
        [
            (2921940, "10000-01-01"),
            (2145031948, "5874897-12-31"),
            (-730120, "0001-12-31 BC"),
            (-746117, "0044-03-15 BC"),
            (-2451545, "4714-11-24 BC"),
        ],
    )
    def test_out_of_range(self, days: int, text: str) -> None:
        for data in (struct.pack("!i", days), text):
            with pytest.raises(DataError) as error:
                load("date", data)
            assert f"cannot load date '{text}': Python's years are from 1 to 9999" in str(error.value)
            assert "Cast it to text" in str(error.value)

    @pytest.mark.parametrize(
        "text", ["10/31/12345", "31.10.12345", "10-31-12345", "10/31/0001 BC", "31.10.0001 BC", "10-31-0001 BC"]
    )
    def test_out_of_range_in_any_style(self, text: str) -> None:
        with pytest.raises(DataError, match=f"'{text}': Python's years"):
            load("date", text, DateStyle="SQL, MDY")

    @pytest.mark.parametrize("text", ["", "x", "2020-13-01", "2020-02-30", "2020-1-1", "02/30/2020", "\xff"])
    def test_malformed(self, text: str) -> None:
        with pytest.raises(DataError):
            load("date", text, DateStyle="ISO, MDY")

    def test_a_loader_for_infinity(self) -> None:
        class InfiniteDateLoader(DateLoader):
            def load(self, data: bytes) -> date:
                return date.max if data == b"infinity" else super().load(data)

        adapters = AdaptersMap(ADAPTERS)
        adapters.register_loader("date", InfiniteDateLoader)
        function = Transformer(adapters).get_load_function(global_types["date"].oid, Format.TEXT)
        assert function(b"infinity") == date.max
        assert function(b"2020-01-01") == date(2020, 1, 1)


class TestTime:
    @given(st.times())
    def test_round_trip(self, value: time) -> None:
        for format in (PyFormat.TEXT, PyFormat.BINARY):
            name, data = dump(value, format)
            assert name == "time"
            assert load(name, data if format is PyFormat.BINARY else data.decode()) == value
        assert load("time", clock_text(value)) == value

    @given(st.times(timezones=offsets()))
    def test_round_trip_aware(self, value: time) -> None:
        text = clock_text(value) + offset_text(value.utcoffset())
        for data in (text, dump(value, PyFormat.TEXT)[1].decode(), dump(value, PyFormat.BINARY)[1]):
            loaded = load("timetz", data)
            assert loaded == value
            assert loaded.replace(tzinfo=None) == value.replace(tzinfo=None)
            assert loaded.utcoffset() == value.utcoffset()
        assert dump(value, PyFormat.TEXT)[0] == dump(value, PyFormat.BINARY)[0] == "timetz"

    def test_binary_offset_is_to_the_west(self) -> None:
        value = time(12, tzinfo=timezone(timedelta(hours=2)))
        assert dump(value, PyFormat.BINARY)[1] == struct.pack("!qi", 12 * 3600 * 10**6, -7200)

    def test_midnight_at_the_end_of_the_day(self) -> None:
        end = 24 * 3600 * 10**6
        for data in (struct.pack("!q", end), "24:00:00"):
            with pytest.raises(DataError, match="cannot load time '24:00:00': Python's times are before 24:00"):
                load("time", data)
        for data in (struct.pack("!qi", end, -7200), "24:00:00+02"):
            with pytest.raises(DataError, match="cannot load timetz '24:00:00.*02"):
                load("timetz", data)

    def test_offset_depends_on_date(self) -> None:
        for format in (PyFormat.TEXT, PyFormat.BINARY):
            with pytest.raises(DataError, match="cannot tell the offset of .*Europe/Rome.* without a date"):
                dump(time(12, tzinfo=ROME), format)

    @pytest.mark.parametrize("offset", [timedelta(hours=16), timedelta(hours=-23), timedelta(microseconds=1)])
    def test_offsets_that_the_server_does_not_have(self, offset: timedelta) -> None:
        for format in (PyFormat.TEXT, PyFormat.BINARY):
            with pytest.raises(DataError, match="whole seconds, and less than 16 hours"):
                dump(time(12, tzinfo=timezone(offset)), format)

    @pytest.mark.parametrize("text", ["", "x", "1:00:00", "25:00:00", "00:60:00", "24:00:01", "00:00:00+24"])
    def test_malformed(self, text: str) -> None:
        with pytest.raises(DataError, match="cannot load timetz"):
            load("timetz", text)


class TestTimestamp:
    @given(st.datetimes())
    def test_round_trip(self, value: datetime) -> None:
        assert dump(value, PyFormat.TEXT) == ("timestamp", str(value).encode())
        assert dump(value, PyFormat.BINARY) == ("timestamp", struct.pack("!q", usecs(value)))
        for data in (dump(value, PyFormat.BINARY)[1], str(value), f"{value.date()} {clock_text(value)}"):
            assert load("timestamp", data) == value

    @given(st.datetimes())
    def test_styles(self, value: datetime) -> None:
        clock, year = clock_text(value), f"{value.year:04}"
        # Not strftime, which knows other languages.
        day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][value.weekday()]
        month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][value.month - 1]
        for style, text in [
            ("SQL, MDY", f"{value.month:02}/{value.day:02}/{year} {clock}"),
            ("SQL, DMY", f"{value.day:02}/{value.month:02}/{year} {clock}"),
            ("German, DMY", f"{value.day:02}.{value.month:02}.{year} {clock}"),
            ("Postgres, MDY", f"{day} {month} {value.day:02} {clock} {year}"),
            ("Postgres, DMY", f"{day} {value.day:02} {month} {clock} {year}"),
        ]:
            assert load("timestamp", text, DateStyle=style) == value

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (252455616000000000, "10000-01-01 00:00:00"),
            (252455616000000000 + 500000, "10000-01-01 00:00:00.5"),
            (9223371331199999999, "294276-12-31 23:59:59.999999"),
            (-63082281600000001, "0001-12-31 23:59:59.999999 BC"),
            (-211813488000000000, "4714-11-24 00:00:00 BC"),
        ],
    )
    def test_out_of_range(self, value: int, text: str) -> None:
        for data in (struct.pack("!q", value), text):
            with pytest.raises(DataError) as error:
                load("timestamp", data)
            assert f"cannot load timestamp '{text}': Python's years are from 1 to 9999" in str(error.value)

    @given(st.integers(-211813488000000000, 9223371331199999999))
    def test_any_value_in_the_range_of_the_server(self, value: int) -> None:
        text = _datestyle.format_timestamp(value)
        moment = _datestyle.parse_timestamp(text, None)
        assert moment == (*divmod(value, _datestyle.USECS_PER_DAY), None)
        results: list[Any] = []
        for data in (struct.pack("!q", value), text):
            try:
                results.append(load("timestamp", data))
            except DataError as ex:
                results.append(str(ex))
        assert results[0] == results[1]

    @pytest.mark.parametrize(
        "text",
        ["", "x", "2020-01-01 25:00:00", "2020-02-30 00:00:00", "Wed Xyz 17 07:37:16 1997", "32.01.2020 00:00:00"],
    )
    def test_malformed(self, text: str) -> None:
        with pytest.raises(DataError, match="cannot load timestamp.*ISO is the best"):
            load("timestamp", text, DateStyle="ISO, MDY")

    def test_subclass(self) -> None:
        class MyDatetime(datetime):
            pass

        assert dump(MyDatetime(2020, 1, 1), PyFormat.BINARY) == dump(datetime(2020, 1, 1), PyFormat.BINARY)
        assert dump(MyDatetime(2020, 1, 1, tzinfo=UTC), PyFormat.TEXT)[0] == "timestamptz"


class TestTimestamptz:
    @given(st.datetimes(timezones=st.one_of(offsets(), st.sampled_from([UTC, ROME, CHICAGO]))))
    def test_dump(self, value: datetime) -> None:
        name, data = dump(value, PyFormat.BINARY)
        micros = (value - EPOCH.replace(tzinfo=UTC)) // timedelta(microseconds=1)
        assert (name, data) == ("timestamptz", struct.pack("!q", micros))
        name, data = dump(value, PyFormat.TEXT)
        assert name == "timestamptz"
        assert data == str(value).encode()

    @given(
        st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC)),
        st.sampled_from(["UTC", "Europe/Rome", "America/Chicago", "Asia/Kolkata", "<-03:30>+03:30"]),
    )
    def test_load(self, value: datetime, name: str) -> None:
        zone = timezone_of(FakeConnection(TimeZone=name))
        binary = load("timestamptz", dump(value, PyFormat.BINARY)[1], TimeZone=name)
        assert binary.astimezone(UTC) == value
        assert binary.tzinfo is zone
        local = value.astimezone(zone)
        text = f"{local.date()} {clock_text(local)}{offset_text(local.utcoffset())}"
        loaded = load("timestamptz", text, TimeZone=name)
        assert (loaded, loaded.fold, loaded.tzinfo) == (binary, binary.fold, zone)

    def test_without_connection(self) -> None:
        assert load("timestamptz", "2020-01-01 00:00:00+02") == datetime(2019, 12, 31, 22, tzinfo=UTC)
        assert load("timestamptz", struct.pack("!q", 0)) == datetime(2000, 1, 1, tzinfo=UTC)

    def test_unknown_zone(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "anyq"):
            for _ in range(2):
                value = load("timestamptz", "2020-01-01 00:00:00+02", TimeZone="Mars/Phobos")
                assert value == datetime(2019, 12, 31, 22, tzinfo=UTC)
                assert value.tzinfo is UTC
        # Once, not for each value.
        assert [record.getMessage()[:24] for record in caplog.records] == ["time zone 'Mars/Phobos' "]

    @pytest.mark.parametrize(
        ("text", "style"),
        [
            ("12/17/1997 07:37:16.5 CST", "SQL, MDY"),
            ("17/12/1997 07:37:16.5 CST", "SQL, DMY"),
            ("17.12.1997 07:37:16.5 CST", "German, DMY"),
            ("Wed Dec 17 07:37:16.5 1997 CST", "Postgres, MDY"),
            ("Wed 17 Dec 07:37:16.5 1997 CST", "Postgres, DMY"),
            ("Wed Dec 17 07:37:16.5 1997 -06", "Postgres, MDY"),
            ("12/17/1997 07:37:16.5 -06:00", "SQL, MDY"),
        ],
    )
    def test_styles(self, text: str, style: str) -> None:
        value = load("timestamptz", text, DateStyle=style, TimeZone="America/Chicago")
        assert value == datetime(1997, 12, 17, 7, 37, 16, 500000, CHICAGO)
        assert value.tzinfo is CHICAGO

    @pytest.mark.parametrize(("abbreviation", "fold"), [("CEST", 0), ("CET", 1)])
    def test_the_hour_that_is_twice(self, abbreviation: str, fold: int) -> None:
        value = load(
            "timestamptz", f"27.10.2024 02:30:00 {abbreviation}", DateStyle="German, DMY", TimeZone="Europe/Rome"
        )
        assert (value, value.fold) == (datetime(2024, 10, 27, 2, 30, tzinfo=ROME), fold)
        assert value.utcoffset() == timedelta(hours=2 - fold)
        iso = load("timestamptz", f"2024-10-27 02:30:00+0{2 - fold}", TimeZone="Europe/Rome")
        assert (iso, iso.fold) == (value, fold)

    def test_abbreviation_of_another_zone(self) -> None:
        with pytest.raises(DataError, match="cannot tell the offset of 'PST'; use SET DateStyle TO ISO"):
            load("timestamptz", "12/17/1997 07:37:16 PST", DateStyle="SQL, MDY", TimeZone="America/Chicago")

    def test_without_offset(self) -> None:
        with pytest.raises(DataError, match="no offset"):
            load("timestamptz", "12/17/1997 07:37:16", DateStyle="SQL, MDY")

    @pytest.mark.parametrize(
        ("local", "name"),
        [(datetime.max, "America/Chicago"), (datetime.min, "Asia/Tokyo"), (datetime.max, "UTC"), (datetime.min, "UTC")],
    )
    def test_in_range_only_here(self, local: datetime, name: str) -> None:
        zone = timezone_of(FakeConnection(TimeZone=name))
        value = local.replace(tzinfo=zone)
        offset = value.utcoffset()
        assert offset is not None
        text = f"{local.date()} {clock_text(local)}{offset_text(offset)}"
        binary = dump(value, PyFormat.BINARY)[1]
        assert binary == struct.pack("!q", usecs(local) - offset // timedelta(microseconds=1))
        for data in (text, binary):
            loaded = load("timestamptz", data, TimeZone=name)
            assert loaded == value
            assert loaded.replace(tzinfo=None) == local

    @pytest.mark.parametrize(
        ("value", "text", "name"),
        [
            (252455616000000000, "10000-01-01 00:00:00+00", "UTC"),
            (252455616000000000 - 3600_000000, "10000-01-01 00:00:00+01", "Europe/Rome"),
            (-63082281600000001, "0001-12-31 23:59:59.999999+00 BC", "UTC"),
            (-211813488000000000, "4714-11-24 00:00:00+00 BC", "UTC"),
            (9223371331199999999, "294276-12-31 17:59:59.999999-06", "America/Chicago"),
        ],
    )
    def test_out_of_range(self, value: int, text: str, name: str) -> None:
        for data in (struct.pack("!q", value), text):
            with pytest.raises(DataError, match="cannot load timestamptz '.*': Python's years are from 1 to 9999"):
                load("timestamptz", data, TimeZone=name)

    @pytest.mark.parametrize("offset", [timedelta(hours=16), timedelta(hours=-23), timedelta(microseconds=1)])
    def test_offsets_that_the_server_does_not_have(self, offset: timedelta) -> None:
        value = datetime(2020, 1, 1, tzinfo=timezone(offset))
        data = dump(value, PyFormat.TEXT)[1].decode()
        assert data.endswith("+00:00")
        assert load("timestamptz", data) == value


class TestInterval:
    @given(st.timedeltas())
    def test_round_trip(self, value: timedelta) -> None:
        name, data = dump(value, PyFormat.BINARY)
        assert name == "interval"
        assert load(name, data) == value

    def test_dump_text(self) -> None:
        value = timedelta(days=-1, seconds=86399, microseconds=5)
        assert dump(value, PyFormat.TEXT) == ("interval", b"-1 days +86399 seconds +5 microseconds")

    @pytest.mark.parametrize(
        ("months", "days", "usecs", "texts"),
        [
            (0, 0, 0, ["00:00:00", "@ 0", "0", "PT0S"]),
            (0, 1, 0, ["1 day", "@ 1 day", "1 0:00:00", "P1D"]),
            (0, -3, 0, ["-3 days", "@ 3 days ago", "-3 0:00:00", "P-3D"]),
            (1, 0, 0, ["1 mon", "@ 1 mon", "0-1", "P1M"]),
            (14, 0, 0, ["1 year 2 mons", "@ 1 year 2 mons", "1-2", "P1Y2M"]),
            (-14, 0, 0, ["-1 years -2 mons", "@ 1 year 2 mons ago", "-1-2", "P-1Y-2M"]),
            (0, 0, 14706789000, ["04:05:06.789", "@ 4 hours 5 mins 6.789 secs", "4:05:06.789", "PT4H5M6.789S"]),
            (
                0,
                0,
                -14706789000,
                ["-04:05:06.789", "@ 4 hours 5 mins 6.789 secs ago", "-4:05:06.789", "PT-4H-5M-6.789S"],
            ),
            (0, 0, -500000, ["-00:00:00.5", "@ 0.5 secs ago", "-0:00:00.5", "PT-0.5S"]),
            (
                0,
                -3,
                -14706000000,
                ["-3 days -04:05:06", "@ 3 days 4 hours 5 mins 6 secs ago", "-3 4:05:06", "P-3DT-4H-5M-6S"],
            ),
            (
                0,
                -3,
                14706000000,
                ["-3 days +04:05:06", "@ 3 days -4 hours -5 mins -6 secs ago", "-0-0 -3 +4:05:06", "P-3DT4H5M6S"],
            ),
            (
                14,
                -3,
                14706789000,
                [
                    "1 year 2 mons -3 days +04:05:06.789",
                    "@ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs",
                    "+1-2 -3 +4:05:06.789",
                    "P1Y2M-3DT4H5M6.789S",
                ],
            ),
            (
                -14,
                3,
                -14706789000,
                [
                    "-1 years -2 mons +3 days -04:05:06.789",
                    "@ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs ago",
                    "-1-2 +3 -4:05:06.789",
                    "P-1Y-2M3DT-4H-5M-6.789S",
                ],
            ),
            (0, 0, 360_000_000_000_000, ["100000:00:00", "@ 100000 hours", "100000:00:00", "PT100000H"]),
        ],
    )
    def test_styles(self, months: int, days: int, usecs: int, texts: list[str]) -> None:
        for text in texts:
            assert _datestyle.parse_interval(text) == (months, days, usecs)
        years, months_left = divmod(abs(months), 12)
        sign = 1 if months > 0 else -1
        expected = timedelta(days + sign * (years * 365 + months_left * 30), microseconds=usecs)
        values: list[str | bytes] = [*texts, struct.pack("!qii", usecs, days, months)]
        for data in values:
            assert load("interval", data) == expected

    def test_out_of_range(self) -> None:
        message = "cannot load interval '0 months 1000000000 days 0 microseconds': Python's timedelta"
        for data in ("1000000000 days", struct.pack("!qii", 0, 10**9, 0)):
            with pytest.raises(DataError, match=message):
                load("interval", data)

    @pytest.mark.parametrize("text", ["", "x", "1 fortnight", "1:2", "1-2-3", "P1Y2X", "@ 1 year ago 2 mons", "--1"])
    def test_malformed(self, text: str) -> None:
        with pytest.raises(DataError, match="cannot load interval"):
            load("interval", text)


@pytest.mark.parametrize("text", ["infinity", "-infinity"])
@pytest.mark.parametrize("type_name", ["date", "timestamp", "timestamptz", "interval"])
def test_infinity(type_name: str, text: str) -> None:
    def bound(bits: int) -> int:
        return (1 << bits - 1) - 1 if text == "infinity" else -(1 << bits - 1)

    if type_name == "interval":
        binary = struct.pack("!qii", bound(64), bound(32), bound(32))
    else:
        binary = struct.pack("!i", bound(32)) if type_name == "date" else struct.pack("!q", bound(64))
    register = r"register_interval\(\)" if type_name == "interval" else r"register_infinity\(\)"
    for data in (text, binary):
        with pytest.raises(DataError, match=f"cannot load {type_name} '{text}': Python has no infinite.*{register}"):
            load(type_name, data, TimeZone="Europe/Rome")


@pytest.mark.parametrize("format", [PyFormat.TEXT, PyFormat.BINARY])
def test_lists_of_one_kind(format: PyFormat) -> None:
    tx = Transformer(ADAPTERS)
    naive, aware = datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)
    assert tx.get_common_dumper([naive, naive], format).oid == global_types["timestamp"].oid
    assert tx.get_common_dumper([aware, aware], format).oid == global_types["timestamptz"].oid
    with pytest.raises(DataError, match="different PostgreSQL types"):
        tx.get_common_dumper([naive, aware], format)


@pytest.mark.parametrize("format", [Format.TEXT, Format.BINARY])
@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("timestamp", datetime(2020, 1, 1, tzinfo=UTC)),
        ("timestamptz", datetime(2020, 1, 1)),
        ("time", time(12, tzinfo=UTC)),
        ("timetz", time(12)),
    ],
)
def test_wrong_kind_for_an_oid(type_name: str, value: Any, format: Format) -> None:
    dumper = Transformer(ADAPTERS).get_dumper_by_oid(global_types[type_name].oid, format)
    with pytest.raises(DataError, match="with(out)? time zone, where (naive|aware) values are expected"):
        dumper.dump(value)


@pytest.mark.parametrize("format", [Format.TEXT, Format.BINARY])
def test_a_datetime_as_a_date(format: Format) -> None:
    """Found by the type, as for a COPY with set types: what a cast gives, or an error if that takes a time zone."""
    dumper = Transformer(ADAPTERS).get_dumper_by_oid(global_types["date"].oid, format)
    naive = datetime(2024, 2, 29, 23, 59)
    value = dumper.dump(naive)
    assert value is not None
    assert load("date", bytes(value) if format else bytes(value)[:10].decode()) == naive.date()
    for zone in (UTC, ROME):
        with pytest.raises(DataError, match=r"as a date: which day that is depends on the time zone; pass \.date\(\)"):
            dumper.dump(naive.replace(tzinfo=zone))


@pytest.mark.parametrize("format", [Format.TEXT, Format.BINARY])
@pytest.mark.parametrize(("type_name", "zone"), [("time", None), ("timetz", UTC)])
def test_a_datetime_as_a_time(type_name: str, zone: tzinfo | None, format: Format) -> None:
    dumper = Transformer(ADAPTERS).get_dumper_by_oid(global_types[type_name].oid, format)
    value = datetime(2024, 2, 29, 23, 59, 58, 5, tzinfo=zone)
    data = bytes(dumper.dump(value) or b"")
    if zone is not None:
        # The server takes a date before a time, if that has a zone.
        data = data.removeprefix(b"2024-02-29T")
    assert load(type_name, data if format else data.decode()) == value.timetz()


VALUES = [
    date(1, 1, 1),
    date(2024, 2, 29),
    date(9999, 12, 31),
    time(0),
    time(23, 59, 59, 999999),
    time(12, 30, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime(1, 1, 1),
    datetime(1997, 12, 17, 7, 37, 16, 500000),
    datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
    datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
    datetime(1850, 1, 1, 12, tzinfo=UTC),
    datetime(2024, 7, 1, 12, tzinfo=CHICAGO),
    timedelta(0),
    timedelta(days=-1, seconds=3, microseconds=500000),
    timedelta(days=999999999),
    timedelta(microseconds=-1),
]


@pytest.mark.anyio
class TestOnServer:
    @pytest.mark.parametrize("zone", ["UTC", "Europe/Rome", "America/Chicago", "Asia/Kolkata", "<+03>-03"])
    @pytest.mark.parametrize("style", DATESTYLES)
    async def test_round_trip(self, conn: AsyncConnection, style: str, zone: str) -> None:
        cur = await conn.execute(
            "SELECT set_config('DateStyle', %s, false), set_config('TimeZone', %s, false)", (style, zone)
        )
        for format in PyFormat:
            query = f"SELECT {', '.join(f'%{format.value}' for _ in VALUES)}".encode()
            for binary in (False, True):
                cur = await conn.execute(query, VALUES, binary=binary)
                row = await cur.fetchone()
                assert row is not None
                for value, loaded in zip(VALUES, row, strict=True):
                    assert type(loaded) is type(value)
                    if isinstance(loaded, datetime) and loaded.tzinfo is not None:
                        assert loaded.tzinfo is timezone_of(conn)
                        # Python calls times of an hour that is twice unlike those of any other zone.
                        loaded = loaded.astimezone(UTC)
                    assert loaded == value

    @pytest.mark.parametrize("prepare", [False, True])
    async def test_settings_change(self, conn: AsyncConnection, prepare: bool) -> None:
        query = "SELECT '2024-07-01 12:00+00'::timestamptz, '2024-07-05'::date"
        for zone, style in [("UTC", "ISO, MDY"), ("Europe/Rome", "SQL, DMY"), ("America/Chicago", "SQL, MDY")]:
            await conn.execute(
                "SELECT set_config('DateStyle', %s, false), set_config('TimeZone', %s, false)", (style, zone)
            )
            for _ in range(2):
                row = await (await conn.execute(query, prepare=prepare)).fetchone()
                assert row == (datetime(2024, 7, 1, 12, tzinfo=UTC), date(2024, 7, 5))
                assert str(row[0].tzinfo) == zone

    @pytest.mark.parametrize("style", INTERVALSTYLES)
    async def test_intervals(self, conn: AsyncConnection, style: str) -> None:
        await conn.execute("SELECT set_config('IntervalStyle', %s, false)", (style,))
        texts = [
            "0",
            "1 year 2 months",
            "-1 year -2 months",
            "1 year -2 months 3 days",
            "3 days 04:05:06.789",
            "-3 days -04:05:06.789",
            "-3 days 04:05:06",
            "1 year 2 months -3 days 04:05:06.789",
            "-1 year -2 months 3 days -04:05:06.789",
            "-00:00:00.000001",
            "1000000 hours",
        ]
        for text in texts:
            values = []
            for binary in (False, True):
                cur = await conn.execute("SELECT %s::interval", (text,), binary=binary)
                values.append(await cur.fetchone())
            assert values[0] == values[1]
        for text in ("178000000 years", "-178000000 years 1 day"):
            for binary in (False, True):
                with pytest.raises(DataError, match="cannot load interval"):
                    await (await conn.execute("SELECT %s::interval", (text,), binary=binary)).fetchone()
        for value in (timedelta(days=-1, seconds=1), timedelta(days=1, seconds=-1), -timedelta(microseconds=1)):
            for format in PyFormat:
                cur = await conn.execute(f"SELECT %{format.value}".encode(), (value,))
                assert await cur.fetchone() == (value,)

    @pytest.mark.parametrize("binary", [False, True])
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("'10000-01-01'::date", "'10000-01-01'"),
            ("'0044-03-15 BC'::date", "'0044-03-15 BC'"),
            ("'infinity'::date", "'infinity'"),
            ("'10000-01-01 12:30'::timestamp", "'10000-01-01 12:30:00'"),
            ("'-infinity'::timestamptz", "'-infinity'"),
            ("'10000-01-02'::timestamptz", "'10000-01-02"),
            ("'24:00'::time", "'24:00:00'"),
        ],
    )
    async def test_what_python_does_not_have(self, conn: AsyncConnection, value: str, shown: str, binary: bool) -> None:
        with pytest.raises(DataError, match=f"cannot load .* {shown}"):
            await (await conn.execute(f"SELECT {value}".encode(), binary=binary)).fetchone()
        cur = await conn.execute("SELECT 1")
        assert await cur.fetchone() == (1,)
