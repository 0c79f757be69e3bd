cimport cython

from anyq.tracing.told cimport Timed

cdef class Phases:
    cdef readonly object start, end, error
    cdef readonly bint heard

    @cython.locals(running=Running)
    cpdef Running begin(self, Timed event, context=*)

@cython.freelist(8)
cdef class Running:
    cdef readonly Timed event
    cdef Phases _phases
    cdef object _context, _state

    cdef set_up(self, Timed event, Phases phases, context, state)
    @cython.locals(phases=Phases, event=Timed)
    cpdef end(self)
    @cython.locals(phases=Phases, event=Timed)
    cpdef fail(self, error)
