from anyq.session.transactions cimport Transactions
from anyq.session.tracing cimport SessionTracing
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
    cdef public object settle
    cdef public SessionTracing tracing, query_tracing
    cdef object __weakref__
    cdef dict __dict__
