from anyq.session.transactions cimport Transactions
from anyq.session.wire cimport Wire

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
    cdef dict __dict__
