cdef class Timed:
    cdef public double began, seconds
    cdef object __weakref__

cdef class TracedQuery(Timed):
    cdef public object kind, server, rows, bytes, sets, tag
    cdef object _text, _params

    cdef set_up(self, kind, text, params, server)
