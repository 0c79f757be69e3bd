from anyq.session.session cimport Session
from anyq.statements.fetching cimport FetchState

cdef class CursorState(FetchState):
    cdef public object _conn, _held
    cdef public Session _session
    cdef public bint _rested
