from anyq.backends.base cimport BackendState
from anyq.protocol.request cimport Request
from anyq.session.link cimport Link

cdef class Sending(Link):
    cdef public BackendState backend
    cdef readonly object _waiting_for_turn

    cpdef turn(self)
    cpdef bint may_send(self) except -1
    cpdef Request submit(self, Request request, data)
