cimport cython

from anyq.protocol.request cimport Request, Result
from anyq.statements.loading cimport RowLoads

cdef class FetchState:
    cdef public object _row_factory, _results, _rowcount, _window, _make_row, late
    cdef public Request _request
    cdef public Result _result
    cdef public Py_ssize_t _index, _position, _window_start, _run, _after
    cdef public bint _closed

    cdef _set_up(self, row_factory)
    cpdef next_row(self)
    @cython.locals(result=Result)
    cpdef take_request(self, Request request)
    @cython.locals(known=RowLoads, result=Result, request=Request)
    cpdef _load(self, Py_ssize_t position)
