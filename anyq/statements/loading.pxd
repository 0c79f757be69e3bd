cimport cython

from anyq._accel.slots cimport attribute, place

cdef extern from *:
    """
    typedef PyObject AnyqAnything;
    static anyq_place anyq_at_version;
    """
    place anyq_at_version

    ctypedef class anyq.backends.looked_at.Anything [object AnyqAnything, check_size ignore]:
        @property
        cdef inline object version(self):
            return attribute(self, "version", &anyq_at_version)

cdef class RowLoads:
    cdef object _tx, _fields
    cdef tuple _functions
    cdef readonly object adapters, parameters, version

    @cython.locals(adapters=Anything)
    cpdef bint is_for(self, parameters) except -1
    cpdef Py_ssize_t load(self, run, Py_ssize_t start, list rows) except -1
