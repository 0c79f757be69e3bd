"""What a connection does, it does over TLS."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.to_thread
import pytest

import anyq
from tests.support.certificates import Certificates
from tests.support.server import Server
from tests.support.tlsproxies import PATIENCE, Proxy

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("home")]


MEGABYTE = 1 << 20


async def test_info(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require") as conn:
        info = conn.info
        assert info.ssl_attribute_names == ["library", "protocol", "cipher", "key_bits", "compression", "alpn"]
        assert info.ssl_attribute("library") == "OpenSSL"
        assert info.ssl_attribute("protocol") == "TLSv1.3"
        assert (info.ssl_attribute("cipher") or "").startswith("TLS_AES")
        assert info.ssl_attribute("key_bits") in ("128", "256")
        assert info.ssl_attribute("compression") == "off"
        assert info.ssl_attribute("nothing") is None
        assert info.hostaddr == "127.0.0.1"
        assert info.get_parameters()["sslmode"] == "require"
    async with connect(proxy(), sslmode="disable") as conn:
        assert conn.info.ssl_attribute_names == []
        assert conn.info.ssl_attribute("protocol") is None


async def test_big_result(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require") as conn:
        cursor = await conn.execute(f"SELECT repeat('x', {20 * MEGABYTE}), 'end'")
        big, end = await cursor.fetchone()
        assert (len(big), end) == (20 * MEGABYTE, "end")
        cursor = await conn.execute("SELECT n, repeat('y', 100) FROM generate_series(1, 100000) AS n")
        rows = await cursor.fetchall()
        assert len(rows) == 100000
        assert rows[-1] == (100000, "y" * 100)


async def test_copy(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        await conn.execute("CREATE TEMPORARY TABLE t (n int, x text)")
        async with conn.cursor().copy("COPY t FROM STDIN") as copy:
            for n in range(50_000):
                await copy.write_row((n, "x" * 100))
        async with conn.cursor().copy("COPY t TO STDOUT") as copy:
            assert len([row async for row in copy.rows()]) == 50_000
        async with conn.cursor().copy("COPY t TO STDOUT") as copy:
            assert await copy.read() == b"0\t" + b"x" * 100 + b"\n"
        with pytest.raises(ZeroDivisionError):
            async with conn.cursor().copy("COPY t FROM STDIN") as copy:
                raise ZeroDivisionError
        cursor = await conn.execute("SELECT count(*) FROM t")
        assert await cursor.fetchall() == [(50_000,)]


async def test_large_values_both_ways_at_once(proxy: Proxy, connect: Any) -> None:
    """Both sides have more to say than fits anywhere before the other one reads."""
    size, count = MEGABYTE, 16
    async with connect(proxy(), sslmode="require") as conn:
        with anyio.fail_after(PATIENCE):
            async with conn.cursor() as cursor:
                await cursor.executemany("SELECT %s::text", [(str(n) * size,) for n in range(count)], returning=True)
                received = []
                while True:
                    row = await cursor.fetchone()
                    assert row is not None
                    received.append((row[0][0], len(row[0])))
                    if not cursor.nextset():
                        break
        assert received == [(str(n)[0], size * len(str(n))) for n in range(count)]


async def test_notifications(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        async with conn.listen("tls") as stream, anyio.create_task_group() as group:
            received: list[Any] = []

            async def receive() -> None:
                async for notify in stream:
                    received.append(notify.payload)
                    if len(received) == 3:
                        return

            group.start_soon(receive)
            for number in range(3):
                await conn.execute("SELECT pg_notify('tls', %s)", [str(number)])
        assert received == ["0", "1", "2"]


async def test_disconnection(proxy: Proxy, connect: Any, embedded_server: Server) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        async with anyio.create_task_group() as group:

            async def wait() -> None:
                with anyio.fail_after(PATIENCE):
                    await conn.wait_disconnected()
                group.cancel_scope.cancel()

            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await anyio.to_thread.run_sync(
                embedded_server.psql, f"SELECT pg_terminate_backend({conn.info.backend_pid})"
            )
            await anyio.sleep_forever()
        assert conn.closed


async def test_many_tasks_share_a_connection(proxy: Proxy, connect: Any) -> None:
    async with connect(proxy(), sslmode="require", autocommit=True) as conn:
        results: list[int] = []

        async def query(number: int) -> None:
            cursor = await conn.execute("SELECT %s::int, repeat('z', 100000)", [number])
            results.append((await cursor.fetchone())[0])

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(query, number)
        assert sorted(results) == list(range(20))


def test_sync(
    proxy: Proxy, embedded_server: Server, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    dsn = embedded_server.role_dsn("scram-sha-256")
    target: dict[str, Any] = {"host": "localhost", "hostaddr": "127.0.0.1", "port": proxy().port}
    with anyq.connect(dsn, sslmode="verify-full", sslrootcert=str(certificates.root), **target) as conn:
        assert conn.info.ssl_in_use
    with anyq.connect(dsn, ssl_context=certificates.client_context(), **target) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
        assert conn.info.ssl_attribute("protocol") == "TLSv1.3"
