"""What `copy_rows.pyx` uses of `loading.pyx`: the twin of a load function.

Knows how it is called with a pointer. Doubles the `load` of a loader, see `anyq/_accel/python.py` (compile_load).
"""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

ctypedef const unsigned char *Bytes
ctypedef object (*LoadC)(LoadTwin self, Bytes data, Py_ssize_t size)


@cython.final
cdef class LoadTwin:
    cdef LoadC run
    cdef object pure
    """The function itself, for what is not usual."""
    cdef object owner
    """The loader that it is a method of: of JSON, whose `loads` may be set at any time."""
    cdef object extra
    """What the C function needs besides: a time zone, the twin of the items."""
    cdef object item
    cdef object seen
    cdef uint64_t at_pass
    """When that was last looked at, see `PASS`."""
    cdef uint32_t item_oid
    cdef unsigned char delimiter
