from anyq.session.wire cimport Wire

cdef class Transactions:
    cdef Wire _wire
    cdef object _carry_out
    cdef bint _autocommit
    cdef public bint at_once
    cdef public object isolation_level, read_only, deferrable, two_phase
    cdef public list blocks
    cdef public dict pipelines
    cdef dict __dict__
