"""Following: whether the server of a pool's connection is still one that `target_session_attrs` asks for.

Theory of operation. A server may change its part while sessions last: a standby is promoted, and who moves a primary
elsewhere makes the old one read-only. It says so, by parameters that it reports with its next reply. So it is looked
whether the parameters are others than they were, when a connection comes back, after a check, and while statements of
many tasks run on it. A pooler in between may not report them; then the error of a statement that writes tells, and the
server is asked. No traffic is needed otherwise.

Knows sessions. Must not know pools.
"""

from __future__ import annotations

from typing import Any

from ..backends import alone, uninterrupted
from ..connection import AsyncConnection
from ..errors import ReadOnlySqlTransaction
from ..startup.targets import why_unsuitable


@uninterrupted
class Followed:
    """What the server of a connection has to be.

    :param target: a value of `target_session_attrs`.
    """

    __slots__ = ("_doubtful", "_parameters", "target")

    def __init__(self, inner: AsyncConnection[Any], target: str) -> None:
        self.target = target
        self._parameters = inner.session.wire.protocol.parameters
        self._doubtful = False

    def suspect(self, error: BaseException) -> None:
        """Take note of the error of a statement: it may be that the server takes no more writes."""
        if isinstance(alone(error), ReadOnlySqlTransaction):
            self._doubtful = True

    def may_have_changed(self, inner: AsyncConnection[Any]) -> bool:
        """Return whether it has to be looked at the server again."""
        return self._doubtful or inner.session.wire.protocol.parameters is not self._parameters

    async def why_unsuitable(self, inner: AsyncConnection[Any]) -> str | None:
        """Return why the server is none any more that is asked for, None if it is one.

        :raises Error: it does not say.
        """
        self._parameters = inner.session.wire.protocol.parameters
        self._doubtful = False
        reason = await why_unsuitable(inner.session.wire, self.target)
        return None if reason is None else f"{reason}, and target_session_attrs={self.target}"


@uninterrupted
async def followed(inner: AsyncConnection[Any]) -> Followed | None:
    """Return what is to be followed of a connection that was just opened; None if any server will do."""
    target = inner.info.get_parameters().get("target_session_attrs", "any")
    if target == "prefer-standby":
        # Where there was none, there is nothing to lose.
        target = "standby" if await why_unsuitable(inner.session.wire, "standby") is None else "any"
    return None if target == "any" else Followed(inner, target)
