cdef class CancellationCheck:
    cdef object _loop, _ident, _task

    cpdef bint passes(self) except -1
