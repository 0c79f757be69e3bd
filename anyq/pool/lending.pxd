cimport cython

from anyq.pool.bookkeeping cimport Books, Place
from anyq.pool.engine cimport Engine, Request

cdef class Lender:
    cdef public object tracing
    cdef Engine _engine
    cdef Books _books
    cdef object _opener, _hooks, _name, _check, _reset
    cdef double _timeout
    cdef dict __dict__

    cpdef turn_of(self, connection)
    cdef bint _is_trusted(self, Place place) except -1
    cdef _wait_no_longer(self, Request request, in_vain_since)
    cpdef check_may_wait(self)
    @cython.locals(place=Place)
    cpdef lend_at_once(self, double now)
    @cython.locals(place=Place, now=double)
    cpdef bint take_back_at_once(self, connection, turn=*) except -1

cdef class LendingBlock:
    cdef Lender _lender
    cdef object _connection, _timeout
    cdef Py_ssize_t _turn

cpdef bint is_lent(Place place, turn) except -1
