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
from ..conninfo import ConnectOptions, PasswordSource
from ..errors.hiding import hiding
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
