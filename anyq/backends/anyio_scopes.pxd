cdef dict _data, _current
cdef int _forks

cdef class CancellationCheck:
    cdef object _loop, _task
    cdef unsigned long _ident
    cdef int _forks

    cpdef bint passes(self) except -1
