from anyq.protocol.buffer cimport ReceiveBuffer
from anyq.protocol.session_state cimport SessionState

cdef class ProtocolSession(SessionState):
    cdef object _find_copy_data, _keep_rows, _take_replies
    cdef ReceiveBuffer _buffer
    cdef public bint behind
    cdef public object large

    cpdef receive_data(self, bytes data, Py_ssize_t most=*)
