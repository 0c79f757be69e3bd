"""The time zone of a session, as Python has it.

Knows the names that a server says. Must not know types of values, or a connection beyond the parameters it reports.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta, timezone, tzinfo
from functools import lru_cache
from io import BytesIO
from struct import pack
from zoneinfo import ZoneInfo

from .adapters_map import AdaptContext, parameter_of

logger = logging.getLogger("anyq")


def timezone_of(context: AdaptContext | None) -> tzinfo:
    """Return the time zone of a context, as set by ``SET TIME ZONE``; UTC without a connection."""
    name = parameter_of(context, "TimeZone")
    return timezone.utc if name is None else _timezone_named(name)


# The whole of the database of time zones has about 600 names.
@lru_cache(1024)
def _timezone_named(name: str) -> tzinfo:
    if name == "UTC":
        return timezone.utc
    # Some files of the database are about the machine that they are on, which is not the server's.
    if name not in ("localtime", "posixrules"):
        try:
            return ZoneInfo(name)
        # A name that is not in the database (a subclass of KeyError), that is a directory in it, or that is no name at
        # all.
        except (KeyError, OSError, ValueError):
            pass
    try:
        return _posix_timezone(name)
    except ValueError:
        pass
    # Once for each name, as this function is cached.
    logger.warning(
        "time zone %a of the PostgreSQL server is none that Python has: timestamptz values will be in UTC."
        " Install the tzdata package, or choose another zone with SET TIME ZONE",
        name[:_LONGEST_NAME],
    )
    return timezone.utc


_LONGEST_NAME = 255

# A name, the offset from Greenwich, seen from there (positive is west), and maybe the same for summer and the days at
# which it begins and ends. "<+05:30>-05:30" is what a server says that was told SET TIME ZONE 5.5. The name may be
# empty.
_POSIX = (
    r"(?a)(?P<name><[^<>]*>|[A-Za-z]*)(?P<sign>[-+]?)(?P<hours>\d{1,3})(?::(?P<minutes>\d\d))?(?::(?P<seconds>\d\d))?"
    r"(?P<summer>(?:<[^<>,]+>|[A-Za-z]+)[^,]*(?P<days>,.+)?)?"
)
_USUAL_DAYS = ",M3.2.0,M11.1.0"  # src/timezone/localtime.c, TZDEFRULESTRING


def _posix_timezone(text: str) -> tzinfo:
    """Return the time zone of a POSIX string (PostgreSQL manual, "POSIX Time Zone Specifications").

    :raises ValueError: it is none, or Python has no such zone: its offsets are less than a day.
    """
    match = re.fullmatch(_POSIX, text) if len(text) <= _LONGEST_NAME else None
    if match is None:
        raise ValueError("no POSIX time zone")
    seconds = int(match["hours"]) * 3600 + int(match["minutes"] or 0) * 60 + int(match["seconds"] or 0)
    east = seconds if match["sign"] == "-" else -seconds
    if match["summer"]:
        return _with_rules(text if match["days"] else text + _USUAL_DAYS)
    name = match["name"]
    # What is printed in DateStyles other than ISO. An offset says itself.
    return timezone(timedelta(seconds=east), name) if name.isalpha() else fixed_timezone(east)


def _with_rules(text: str) -> tzinfo:
    # The form in which such rules are part of a file of the database (RFC 9636): of a header, one kind of local time
    # and nothing else, twice, as the first is for readers of the first version.
    block = b"TZif2" + bytes(15) + pack(">6L", 0, 0, 0, 0, 1, 1) + bytes(7)
    return ZoneInfo.from_file(BytesIO(block * 2 + b"\n" + text.encode("ascii") + b"\n"))


@lru_cache(1024)
def fixed_timezone(seconds: int) -> timezone:
    """Return the time zone that is so many seconds east of Greenwich."""
    return timezone.utc if not seconds else timezone(timedelta(seconds=seconds))
