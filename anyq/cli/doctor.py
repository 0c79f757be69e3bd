"""The command behind `anyq doctor`: connects, tells each step of it, and at a failure what to do.

Knows the order of an examination. Must not know how a connection is made: the driver does that, and tells; nor what a
failure means (`doctor_advice`), how it is shown (`doctor_report`), or what a connection is asked (`doctor_looks`).
No password and no key is ever shown: those who show do not get them.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from inspect import signature
from typing import Any, NamedTuple, Protocol, TextIO, cast

import anyio
import anyio.to_thread

import anyq
from anyq.conninfo import KEYWORDS, ConnectOptions
from anyq.conninfo.hosts import SOCKET_DIRECTORIES
from anyq.conninfo.options import SESSION_VARIABLES
from anyq.conninfo.origins import Origin, collect
from anyq.cursor import AsyncCursor
from anyq.errors.hiding import hiding
from anyq.rows import tuple_row
from anyq.startup.opening import Opened, open_session
from anyq.startup.parameters import ConnectParameters

from .doctor_advice import Advisor
from .doctor_looks import look_at_pooler, look_at_server, measure_round_trips
from .doctor_report import JsonReport, TextReport, wants_colours
from .doctor_steps import FAILED, Recorder, Step, text_of

__all__ = ["Report", "examine", "main"]

CONNECT_TIMEOUT = 10
"""Seconds for each host, where nothing else is said: nobody wants to wait for ever for a diagnosis."""

_PATIENCE = 10.0
"""Seconds that each look at the server may take."""

_GRACE = 1.0
"""Seconds until a connection is closed whose look was given up."""

_HIDDEN = "(not shown)"

CONNECTED, PARTLY, NOT_CONNECTED, INTERRUPTED = 0, 1, 2, 130
"""Exit codes. The second one: connected, and then something has failed."""


class Report(Protocol):
    """Where an examination is told."""

    def begin(self, about: Mapping[str, str]) -> None:
        """Take what is examined with what."""

    def step(self, step: Step) -> None:
        """Take a step that is over."""

    def end(self, connected: bool, error: str) -> None:
        """Take what has come of it."""


def main(dsn: str, as_json: bool, backend: str) -> int:
    """Examine a connection; return the exit code.

    It is 0 if all is well, 1 if the connection was made and then something failed, 2 if it could not be made, and 130
    if the examination was interrupted.
    """
    out: TextIO = sys.stdout
    # What a server says may have characters that this terminal's encoding lacks.
    cast(Any, out).reconfigure(errors="backslashreplace")
    report: Report = JsonReport(out) if as_json else TextReport(out, colours=wants_colours(out, os.environ))
    try:
        status: int = anyio.run(_until_interrupted, dsn, report, backend=backend)
    except BrokenPipeError:
        # Whoever reads it has enough, as `head` has. The interpreter must not try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CONNECTED
    if status == INTERRUPTED:
        print("anyq doctor: interrupted", file=sys.stderr)
    return status


async def _until_interrupted(dsn: str, report: Report) -> int:
    status, broken = INTERRUPTED, None
    async with anyio.create_task_group() as group:
        if sys.platform != "win32":
            group.start_soon(_wait_for_signal, group.cancel_scope)
        try:
            status = await examine(dsn, report)
        except BrokenPipeError as error:
            broken = error
        group.cancel_scope.cancel()
    if broken is not None:
        # Outside the group, so that it is not wrapped in an exception group.
        raise broken
    return status


async def _wait_for_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


async def examine(dsn: str, report: Report) -> int:
    """Connect as the driver does, tell a report of each step, and close the connection; return the exit code.

    A cancellation leaves nothing open.
    """
    report.begin({"anyq": anyq.__version__, "Python": platform.python_version(), "implementation": anyq.__impl__})
    warnings = _Warnings()
    logger = logging.getLogger("anyq")
    logger.addHandler(warnings)
    try:
        examination = _Examination(report, warnings)
        return await examination.run(dsn)
    finally:
        logger.removeHandler(warnings)


class _Warnings(logging.Handler):
    """What the driver logs meanwhile, which belongs to the step that it was said in."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._new: list[str] = []
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # Files are read twice, for what is shown and for the connection. What fails is a step of its own.
        if text not in self._said and not text.startswith("trying without TLS"):
            self._said.add(text)
            self._new.append(text)

    def take(self) -> list[str]:
        """Return what has come since the last time."""
        new, self._new = self._new, []
        return new


class _Given(NamedTuple):
    """The options of the connection, and where each comes from."""

    parameters: ConnectParameters
    options: ConnectOptions
    origins: Mapping[str, str]


class _Examination:
    def __init__(self, report: Report, warnings: _Warnings) -> None:
        self._report = report
        self._warnings = warnings
        self._failed = False

    def _tell(self, step: Step) -> None:
        for text in self._warnings.take():
            step.warn(text[:1].upper() + text[1:] + ".")
        self._failed |= step.status == FAILED
        self._report.step(step)

    async def run(self, dsn: str) -> int:
        given = await self._options(dsn)
        if given is None:
            self._report.end(False, "")
            return NOT_CONNECTED
        recorder = Recorder(given.options, self._tell, Advisor(given.options, given.origins))
        try:
            opened = await open_session(given.parameters, recorder)
        except anyq.Error as error:
            self._report.end(False, "" if self._failed else text_of(error))
            return NOT_CONNECTED
        # What failed before is told, and another host or another way has worked.
        self._failed = False
        async with _connection(opened) as conn:
            await self._look("server", "server", lambda step: look_at_server(conn, step))

            async def another() -> anyq.AsyncConnection:
                return _connection(await open_session(given.parameters))

            await self._look(
                "pooler",
                "what is in between",
                lambda step: look_at_pooler(conn, step, another, recorder.refused_versions),
            )
            await self._look("round-trips", "round trips", lambda step: measure_round_trips(conn, step))
        self._report.end(not self._failed, "")
        return PARTLY if self._failed else CONNECTED

    async def _options(self, dsn: str) -> _Given | None:
        recorder = Recorder(_NO_OPTIONS, self._tell, lambda step, error: [_OPTIONS_ADVICE])
        step = recorder.begin("options", "options")
        try:
            given = await anyio.to_thread.run_sync(_read_options, dsn, step, abandon_on_cancel=True)
        except anyq.Error as error:
            recorder.end("options", error)
            return None
        recorder.end("options")
        return given

    async def _look(self, kind: str, title: str, look: Callable[[Step], Awaitable[None]]) -> None:
        recorder = Recorder(_NO_OPTIONS, self._tell, lambda step, error: [])
        step = recorder.begin(kind, title)
        try:
            with anyio.fail_after(_PATIENCE):
                await look(step)
        except anyq.Error as error:
            recorder.end(kind, error)
        except TimeoutError:
            recorder.end(kind, TimeoutError(f"no answer within {_PATIENCE:g} s"))
        else:
            recorder.end(kind)


_NO_OPTIONS = ConnectOptions(hosts=(), user="", dbname="")

_OPTIONS_ADVICE = (
    "The options are told in docs/connecting.md; in a URI @, /, : and % of a password are %40, %2F, %3A, %25."
)


def _connection(opened: Opened) -> anyq.AsyncConnection:
    """Return the connection over a session: one that leaves nothing behind on a server, nor on a pooler."""
    return anyq.AsyncConnection(
        *opened,
        autocommit=True,
        prepare_threshold=None,
        row_factory=tuple_row,
        cursor_factory=AsyncCursor,
        context=None,
        busy_wait=0,
    )


@hiding
def _read_options(dsn: str, step: Step) -> _Given:
    """Return the options, and note in a step what they are. Blocks, as it reads files.

    :raises ProgrammingError: they make no sense.
    """
    values, origins = collect(dsn, {}, os.environ)
    kwargs: dict[str, Any] = {} if "connect_timeout" in values else {"connect_timeout": CONNECT_TIMEOUT}
    # What is not named here is as connect() has it by default.
    given = {name: each.default for name, each in signature(anyq.AsyncConnection.connect).parameters.items()}
    parameters = ConnectParameters.of({**given, "conninfo": dsn, "grace_period": _GRACE, "kwargs": kwargs})
    options = parameters.options()
    defaults = _defaults(values, options)
    told: dict[str, str] = {}
    for keyword, spec in KEYWORDS.items():
        if keyword in values:
            told[keyword] = _in_words(origins[keyword])
            step.add(keyword, _HIDDEN if spec.secret else values[keyword], told[keyword])
        elif keyword in defaults:
            value, told[keyword] = defaults[keyword]
            step.add(keyword, value, told[keyword])
    variables = {setting: variable for variable, setting in SESSION_VARIABLES.items()}
    for setting, value in options.session_settings:
        step.add(setting, value, f"environment variable {variables[setting]}")
    return _Given(parameters, options, told)


def _in_words(origin: Origin) -> str:
    match origin.kind:
        case "environment":
            return f"environment variable {origin.name}"
        case "service":
            return f'service "{origin.name}" in "{origin.file}"'
        case _:
            return "argument"


def _defaults(values: Mapping[str, str], options: ConnectOptions) -> dict[str, tuple[str, str]]:
    """Return what is so where nothing else is said, and why, by keyword."""
    first = options.hosts[0]
    found = {
        "port": (str(first.port), "default"),
        "user": (options.user, "default: the operating system's user"),
        "dbname": (options.dbname, "default: as the user"),
        "connect_timeout": (str(CONNECT_TIMEOUT), "of this command; the driver's default is to wait for ever"),
        "sslmode": (options.tls.mode, "default" if options.tls.mode == "prefer" else "by sslrootcert"),
    }
    if "hostaddr" not in values:
        found["host"] = (
            first.host,
            "default: a server's socket is there"
            if first.socket_path
            else f"default: there is no socket for that port in {', '.join(SOCKET_DIRECTORIES)}",
        )
    if any(options.host_passwords):
        found["password"] = (_HIDDEN, f'password file "{options.passfile}"')
    elif options.scram_keys is None:
        found["password"] = ("none", "default: neither given nor in a password file")
    return found
