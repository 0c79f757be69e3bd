"""How a CancelRequest is sent: over a second connection to the server of a session.

Knows the message and that there is no answer to it. Must not know when one is sent, nor how the connection is opened.

See the PostgreSQL manual, "Canceling Requests in Progress" (protocol-flow).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ..errors import OperationalError
from ..protocol import frontend
from ..protocol.session import ProtocolSession
from ..transport.channel import Channel

__all__ = ["Reopen", "canceller"]

Reopen = Callable[[], Awaitable[Channel]]
"""Opens one more stream to the same server."""


def canceller(reopen: Reopen, protocol: ProtocolSession) -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Return what cancels the statement that a session's server is running.

    It is called with a function that is asked when the connection is made, and may say that it is too late. It raises
    what `reopen` does, and an OperationalError where the server has something to say.
    """

    async def cancel(may_send: Callable[[], bool]) -> None:
        channel = await reopen()
        try:
            if not may_send():
                return
            data = bytearray()
            frontend.cancel_request(data, protocol.backend_pid, protocol.secret_key)
            while data:
                del data[: channel.try_send(data)]
                if data:
                    await channel.wait(False, True)
            # The server closes when it has signalled the process; there is no other answer.
            while (answer := channel.try_receive(1)) is None:
                await channel.wait(True, False)
            if answer:
                raise OperationalError("the server gave an answer to a CancelRequest, to which there is none")
        except anyio.BrokenResourceError:
            pass
        finally:
            channel.close_now()
            if not channel.closes_at_once:
                await channel.aclose()

    return cancel
