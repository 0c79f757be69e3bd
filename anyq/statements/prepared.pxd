cdef class Entry:
    cdef public object key, fields
    cdef public Py_ssize_t used
    cdef public bytes name
    cdef public bint prepared

cdef class PreparedStatements:
    cdef public object prefix, prepare_threshold, prepared_max
    cdef public dict _entries
    cdef object _counts
    cdef Py_ssize_t _uses
    cdef public list closing
    cdef public object renewals, unsettled, changes_session
    cdef object _serial

    cpdef use(self, Entry entry)
