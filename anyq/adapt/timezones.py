"""The time zone of a session, as Python has it.

Knows the names that a server says. Must not know types of values, or a connection beyond the parameters it reports.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta, timezone, tzinfo
from functools import lru_cache
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
    try:
        return ZoneInfo(name)
    # A name that is not in the database (a subclass of KeyError), that is a directory in it, or that is no
    # name at all.
    except (KeyError, OSError, ValueError):
        pass
    # "<+05:30>-05:30" is what a server says that was told SET TIME ZONE 5.5: POSIX, where the sign is that of
    # Greenwich, seen from there.
    if match := re.fullmatch(r"<[-+0-9A-Za-z:]+>([-+]?)(\d\d?)(?::(\d\d)(?::(\d\d))?)?", name, re.ASCII):
        seconds = int(match[2]) * 3600 + int(match[3] or 0) * 60 + int(match[4] or 0)
        return fixed_timezone(seconds if match[1] == "-" else -seconds)
    # Once for each name, as this function is cached.
    logger.warning(
        "time zone %r of the PostgreSQL server is not known to Python: timestamptz values will be in UTC."
        " Install the tzdata package, or choose another zone with SET TIME ZONE",
        name,
    )
    return timezone.utc


@lru_cache(1024)
def fixed_timezone(seconds: int) -> timezone:
    """Return the time zone that is so many seconds east of Greenwich."""
    return timezone.utc if not seconds else timezone(timedelta(seconds=seconds))
