"""Builds the compiled path: every `anyq/_accel/*.pyx` becomes an extension module beside it.

It is optional. Where there is no compiler (or no Cython, or an interpreter that compiled code would only slow down) one
line says so and the package is installed without it. ``ANYQ_BUILD=python`` leaves it out on purpose;
``ANYQ_BUILD=cython`` makes it an error if it cannot be built. Everything else is in pyproject.toml.
"""

import os
import platform
import sys
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

WANTED = os.environ.get("ANYQ_BUILD", "")
if WANTED not in ("", "python", "cython"):
    sys.exit(f"anyq: ANYQ_BUILD={WANTED!r} is not known; use 'python', 'cython' or leave it unset")


class optional_build_ext(build_ext):
    """Build all of it or, saying why in one line, nothing."""

    def build_extension(self, ext):
        if not self.extensions:
            return
        try:
            super().build_extension(ext)
        except Exception as error:
            if WANTED == "cython":
                raise
            # What comes next asks for the list again, and finds that there is nothing to install.
            self.extensions = []
            without(f"{type(error).__name__} compiling {ext.name}")


def without(reason):
    print(f"anyq: installed without its compiled path, pure Python is used ({reason})", file=sys.stderr)


def extensions():
    if WANTED == "python":
        without("ANYQ_BUILD=python")
        return []
    if platform.python_implementation() != "CPython":
        if WANTED == "cython":
            sys.exit("anyq: the compiled path is for CPython only; leave ANYQ_BUILD unset")
        without("the compiled path is for CPython only")
        return []
    try:
        from Cython.Build import cythonize
    except ImportError:
        if WANTED == "cython":
            raise
        without("there is no Cython")
        return []
    modules = [
        Extension(
            path[: -len(".pyx")].replace(os.sep, "."),
            [path],
            extra_compile_args=[] if os.name == "nt" else ["-O2", "-g0", "-Wno-unreachable-code"],
        )
        for path in sorted(glob(os.path.join("anyq", "_accel", "*.pyx")))
    ]
    # C files go below build/, so that a checkout has nothing but sources.
    return cythonize(
        modules,
        build_dir=os.path.join("build", "cython"),
        compiler_directives={"language_level": 3, "boundscheck": False, "wraparound": False, "cdivision": True},
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": optional_build_ext})
