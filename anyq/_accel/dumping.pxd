"""What the request path uses of `dumping.pyx`.

Knows how a set of parameters is bound as others were. Doubles `anyq/_accel/python.py` (Alike).
"""

cimport cython


@cython.final
cdef class Alike:
    cdef object adapters
    cdef object version
    cdef tuple formats
    cdef tuple oids
    cdef list wire
    cdef bytes head
    """The Bind from behind its length up to the number of values."""
    cdef bytes tail
    """The rest of the Bind, and what goes behind it."""
    cdef Py_ssize_t rest
    """How many bytes of that are the Bind's."""
    cdef list tables
    """The plans for classes, of each parameter's format."""

    cpdef bint bind(self, bytearray out, object params) except -1
    cdef bint append(self, bytearray array, object params, Py_ssize_t old) except -1
