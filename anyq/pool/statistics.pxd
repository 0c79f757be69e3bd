cdef class Counters:
    cdef public double usage_time, requests_wait_time, connections_time
    cdef public Py_ssize_t requests_num, requests_queued, requests_errors, returns_bad
    cdef public Py_ssize_t connections_num, connections_errors, connections_lost
    cdef public Py_ssize_t statements_num, statements_alone, statements_repeated
    cdef public list waits

    cpdef waited(self, double seconds, bint served=*)
