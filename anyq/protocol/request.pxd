cdef class Result:
    cdef public object fields, loads, ahead, tag
    cdef public list runs
    cdef public Py_ssize_t count

cdef class Request:
    cdef public object description, error, failure, status_before, parameters, waiter
    cdef public Result current
    cdef public list results
    cdef public bint done, abandoned, counting, keeps_rows
    cdef public Py_ssize_t streaming, parsed
    cdef dict __dict__
    cdef object __weakref__

    cdef set_up(self, description)
    cdef bint succeeded(self) except -1
