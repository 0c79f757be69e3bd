cdef class RowLoads:
    cdef object _tx, _fields
    cdef tuple _functions
    cdef readonly object adapters, parameters, version
