"""Where the password of a login comes from.

Knows the options and the functions that callers give, which may block or wait. Must not know what it is used for.
"""

from __future__ import annotations

import inspect

import anyio.to_thread

from ..conninfo import ConnectOptions, HostSpec
from ..errors import InterfaceError, OperationalError

__all__ = ["Password"]


class Password:
    """The password, from the options or from the function that gives it; asked for once."""

    def __init__(self, options: ConnectOptions, host: HostSpec) -> None:
        self._options = options
        self._host = host
        self._given = options.password
        self._asked = options.password_source is None

    async def get(self) -> str:
        """Return the password.

        :raises OperationalError: there is none.
        """
        if not self._asked:
            self._given = await self._ask()
            self._asked = True
        if not self._given:
            source = (
                "and password() returned none"
                if self._options.password_source
                else ("and none was given; pass password=, or set PGPASSWORD")
            )
            raise OperationalError(f'the server asks for a password for user "{self._options.user}", {source}')
        return self._given

    async def _ask(self) -> str | None:
        source = self._options.password_source
        assert source is not None
        answer: object
        if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__):
            answer = source(self._host)
        else:
            # It may read a file or ask a service. In a tuple, as trio takes no coroutine from a thread.
            (answer,) = await anyio.to_thread.run_sync(lambda: (source(self._host),), abandon_on_cancel=True)
        if inspect.isawaitable(answer):
            answer = await answer
        if answer is not None and not isinstance(answer, str):
            # Its type and not its value: that may be the password.
            raise InterfaceError(f"password() must return a str, not {type(answer).__name__}")
        return answer
