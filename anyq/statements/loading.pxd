cdef class RowLoads:
    cdef object _tx, _fields
    cdef tuple _functions
    cdef readonly object adapters, parameters, version

    cpdef Py_ssize_t load(self, run, Py_ssize_t start, list rows) except -1
