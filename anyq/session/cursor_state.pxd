cimport cython

from anyq.protocol.request cimport Request
from anyq.session.session cimport Held, Session
from anyq.session.wire cimport Wire
from anyq.session.tracing cimport SessionTracing, end_with
from anyq.statements.fetching cimport FetchState
from anyq.statements.remembered cimport RememberedQuery
from anyq.tracing.telling cimport Running

cdef class CursorState(FetchState):
    cdef public object _conn, _format
    cdef public Running _running
    cdef public Held _held
    cdef public Session _session
    cdef public bint _rested
    cdef public tuple _sent

    @cython.locals(known=RememberedQuery, wire=Wire, composed=tuple, session=Session, tracing=SessionTracing)
    cpdef send_remembered(self, query, params, prepare, binary)
    @cython.locals(running=Running)
    cpdef take_executed(self, Request request)
    @cython.locals(request=Request)
    cpdef bint has_arrived(self) except -1
    cpdef bint may_fetch(self) except -1
    cpdef begin(self)
