cimport cython

from anyq._accel.dumping cimport Alike as AlikeTwin
from anyq.statements.prepared cimport Entry, PreparedStatements
from anyq.statements.requests cimport RememberedRequest

cdef class RememberedQuery:
    cdef AlikeTwin _alike
    cdef object _description, _parameters, _query
    cdef Entry _entry
    cdef PreparedStatements _account
    cdef Py_ssize_t _misses
    cdef readonly object encoding

    @cython.locals(made=RememberedRequest, data=bytearray)
    cpdef compose(self, params, parameters, begin)
