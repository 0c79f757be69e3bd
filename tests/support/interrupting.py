"""Interrupts at any step: what Ctrl-C does where nobody expects it, and what is left of a connection after that.

A step is a line, or a bytecode, of anyq's own that this thread is about to run. At step n the trace function either
raises KeyboardInterrupt, as Python's own handler of SIGINT would, or has the process interrupted, so that whoever has a
handler (trio and asyncio have) decides what becomes of it.
"""

from __future__ import annotations

import dis
import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

import anyq

PACKAGE = os.path.dirname(anyq.__file__) + os.sep


class Interrupt:
    """Interrupts this thread at a step of the block; once, and never after the block.

    :param step: which one, from 1.
    :param opcodes: whether each bytecode is a step, and not each line.
    :param by_signal: whether the process is interrupted; otherwise the trace function raises.
    """

    def __init__(self, step: int, *, opcodes: bool = False, by_signal: bool = False) -> None:
        self.step = step
        self.event = "opcode" if opcodes else "line"
        self.by_signal = by_signal
        self.steps = 0
        #: Where it was interrupted; None if the block was over before that.
        self.where: str | None = None

    def __enter__(self) -> Interrupt:
        sys.settrace(self._trace)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if self.event == "opcode":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, arg: object) -> Any:
        if event == self.event and self.where is None and not (event == "opcode" and _is_atomic(frame)):
            self.steps += 1
            if self.steps == self.step:
                code = frame.f_code
                self.where = f"{code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno} {code.co_name}"
                sys.settrace(None)
                if self.by_signal:
                    signal.raise_signal(signal.SIGINT)
                else:
                    raise KeyboardInterrupt
        return self._step


#: What an ``await`` consists of: the interpreter looks at no signal there, since a task that is asleep would be torn.
_AWAITING = {"SEND", "YIELD_VALUE", "YIELD_FROM", "RESUME", "JUMP_BACKWARD_NO_INTERRUPT", "GET_AWAITABLE", "END_SEND"}


def _is_atomic(frame: FrameType) -> bool:
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] in _AWAITING


def interrupt_at_each_step(call: Callable[[], object], check: Callable[[str], object]) -> int:
    """Have a call interrupted at its first step, its second, and so on until it comes to its end; return how often.

    :param check: called after each one, with where that was; nothing is left by then of what nobody refers to.
    """
    gc.collect()
    gc.freeze()  # what is there need not be looked at each time
    try:
        step = 1
        while True:
            with suppress(KeyboardInterrupt), Interrupt(step, by_signal=True) as interrupt:
                call()
            if interrupt.where is None:
                return step - 1
            gc.collect()
            check(interrupt.where)
            step += 1
    finally:
        gc.unfreeze()
