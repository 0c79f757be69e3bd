cimport cython

from anyq.session.transactions cimport Transactions
from anyq.session.wire cimport Wire
from anyq.statements.remembered cimport RememberedQuery

cdef class Held:
    cdef public object adaptation
    cdef public bint private

cdef class Session:
    cdef readonly Wire wire
    cdef readonly Transactions transactions
    cdef readonly object composer, cursors, adaptation
    cdef readonly dict remembered
    cdef public Held held
    cdef public object settle, tracing
    cdef object __weakref__

    cpdef bint may_execute(self) except -1
    @cython.locals(known=RememberedQuery)
    cpdef compose_remembered(self, tuple key, params, begin)
