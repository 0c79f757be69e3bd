cimport cython

from anyq.protocol.request cimport Request
from anyq.protocol.session cimport ProtocolSession
from anyq.session.busy_wait cimport BusyWait, Traffic
from anyq.session.sending cimport Sending

cdef class Wire(Sending):
    cdef readonly object cancelling
    cdef readonly BusyWait busy_wait
    cdef public Traffic traffic
    cdef public object back_pressure
    cdef readonly object _reader
    cdef bint _abandoned
    cdef list _unattended, _attendants

    cpdef poll(self, double deadline=*)
    @cython.locals(protocol=ProtocolSession)
    cdef _look(self, Request request, double deadline=*)
    cdef _wake_next(self)
    cdef _next_waiter(self)
    cdef _step_back(self, who)
