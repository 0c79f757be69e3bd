cdef class Yields:
    cdef tuple _values

cdef class CancellationCheck:
    cpdef bint passes(self) except -1

cdef class BackendState:
    cdef public CancellationCheck check
    cdef public object turn
