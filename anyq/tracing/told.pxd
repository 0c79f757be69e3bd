cdef class Timed:
    cdef public double began, seconds
    cdef dict __dict__
    cdef object __weakref__

cdef class TracedQuery(Timed):
    cdef public object kind, server, rows, bytes, sets, tag
    cdef object _text, _params
