cimport cython

from anyq.protocol.session cimport ProtocolSession
from anyq.transport.socket cimport PlainSocket

cdef class Link:
    cdef object _channel
    cdef PlainSocket _socket
    cdef public object on_event, on_end, in_pieces
    cdef readonly ProtocolSession protocol
    cdef public Py_ssize_t chunk
    cdef public bytearray unsent
    cdef public bint cancel_in_progress
    cdef bint _send_failed
    cdef object __weakref__

    @cython.locals(plain=PlainSocket)
    cpdef send(self, data)
    cpdef put(self, data)
    cpdef flush(self)
    @cython.locals(plain=PlainSocket)
    cpdef receive(self, double deadline=*, Py_ssize_t most=*)
    cdef _wake_head(self)
    cdef _dispatch(self)
    cdef _take_outgoing(self)
    cdef _look_until(self, double deadline)
    cdef bint _receive_rest(self, Py_ssize_t most) except -1
