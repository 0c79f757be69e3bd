cdef class ReceiveBuffer:
    cdef public object partial
    cdef Py_ssize_t _needed
