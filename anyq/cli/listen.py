"""The command behind `anyq listen`: prints notifications, one JSON object a line, until it is interrupted.

Knows the listener and its events. Must not know how it connects again.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import anyio

import anyq


def main(channels: Sequence[str], dsn: str, backend: str) -> int:
    """Print the notifications of channels; return the exit code: 0 interrupted, 2 bad arguments or no connection."""
    try:
        anyio.run(_listen, channels, dsn, backend=backend)
    except BrokenPipeError:
        # Whoever read the lines has enough, as `head` has. The interpreter must not try once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except anyq.Error as error:
        print(f"anyq listen: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0
    return 0


async def _listen(channels: Sequence[str], dsn: str) -> None:
    failed: anyq.Error | BrokenPipeError | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(_until_interrupted, group.cancel_scope)
        try:
            async with anyq.listen(dsn, *channels) as listener:
                print(f"listening to {', '.join(channels)}", file=sys.stderr, flush=True)
                async for event in listener:
                    print(json.dumps(_as_dict(event), ensure_ascii=False), flush=True)
        except (anyq.Error, BrokenPipeError) as error:
            failed = error
        group.cancel_scope.cancel()
    if failed is not None:
        # Outside the group, so that it is not wrapped in an exception group.
        raise failed


async def _until_interrupted(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()


def _as_dict(event: anyq.Notify | anyq.Gap) -> dict[str, Any]:
    if isinstance(event, anyq.Gap):
        return {"gap": event.reason, "seconds": round(event.seconds, 3)}
    return event._asdict()
