"""Copy a table from one database to another, by COPY in binary format, through two connections.

Usage: python examples/copy_table.py SOURCE TARGET TABLE [--backend trio]

SOURCE and TARGET are connection strings. The table has to be there in both, with columns of the same types. Rows
go from one server to the other as they are; memory stays small, whatever the size, since each side waits for the other.
The target has all rows or, if anything fails, none.
"""

from __future__ import annotations

import argparse

import anyio

import anyq
from anyq import sql


async def copy_table(source: str, target: str, table: str) -> int:
    """Copy a table; return the number of rows."""
    name = sql.Identifier(*table.split("."))
    async with anyq.AsyncConnection.connect(source) as origin, anyq.AsyncConnection.connect(target) as goal:
        out, into = origin.cursor(), goal.cursor()
        async with (
            out.copy(sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(name)) as reading,
            into.copy(sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(name)) as writing,
        ):
            async for block in reading.blocks():
                await writing.write(block)
    return into.rowcount


def main() -> None:
    """Read the command line, and copy."""
    parser = argparse.ArgumentParser(description="Copy a table from one database to another.")
    parser.add_argument("source", help="connection string")
    parser.add_argument("target", help="connection string")
    parser.add_argument("table", help="its name, with a schema or without")
    parser.add_argument("--backend", default="asyncio", choices=["asyncio", "trio"])
    arguments = parser.parse_args()
    rows = anyio.run(copy_table, arguments.source, arguments.target, arguments.table, backend=arguments.backend)
    print(f"{rows} rows copied")


if __name__ == "__main__":
    main()
