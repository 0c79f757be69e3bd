from anyq.protocol.request cimport Result

cdef class FetchState:
    cdef public object _row_factory, _request, _results, _rowcount, _window, _make_row, late
    cdef public Result _result
    cdef public Py_ssize_t _index, _position, _window_start, _run, _after
    cdef public bint _closed

    cdef _set_up(self, row_factory)
