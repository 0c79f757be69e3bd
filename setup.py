"""Builds the compiled path: every `anyq/_accel/*.pyx` becomes an extension module beside it, and every module in Python
that has a `.pxd` beside it becomes one below `anyq/compiled`, where it is chosen or not when the package is imported.

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

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def build_extensions(self):
        built = [self.get_ext_fullpath(ext.name) for ext in self.extensions]
        super().build_extensions()
        if not self.extensions:
            # Others were compiled before one failed, and what lies there is installed.
            for path in filter(os.path.exists, built):
                os.remove(path)

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
    # C files go below build/, so that a checkout has nothing but sources.
    options = {"build_dir": os.path.join("build", "cython"), "nthreads": os.cpu_count() or 1, "quiet": True}
    directives = {"language_level": 3, "auto_pickle": False}
    twins = cythonize(
        [extension(path) for path in sorted(glob(os.path.join("anyq", "_accel", "*.pyx")))],
        compiler_directives={**directives, "boundscheck": False, "wraparound": False, "cdivision": True},
        **options,
    )
    # These mean what they mean in Python; what may be taken for granted of a class or a function is in its .pxd alone.
    modules = cythonize(
        [extension(path) for path in sorted(with_declarations())],
        compiler_directives={**directives, "annotation_typing": False, "binding": True},
        **options,
    )
    for module in modules:
        package, _, rest = module.name.partition(".")
        module.name = f"{package}.{FORMS}.{rest}"
        os.makedirs(os.path.join(package, FORMS, *rest.split(".")[:-1]), exist_ok=True)
    return twins + modules


FORMS = "compiled"
"""The package below which the compiled forms of modules in Python lie."""


def with_declarations():
    """Yield the modules in Python that have a `.pxd` beside them."""
    for declarations in glob(os.path.join("anyq", "**", "*.pxd"), recursive=True):
        source = declarations[: -len(".pxd")] + ".py"
        if os.path.exists(source):
            yield source


def extension(path):
    return Extension(
        os.path.splitext(path)[0].replace(os.sep, "."),
        [path],
        extra_compile_args=[] if os.name == "nt" else ["-O2", "-g0", "-Wno-unreachable-code", "-Wno-array-bounds"],
    )


setup(ext_modules=extensions(), cmdclass={"build_ext": optional_build_ext})
