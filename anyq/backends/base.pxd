cdef class Yields:
    cdef tuple _values
