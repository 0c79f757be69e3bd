"""How much memory a program takes: run it in a process of its own and look at its peak.

The kernel's account of a process is asked (Linux only), because it has the buffers too that Python's allocator does not
know. `ru_maxrss` would not do: it starts with the peak of the process that started this one.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

STATUS = Path("/proc/self/status")

needs_proc = pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process is read from Linux' /proc")

_PROGRAM = """
import sys
from pathlib import Path
import anyio
import anyq

def peak():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

async def measured(conn):
{body}

async def main():
    async with anyq.AsyncConnection.connect(sys.argv[1], autocommit=True) as conn:
        await conn.execute("SELECT 1", binary=True)
        before = peak()
        await measured(conn)
        print(peak() - before)

anyio.run(main, backend={backend!r}, backend_options={options!r})
"""


def peak_growth(dsn: str, anyio_backend: tuple[str, dict[str, Any]], body: str) -> int:
    """Return by how many bytes the peak rises while `body` runs, which is indented code that uses `conn`."""
    backend, options = anyio_backend
    program = _PROGRAM.format(body=textwrap.indent(textwrap.dedent(body), "    "), backend=backend, options=options)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, dsn],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)
