"""Limits: what PostgreSQL takes as a channel and as a payload, and what a subscription can be asked for.

Knows names, sizes and encodings. Must not know connections.

Manual: "NOTIFY".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import NotSupportedError, ProgrammingError

MAX_CHANNEL = 63
"""Bytes of a channel's name (NAMEDATALEN - 1); the server would cut a longer one without an error."""

MAX_PAYLOAD = 7999
"""Bytes of a payload: it must be shorter than 8000 (manual, "NOTIFY")."""


def check_channel(channel: str, client: str, server: str) -> None:
    """Check the name of a channel.

    :param client: Python codec of the client encoding.
    :param server: that of the server encoding, in which the name's length counts.
    :raises ProgrammingError: it is no name that a channel can have.
    """
    if not isinstance(channel, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the name of a channel is a str, not {type(channel).__name__}")
    if not channel:
        raise ProgrammingError("the name of a channel cannot be empty")
    if "\0" in channel:
        raise ProgrammingError("the name of a channel cannot contain NUL characters")
    size = _size("the name of a channel", channel, client, server)
    if size > MAX_CHANNEL:
        raise ProgrammingError(
            f"the name of a channel has {MAX_CHANNEL} bytes at most, and {channel!r} has {size}: the server would "
            "cut it"
        )


def check_payload(payload: str, client: str, server: str) -> None:
    """Check that a payload can be sent; parameters as for :func:`check_channel`.

    :raises ProgrammingError: it is too long, or has characters that no text has.
    """
    if not isinstance(payload, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"the payload of a notification is a str, not {type(payload).__name__}; json.dumps() makes one")
    if "\0" in payload:
        raise ProgrammingError("the payload of a notification cannot contain NUL characters")
    size = _size("the payload of a notification", payload, client, server)
    if size > MAX_PAYLOAD:
        raise ProgrammingError(
            f"the payload of a notification has {MAX_PAYLOAD} bytes at most, and this one has {size}: store the data "
            "in a table and send its key"
        )


def _size(what: str, text: str, client: str, server: str) -> int:
    """Return how many bytes a text has on the server."""
    try:
        size = len(text.encode(client))
    except UnicodeEncodeError as error:
        raise ProgrammingError(f"{what} cannot be sent in the client encoding: {error}") from error
    try:
        return len(text.encode(server))
    except (UnicodeEncodeError, NotSupportedError):
        # The server has no encoding of its own (SQL_ASCII), or one that Python has not, or will refuse it.
        return size


def check_options(channels: Sequence[str], max_buffer_size: float, overflow: str, client: str, server: str) -> None:
    """Check what a subscription is asked for.

    :raises ProgrammingError: a name that no channel can have.
    """
    if overflow not in ("error", "drop_oldest", "drop_newest"):
        raise ValueError(f"overflow must be 'error', 'drop_oldest' or 'drop_newest', not {overflow!r}")
    if not (isinstance(max_buffer_size, int) or max_buffer_size == math.inf) or max_buffer_size < 1:
        raise ValueError(f"max_buffer_size must be a positive int or math.inf, not {max_buffer_size!r}")
    if not channels:
        raise TypeError("the name of at least one channel is needed")
    for channel in channels:
        check_channel(channel, client, server)
