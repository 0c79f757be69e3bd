"""Ctrl-C, fork and the end of the interpreter, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and fork are those of POSIX")


class Script:
    """A Python process that runs a script with a connection string."""

    def __init__(self, portal: tuple[str, dict[str, Any]], dsn: str, body: str, *options: str) -> None:
        head = f"""
            import os, signal, sys, threading
            import anyq
            anyq.sync.set_portal_backend(*{portal!r})
            dsn = {dsn!r}

            def say(text):
                print(text, flush=True)
        """
        source = textwrap.dedent(head) + textwrap.dedent(body)
        self.process = subprocess.Popen(
            [sys.executable, *options, "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def wait_for(self, text: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line == text, line + self.end(None)

    def end(self, status: int | None = 0) -> str:
        """Wait for its end; return what it has said."""
        try:
            out, err = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail(f"the process hangs: {out}\n{err}")
        if status is not None:
            assert self.process.returncode == status, f"{out}\n{err}"
            assert not err, err
        return out + (err if status is None else "")


@pytest.mark.parametrize(
    "send",
    [
        pytest.param("os.kill(os.getpid(), signal.SIGINT)", id="to the process"),
        # As the system may do; as little ends the wait of the main thread that has come just before it began.
        pytest.param("signal.pthread_kill(threading.get_ident(), signal.SIGINT)", id="to another thread"),
    ],
)
def test_ctrl_c_cancels_the_query_and_leaves_the_connection_usable(portal_backend: Any, dsn: str, send: str) -> None:
    script = Script(
        portal_backend,
        dsn,
        f"""
        with anyq.connect(dsn, autocommit=True) as conn, anyq.connect(dsn, autocommit=True) as other:
            def interrupt():
                query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
                while not other.execute(query, [conn.info.backend_pid]).fetchone():
                    pass
                {send}
            def by_the_portal():
                with anyq.sync.timeout(60):
                    conn.execute("SELECT pg_sleep(60)")
            for use in (
                lambda: conn.execute("SELECT pg_sleep(60)"),
                lambda: list(conn.cursor().stream("SELECT pg_sleep(60)")),
                lambda: conn.cursor().executemany("SELECT pg_sleep(%s)", iter([(60,)])),
                by_the_portal,
            ):
                thread = threading.Thread(target=interrupt)
                thread.start()
                try:
                    use()
                except KeyboardInterrupt:
                    say("interrupted")
                thread.join()
                assert conn.execute("SELECT 1").fetchone() == (1,)
        """,
    )
    assert script.end() == "interrupted\n" * 4


def test_ctrl_c_in_blocks_and_generators(portal_backend: Any, dsn: str) -> None:
    script = Script(
        portal_backend,
        dsn,
        """
        with anyq.connect(dsn, autocommit=True) as conn:
            conn.execute("CREATE TEMP TABLE t (i int)")
            try:
                with conn.transaction():
                    conn.execute("INSERT INTO t VALUES (1)")
                    say("sleeping")
                    conn.execute("SELECT pg_sleep(60)")
            except KeyboardInterrupt:
                say("interrupted")
            assert conn.info.transaction_status == anyq.TransactionStatus.IDLE
            assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
            with conn.listen("a") as stream:
                try:
                    say("listening")
                    next(stream)
                except KeyboardInterrupt:
                    say("interrupted")
                conn.notify("a", "hello")
                assert next(stream).payload == "hello"
            try:
                say("waiting")
                for notify in conn.notifies():
                    pass
            except KeyboardInterrupt:
                say("interrupted")
            assert conn.execute("SELECT 1").fetchone() == (1,)
        """,
    )
    for text in ("sleeping", "listening", "waiting"):
        script.wait_for(text)
        script.process.send_signal(signal.SIGINT)
        script.wait_for("interrupted")
    script.end()


def test_a_signal_handler_may_use_the_connection(portal_backend: Any, dsn: str) -> None:
    script = Script(
        portal_backend,
        dsn,
        """
        with anyq.connect(dsn, autocommit=True) as conn, anyq.connect(dsn, autocommit=True) as other:
            def handler(*args):
                conn.cancel()
                assert other.execute("SELECT 2").fetchone() == (2,)
                say("cancelled")
            signal.signal(signal.SIGUSR1, handler)
            def interrupt():
                query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
                while not other.execute(query, [conn.info.backend_pid]).fetchone():
                    pass
                os.kill(os.getpid(), signal.SIGUSR1)
            thread = threading.Thread(target=interrupt)
            thread.start()
            try:
                conn.execute("SELECT pg_sleep(60)")
            except anyq.errors.QueryCanceled:
                assert conn.execute("SELECT 1").fetchone() == (1,)
            thread.join()
        """,
    )
    assert script.end() == "cancelled\n"


@pytest.mark.parametrize(
    "body",
    [
        "conn = anyq.connect(dsn)",
        "conn = anyq.connect(dsn); rows = conn.execute('SELECT 1')",
        "conn = anyq.connect(dsn); stream = conn.cursor().stream('SELECT generate_series(1, 100000)'); next(stream)",
        "conn = anyq.connect(dsn); g = conn.notifies(timeout=0); list(g)",
        "listener = anyq.sync.listen(dsn, 'a').__enter__()",
        """
conn = anyq.connect(dsn)
threading.Thread(target=lambda: list(conn.notifies()), daemon=True).start()
""",
        """
conn, other = anyq.connect(dsn), anyq.connect(dsn)
key = [other.info.backend_pid]
other.execute("SELECT pg_advisory_lock(%s)", key)
def unlock():
    # The interpreter waits for these threads when the main one has ended.
    threading.main_thread().join()
    other.execute("SELECT pg_advisory_unlock(%s)", key)
threads = [threading.Thread(target=conn.execute, args=["SELECT pg_advisory_lock_shared(%s)", key]) for _ in range(4)]
for thread in (*threads, threading.Thread(target=unlock)):
    thread.start()
""",
        """
import atexit
conn = anyq.connect(dsn)
atexit.register(lambda: conn.execute("SELECT 1"))
atexit.register(conn.close)
""",
    ],
    ids=["open", "cursor", "stream", "notifies", "listener", "daemon", "threads", "atexit"],
)
def test_nothing_hangs_at_exit(portal_backend: Any, dsn: str, body: str) -> None:
    # What is said about connections that were not closed is another test's.
    script = Script(portal_backend, dsn, body, "-W", "ignore::ResourceWarning")
    script.end(None)
    assert script.process.returncode == 0


def test_no_thread_is_left_at_exit(portal_backend: Any, dsn: str) -> None:
    script = Script(
        portal_backend,
        dsn,
        """
        import atexit
        conn = None
        def look():
            say([thread.name for thread in threading.enumerate() if thread.name == "anyq portal"])
        # The last to be registered is the first to be called.
        from anyq.sync.shared_portal import _shared
        atexit.unregister(_shared.exit)
        atexit.register(look)
        atexit.register(_shared.exit)
        conn = anyq.connect(dsn)
        look()
        """,
        "-W",
        "ignore::ResourceWarning",
    )
    assert script.end(None).splitlines()[:2] == ["['anyq portal']", "[]"]


def test_sockets_are_not_shared_with_a_forked_child(portal_backend: Any, dsn: str) -> None:
    """Else the server would not see that the parent has gone, and what is written by one would be read by the other."""
    script = Script(
        portal_backend,
        dsn,
        """
        import multiprocessing, stat

        def sockets():
            return {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                    if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISSOCK(os.stat(f"/proc/self/fd/{fd}").st_mode)}

        def child(queue):
            queue.put(link in sockets())

        if not os.path.isdir("/proc/self/fd"):
            say("no /proc")
            sys.exit(0)
        conn = anyq.connect(dsn, autocommit=True)
        conn.execute("CREATE TEMP TABLE t (i int)")
        link = os.readlink(f"/proc/self/fd/{conn.inner.session.wire.channel._sock.fileno()}")
        assert link in sockets()
        fork = multiprocessing.get_context("fork")
        queue = fork.SimpleQueue()
        process = fork.Process(target=child, args=(queue,))
        process.start()
        assert queue.get() is False
        process.join()
        assert process.exitcode == 0
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
        conn.close()
        say("closed")
        """,
        "-W",
        # Of Python 3.12, about the very thing that is tested.
        "ignore::DeprecationWarning",
    )
    assert script.end().split()[-1] in ("closed", "/proc")


def test_closing_the_last_connection_leaves_no_thread_that_a_fork_would_copy(portal_backend: Any, dsn: str) -> None:
    script = Script(
        portal_backend,
        dsn,
        """
        with anyq.connect(dsn) as conn:
            assert any(thread.name == "anyq portal" for thread in threading.enumerate())
        assert not any(thread.name == "anyq portal" for thread in threading.enumerate())
        say("alone")
        """,
    )
    assert script.end() == "alone\n"


@pytest.mark.parametrize(("options", "debug"), [({}, False), ({"debug": True}, True)])
def test_the_portals_loop_is_not_in_debug_mode_unless_it_is_told_so(
    dsn: str, options: dict[str, Any], debug: bool
) -> None:
    script = Script(
        ("asyncio", options),
        dsn,
        """
        import asyncio
        assert sys.flags.dev_mode
        with anyq.connect(dsn) as conn:
            async def ask():
                return asyncio.get_running_loop().get_debug()
            say(conn.calls.call(ask))
        """,
        "-X",
        "dev",
    )
    assert script.end() == f"{debug}\n"


def test_fork(portal_backend: Any, dsn: str) -> None:
    script = Script(
        portal_backend,
        dsn,
        """
        conn = anyq.connect(dsn, autocommit=True)
        conn.execute("CREATE TEMP TABLE t (i int)")
        cursor = conn.execute("SELECT 1")
        generator = conn.notifies()
        pid = os.fork()
        if pid == 0:
            for use in (
                lambda: conn.execute("SELECT 1"),
                lambda: cursor.execute("SELECT 1"),
                lambda: next(generator),
                conn.commit,
                conn.cursor,
                conn.fileno,
                lambda: conn.transaction().__enter__(),
            ):
                try:
                    use()
                except anyq.InterfaceError as error:
                    assert "before fork()" in str(error), error
                else:
                    say("no error")
            assert conn.closed
            assert cursor.fetchone() == (1,)
            generator.close()
            with conn:
                pass
            conn.close()
            del conn, cursor, generator
            import gc
            gc.collect()
            # The child has a portal of its own, also in a child of its own.
            with anyq.connect(dsn) as mine:
                assert mine.execute("SELECT 1").fetchone() == (1,)
                grandchild = os.fork()
                if grandchild == 0:
                    with anyq.connect(dsn) as deeper:
                        assert deeper.execute("SELECT 2").fetchone() == (2,)
                    say("grandchild")
                    os._exit(0)
                assert os.waitpid(grandchild, 0)[1] == 0
                assert mine.execute("SELECT 1").fetchone() == (1,)
            say("child")
            sys.exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (0,)
        conn.close()
        say("parent")
        """,
        "-W",
        # Of Python 3.12, about the very thing that is tested.
        "ignore::DeprecationWarning",
        "-W",
        "ignore::ResourceWarning",
    )
    assert script.end().split() == ["grandchild", "child", "parent"]
