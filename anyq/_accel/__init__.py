"""Chooses the implementation of the hot loops: ``ANYQ_IMPL=python`` or, where it is built, ``cython``.

Knows which implementations exist. Must not hold any logic of its own.

Begin with `python`, which has all of it in Python; the Cython modules do the same, and `twins` is what they ask of
dumpers and loaders.
"""

from __future__ import annotations

import os
from types import ModuleType

from ..compiled import WANTED
from ..protocol.copy_data import end_of_copy_data, join_copy_data, split_copy_data
from ..protocol.frontend import bind
from .python import (
    DONE,
    Alike,
    DumpPlan,
    Nesting,
    Seat,
    args_maker,
    bind_sets,
    compile_dump,
    compile_format,
    compile_key,
    compile_load,
    compile_parse,
    dict_maker,
    dump_values,
    keep_rows,
    kwargs_maker,
    load_rows,
    make_rows,
    namedtuple_maker,
    readable_within,
    receive_now,
    send_now,
    take_replies,
)
from .twins import twin

__all__ = [
    "DONE",
    "Alike",
    "DumpPlan",
    "Nesting",
    "Seat",
    "args_maker",
    "bind",
    "bind_sets",
    "compile_dump",
    "compile_format",
    "compile_key",
    "compile_load",
    "compile_parse",
    "compiled_driving",
    "dict_maker",
    "dump_values",
    "end_of_copy_data",
    "implementation",
    "join_copy_data",
    "keep_rows",
    "kwargs_maker",
    "load_rows",
    "make_rows",
    "namedtuple_maker",
    "readable_within",
    "receive_now",
    "send_now",
    "split_copy_data",
    "take_replies",
    "twin",
]

implementation: str = "python"
"""The one that was chosen; `anyq.__impl__` for users."""

compiled_driving: ModuleType | None = None
"""The compiled half of `sync.direct` and `sync.interrupts`; None where it was not chosen."""

if WANTED != "python":
    try:
        # Built or not, there are stubs.
        from .awaiting import DONE  # pyright: ignore[reportMissingModuleSource]
        from .copy_rows import compile_format, compile_parse  # pyright: ignore[reportMissingModuleSource]
        from .driving import Seat  # type: ignore[assignment]  # pyright: ignore[reportMissingModuleSource]
        from .dumping import (  # type: ignore[assignment]  # pyright: ignore[reportMissingModuleSource]
            Alike,
            DumpPlan,
            Nesting,
            bind_sets,
            compile_dump,
            compile_key,
            dump_values,
        )
        from .loading import compile_load, load_rows  # pyright: ignore[reportMissingModuleSource]
        from .making import (  # pyright: ignore[reportMissingModuleSource]
            args_maker,
            dict_maker,
            kwargs_maker,
            make_rows,
            namedtuple_maker,
        )
        from .messages import (  # pyright: ignore[reportMissingModuleSource]
            bind,
            end_of_copy_data,
            join_copy_data,
            keep_rows,
            split_copy_data,
            take_replies,
        )
        from .polling import readable_within  # pyright: ignore[reportMissingModuleSource]

        if os.name != "nt":
            from .polling import receive_now, send_now  # pyright: ignore[reportMissingModuleSource]

        # Behind the others: where it is not built, this form of import does not say that there is no such module.
        from . import driving

        compiled_driving = driving
        implementation = "cython"
    except ModuleNotFoundError as ex:
        if WANTED == "cython":
            raise ImportError(
                "ANYQ_IMPL='cython', but anyq was installed without its compiled path: install it again where there is"
                " a C compiler, with ANYQ_BUILD=cython to see why it cannot be built, or unset ANYQ_IMPL"
            ) from ex
