from anyq.session.session cimport Held, Session
from anyq.statements.fetching cimport FetchState

cdef class CursorState(FetchState):
    cdef public object _conn, _format
    cdef public Held _held
    cdef public Session _session
    cdef public bint _rested
    cdef public tuple _sent

    cpdef send_remembered(self, query, params, prepare, binary)
    cpdef bint has_arrived(self) except -1
    cpdef bint may_fetch(self) except -1
    cpdef begin(self)
