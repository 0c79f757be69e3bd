cimport cython

from anyq.protocol.request cimport Request

cdef class Row:
    cdef readonly object phase
    cdef readonly bint over
    cdef readonly dict handlers, after
    cdef public Row after_enqueue, after_last_request

cdef class SessionState:
    cdef public Row row
    cdef public object phase, transaction_status, parameters, encoding, text_encoding, find_codec
    cdef public bint over
    cdef public object events, pending
    cdef public bytearray outgoing
    cdef public Py_ssize_t unmatched_cancels, limit, _max_message_size, _parameters_size
    cdef public object protocol_version, asked_for, unknown_options, startup_accepted, authentications
    cdef public object backend_pid, secret_key, fatal_error, refused, farewell, _reason, _cause
    cdef object __weakref__

    @cython.locals(after=Row)
    cpdef enqueue(self, Request request)
    @cython.locals(request=Request, after=Row)
    cpdef end_request(self, pending, status)
