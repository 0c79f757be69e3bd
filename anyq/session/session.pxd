from anyq.session.transactions cimport Transactions
from anyq.session.wire cimport Wire

cdef class Session:
    cdef readonly Wire wire
    cdef readonly Transactions transactions
    cdef readonly object composer, cursors, adaptation
    cdef readonly dict remembered
    cdef public object held, settle, tracing
    cdef object __weakref__
    cdef dict __dict__
