cdef class PlainSocket:
    cdef public object _sock
    cdef public bint _closed
    cdef dict __dict__
    cdef object __weakref__

    cdef Py_ssize_t put(self, data) except -1
    cdef take(self, Py_ssize_t max_bytes)
