"""The PostgreSQL frontend/backend protocol, sans I/O: bytes in, messages out.

Everything below this package knows the wire format (protocol 3.0 and 3.2) and must not know of sockets, TLS,
event loops, clocks or the adaptation of Python types.

Begin with `phases`, the phases of a conversation and all that leads from one to another, then `session`. See the
PostgreSQL manual, chapter "Frontend/Backend Protocol".
"""

from __future__ import annotations

from .constants import Format, TransactionStatus

__all__ = ["Format", "TransactionStatus"]
