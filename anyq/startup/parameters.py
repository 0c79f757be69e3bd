"""What connect() is given, in one piece: from the signatures that users see to where each parameter is used.

Knows the parameters' names. Must not know what they do, nor their defaults.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import anyio.abc

from .. import conninfo as _conninfo
from ..abc import AdaptContext
from ..adapt.adapters_map import adapters_of
from ..conninfo import ConnectOptions, PasswordSource
from ..errors import ProgrammingError
from ..errors.arguments import check_callables, check_numbers, check_optional_ints
from ..errors.hiding import hiding
from ..session.busy_wait import LONGEST_BUSY_WAIT
from ..tracing import Tracer
from .routes import Dial

__all__ = ["ConnectParameters"]


# Without a repr: a password may be in three of them.
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ConnectParameters:
    """The parameters of :meth:`AsyncConnection.connect` that the synchronous one has as well, where they are described.

    Those that make rows and cursors are not among them: they are of other classes in synchronous code.
    """

    conninfo: str
    autocommit: bool
    prepare_threshold: int | None
    context: AdaptContext | None
    grace_period: float
    busy_wait: float
    stream: anyio.abc.ByteStream | None
    dial: Dial | None
    ssl_context: ssl.SSLContext | None
    password: str | PasswordSource | None
    tracer: Tracer | None
    kwargs: Mapping[str, str | int | float | None]

    def check(self) -> None:
        """Look at those that would be used only when it is too late to tell who gave them.

        :raises TypeError, ValueError, ProgrammingError: one of them is of no use.
        """
        check_numbers(grace_period=self.grace_period)
        busy_wait: Any = self.busy_wait
        if not (isinstance(busy_wait, int | float) and 0 <= busy_wait <= LONGEST_BUSY_WAIT):
            raise ProgrammingError(
                f"busy_wait must be from 0 to {LONGEST_BUSY_WAIT:g} seconds, not {self.busy_wait!r}: nothing else runs "
                "in the event loop meanwhile"
            )
        check_optional_ints(0, prepare_threshold=self.prepare_threshold)
        if self.dial is not None:
            check_callables(dial=self.dial)
        if self.context is not None:
            adapters_of(self.context)

    @hiding
    def options(self) -> ConnectOptions:
        """Return the options that are asked for, by these parameters, the environment and files. Blocks.

        :raises ProgrammingError: see :func:`conninfo.resolve`.
        """
        text, source = (None, self.password) if callable(self.password) else (self.password, None)
        given = {**self.kwargs, "password": text}
        return _conninfo.resolve(self.conninfo, given, os.environ, self.ssl_context, source)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> ConnectParameters:
        """Return those that are among the local variables of a function, which has them as its parameters.

        :raises KeyError: it lacks one.
        """
        return cls(**{field.name: given[field.name] for field in fields(cls)})
