cdef dict _data, _current

cdef class CancellationCheck:
    cdef object _loop, _task
    cdef unsigned long _ident

    cpdef bint passes(self) except -1
