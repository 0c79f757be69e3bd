"""What the tests of the compiled twins share: those, a connection to nothing, and outcomes that can be compared."""

from __future__ import annotations

import datetime as dt
import importlib
import math
import pickle
import struct
import uuid
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

import pytest

from anyq import _accel
from anyq.adapt import AdaptersMap
from anyq.postgres import adapters

COMPILED = _accel.implementation == "cython"
"""Whether there are twins to test: what they share with other compiled modules fits none in Python."""


def twin_or_skip(name: str) -> Any:
    """Return a compiled module; skip the module of tests that asks where there is none."""
    if not COMPILED:
        pytest.skip("in pure Python there are no twins", allow_module_level=True)
    return importlib.import_module(f"anyq._accel.{name}")


class Info:
    def __init__(self, zone: str, encoding: str = "utf-8") -> None:
        self.zone = zone
        self.encoding = encoding

    def parameter_status(self, name: str) -> str | None:
        return {"TimeZone": self.zone, "DateStyle": "ISO, DMY"}.get(name)


class Context:
    """A connection that is connected to nothing."""

    def __init__(self, zone: str = "UTC", encoding: str = "utf-8") -> None:
        self.info = Info(zone, encoding)
        self.adapters = AdaptersMap(adapters)

    @property
    def connection(self) -> Context:
        return self


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """Return what can be compared: all of a value, or the class and the message of an error."""
    try:
        return whole(function(*args))
    except RecursionError:
        return RecursionError
    except Exception as ex:
        return type(ex), str(ex)


ADDRESSES = IPv4Address, IPv4Network, IPv6Address, IPv6Network


def whole(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value), [whole(item) for item in value]
    if isinstance(value, float):
        return type(value), "nan" if math.isnan(value) else struct.pack("d", value)
    if isinstance(value, uuid.UUID):
        return type(value), value, hash(value), value.is_safe, str(value), value == pickle.loads(pickle.dumps(value))
    if isinstance(value, (dt.datetime, dt.time)):
        return type(value), repr(value.replace(tzinfo=None)), value.fold, value.utcoffset(), value.tzname()
    if isinstance(value, ADDRESSES):
        # Networks of one or two addresses have a function of their own in them.
        parts = [(key, callable(part) or whole(part)) for key, part in getattr(value, "__dict__", {}).items()]
        copy = pickle.loads(pickle.dumps(value))
        return type(value), str(value), hash(value), value.exploded, parts, value == copy, type(copy)
    return type(value), repr(value)
