"""A bank on trio: a pool in a nursery, statements without a connection, transactions that are run again, an audience.

    python examples/transfers.py [--dsn DSN] [--clerks N] [--transfers N]

Clerks move money between accounts, each transfer in a serializable transaction that is run again when it gets into
another one's way. What was committed is notified, and two listeners get each notification: one prints it, one keeps
books of its own. Meanwhile an auditor looks at the balances, by statements that share a connection with others.

The order of the blocks is what matters. The pool outlives the nursery, so no clerk loses its connection to the end of
the pool; and the listeners outlive the clerks, so they have heard of everything.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from functools import partial

import trio

import anyq
from anyq import IsolationLevel
from anyq.cli.embedded import EmbeddedServer, ServerUnavailable
from anyq.pool import AsyncConnectionPool, run_transaction

ACCOUNTS = 4
AT_THE_BEGINNING = 100


async def move(source: int, target: int, amount: int, conn: anyq.AsyncConnection) -> None:
    """Move money, in a transaction. It may be called again, so it does nothing but what is rolled back then."""
    for account, change in ((source, -amount), (target, amount)):
        await conn.execute("UPDATE bank.account SET balance = balance + %s WHERE number = %s", [change, account])
    # It is sent when the transaction is committed, and only then.
    await conn.notify("transfers", f"{source} {target} {amount}")


async def clerk(pool: AsyncConnectionPool, seed: int, transfers: int) -> None:
    chance = random.Random(seed)
    for _ in range(transfers):
        source, target = chance.sample(range(ACCOUNTS), 2)
        job = partial(move, source, target, chance.randint(1, 9))
        await run_transaction(pool, job, isolation_level=IsolationLevel.SERIALIZABLE, retries=100)


async def auditor(pool: AsyncConnectionPool) -> None:
    """Look at the sum of all balances, which is always the same, until it is cancelled."""
    while True:
        cur = await pool.execute("SELECT sum(balance)::int FROM bank.account")
        assert await cur.fetchone() == (ACCOUNTS * AT_THE_BEGINNING,), "money was made, or lost"


async def ticker(transfers: anyq.NotificationStream) -> None:
    async with transfers:
        async for transfer in transfers:
            source, target, amount = transfer.payload.split()
            print(f"{amount} from {source} to {target}")


async def bookkeeper(transfers: anyq.NotificationStream, books: Counter[int]) -> None:
    async with transfers:
        async for transfer in transfers:
            source, target, amount = map(int, transfer.payload.split())
            books[source] -= amount
            books[target] += amount


async def work(pool: AsyncConnectionPool, clerks: int, transfers: int) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(auditor, pool)
        async with trio.open_nursery() as office:
            for seed in range(clerks):
                office.start_soon(clerk, pool, seed, transfers)
        nursery.cancel_scope.cancel()


async def main(dsn: str, clerks: int, transfers: int) -> None:
    books = Counter({number: AT_THE_BEGINNING for number in range(ACCOUNTS)})
    async with AsyncConnectionPool(dsn, min_size=1, max_size=clerks + 2) as pool:
        await pool.execute("CREATE SCHEMA bank")
        await pool.execute("CREATE TABLE bank.account (number int PRIMARY KEY, balance int)")
        await pool.executemany("INSERT INTO bank.account VALUES (%s, %s)", list(books.items()))
        try:
            async with (
                # A connection of its own: a listener keeps it for as long as it listens.
                anyq.AsyncConnection.connect(dsn, autocommit=True) as listening,
                trio.open_nursery() as audience,
                listening.listen("transfers") as first,
                listening.listen("transfers") as second,
            ):
                audience.start_soon(ticker, first.clone())
                audience.start_soon(bookkeeper, second.clone(), books)
                await work(pool, clerks, transfers)
                # All of them have been sent; the reply to this comes behind the last one.
                await listening.execute("SELECT 1")
            cur = await pool.execute("SELECT number, balance FROM bank.account")
            assert dict(await cur.fetchall()) == books, "the listener has heard of everything"
        finally:
            with trio.CancelScope(shield=True):
                await pool.execute("DROP SCHEMA bank CASCADE")
        connections = pool.get_stats()["connections_num"]
    print(f"{clerks * transfers} transfers over {connections} connections, {sum(books.values())} in the bank")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--dsn", help="connection string or URI; by default an embedded server is started")
    parser.add_argument("--clerks", type=int, default=4)
    parser.add_argument("--transfers", type=int, default=5, help="of each clerk")
    arguments = parser.parse_args()
    try:
        if arguments.dsn is not None:
            trio.run(main, arguments.dsn, arguments.clerks, arguments.transfers)
        else:
            with EmbeddedServer() as server:
                trio.run(main, server.dsn, arguments.clerks, arguments.transfers)
    except ServerUnavailable as error:
        sys.exit(str(error))
