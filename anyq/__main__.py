"""The command line: `anyq demo`, `anyq doctor` and `anyq listen`, also as `python -m anyq demo`.

Knows argparse and exit codes. Must not know what a command does: that is in the module of its name in `cli`, whose
`main()` is given the arguments by their names; it is imported when the command runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from . import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line, return the exit code: 0 done, 1 failed, 2 bad arguments or no connection."""
    arguments = vars(_parser().parse_args(argv))
    command = import_module(f"anyq.cli.{arguments.pop('command')}")
    status: int = command.main(**arguments)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anyq", description="anyq, a PostgreSQL driver for structured concurrency.")
    parser.add_argument("--version", action="version", version=f"anyq {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="show what the driver does, step by step",
        description="Show what the driver does, step by step, on asyncio and on trio. Starts a PostgreSQL "
        "server of its own in a temporary folder and removes it at the end; no other database is touched "
        "unless --dsn names it.",
    )
    demo.add_argument(
        "--dsn",
        help="use this database instead (connection string or URI); only a temporary table is made there",
    )
    doctor = commands.add_parser(
        "doctor",
        help="connect, and tell each step of it; at a failure, what to do",
        description="Connect as the driver does and tell each step of it, with times: where the options come from, "
        "names, addresses, TLS and what it protects from, the login, the server, a pooler in between, round trips. If "
        "it fails, tell what to do. It shows no password, and changes nothing on the server. The exit code is 0 if all "
        "is well, 1 if something failed once there was a connection, 2 if there is none.",
    )
    doctor.add_argument(
        "dsn",
        nargs="?",
        default="",
        metavar="DSN",
        help="connection string or URI; by default that of the PG* variables",
    )
    doctor.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object, for programs")
    doctor.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="the event loop to run on")
    listen = commands.add_parser(
        "listen",
        help="print notifications as they come",
        description="Print the notifications of channels as they come, one JSON object a line, until Ctrl-C. A lost "
        'connection is made again, and a line with "gap" tells that notifications may have been missed.',
    )
    listen.add_argument("channels", nargs="+", metavar="CHANNEL", help="capitals stay capitals")
    listen.add_argument("--dsn", default="", help="connection string or URI; by default that of the PG* variables")
    listen.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="the event loop to run on")
    return parser


if __name__ == "__main__":
    sys.exit(main())
