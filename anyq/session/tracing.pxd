cimport cython

from anyq.protocol.request cimport Result
from anyq.session.wire cimport Wire
from anyq.tracing.telling cimport Phases, Running
from anyq.tracing.told cimport TracedQuery

cdef class SessionTracing:
    cdef readonly object tracing, server
    cdef public bint for_threads
    cdef Phases _queries
    cdef Wire _wire

    @cython.locals(told=TracedQuery)
    cpdef Running begin(self, kind, query, params=*, bint stays=*)
    cdef _context(self, bint stays)

cpdef end_with(Running running, results)
@cython.locals(result=Result, run=tuple)
cpdef measure(TracedQuery event, results)
