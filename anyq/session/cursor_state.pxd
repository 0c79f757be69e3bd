from anyq.session.session cimport Held, Session
from anyq.statements.fetching cimport FetchState

cdef class CursorState(FetchState):
    cdef public object _conn, _format
    cdef public Held _held
    cdef public Session _session
    cdef public bint _rested
    cdef tuple _sent

    cpdef _send_remembered(self, query, params, prepare, binary)
    cpdef bint _has_arrived(self) except -1
    cpdef bint _may_go_on(self) except -1
    cpdef begin(self)
