cdef class Entry:
    cdef public object key, fields, used
    cdef public bytes name
    cdef public bint prepared

cdef class PreparedStatements:
    cdef public object prefix, prepare_threshold, prepared_max
    cdef public dict _entries
    cdef object _counts
    cdef public object tick
    cdef public list closing
    cdef public object renewals, unsettled, changes_session
    cdef object _serial
