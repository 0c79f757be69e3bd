cimport cython

from anyq.pool.bookkeeping cimport Books
from anyq.pool.engine cimport Engine, Request
from anyq.pool.lending cimport Lender
from anyq.protocol.session cimport ProtocolSession

cdef class Line:
    cdef public bint alone, autocommit
    cdef public object connection, followed, inner
    cdef public double expires_at, moved_at
    cdef public Py_ssize_t running
    cdef ProtocolSession _protocol

    cpdef bint has_room(self, double now, double slow) except -1

cdef class Turn(Request):
    cdef public Line line

cdef class Multiplexer:
    cdef Engine _engine
    cdef Books _books
    cdef Lender _lender
    cdef object _opener, _hooks, _turns
    cdef readonly object _allowed, _durations
    cdef readonly list _lines
    cdef readonly Py_ssize_t _alone_running, _alone_waiting
    cdef double _timeout
    cdef dict __dict__

    @cython.locals(now=double, known=double, seconds=double)
    cdef _learn(self, Line line, key, double sent_at, double slow)
    cdef double _slow(self) except -1
    @cython.locals(now=double, line=Line)
    cdef Line _line_at_once(self, double slow)
    @cython.locals(found=Line, line=Line)
    cdef Line _with_room(self, double now, double slow)
    cdef Line _new_line(self, connection, double now, bint alone)
    @cython.locals(now=double, slow=double, line=Line)
    cdef _serve(self, Line new=*)
    cdef bint _leave(self, Line line) except -1
