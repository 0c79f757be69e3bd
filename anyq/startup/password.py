"""Where the password of a login comes from.

Knows the options and the functions that callers give, which may block or wait, and keeps the password out of
tracebacks. Must not know what it is used for.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

import anyio.to_thread

from ..conninfo import ConnectOptions, HostSpec
from ..errors import InterfaceError, OperationalError
from ..errors.hiding import hiding

__all__ = ["Password"]


T = TypeVar("T")


class Password:
    """The password, from the options or from the function that gives it; asked for once."""

    def __init__(self, options: ConnectOptions, host: HostSpec) -> None:
        self._options = options
        self._host = host
        self._given = options.password
        self._answer: object = None
        self._asked = options.password_source is None

    async def use(self, make: Callable[[str], T], *, in_thread: bool = False) -> T:
        """Return what a function makes of the password. What it raises is without the frames that have seen that.

        :param in_thread: whether it takes so long that it belongs into a worker thread.
        :raises OperationalError: there is no password.
        """
        if not self._asked:
            await self._ask()
            self._asked = True
        if not self._given:
            source = (
                "and password() returned none"
                if self._options.password_source
                else ("and none was given; pass password=, or set PGPASSWORD")
            )
            raise OperationalError(f'the server asks for a password for user "{self._options.user}", {source}')
        if in_thread:
            return await anyio.to_thread.run_sync(self._make, make, abandon_on_cancel=True)
        return self._make(make)

    @hiding
    def _make(self, make: Callable[[str], T]) -> T:
        assert self._given is not None
        return make(self._given)

    # In no local variable, neither what is called, which may show what it was made of, nor what it returns.
    async def _ask(self) -> None:
        if _is_coroutine_function(self._options.password_source):
            self._answer = self._call()
        else:
            # It may read a file or ask a service. In an attribute, as trio takes no coroutine from a thread.
            await anyio.to_thread.run_sync(self._call_in_thread, abandon_on_cancel=True)
        if inspect.isawaitable(self._answer):
            self._answer = await self._answer
        if self._answer is not None and not isinstance(self._answer, str):
            # Its type and not its value: that may be the password.
            raise InterfaceError(f"password() must return a str, not {type(self._answer).__name__}")
        self._given = self._answer

    def _call(self) -> object:
        assert self._options.password_source is not None
        return self._options.password_source(self._host)

    def _call_in_thread(self) -> None:
        self._answer = self._call()


def _is_coroutine_function(source: object) -> bool:
    return inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__)
