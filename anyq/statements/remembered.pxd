cimport cython

from anyq.statements.prepared cimport Entry, PreparedStatements

cdef class RememberedQuery:
    cdef object _alike, _description, _parameters, _query
    cdef Entry _entry
    cdef PreparedStatements _account
    cdef Py_ssize_t _misses
    cdef readonly object encoding

    cpdef compose(self, params, parameters, begin)
