cimport cython

from anyq._accel.slots cimport attribute, place
from anyq.backends.base cimport CancellationCheck

cdef extern from *:
    """
    typedef PyObject AnyqAnything;
    static anyq_place anyq_at_runner, anyq_at_token, anyq_at_status, anyq_at_cancelled, anyq_at_main, anyq_at_ki;
    """
    place anyq_at_runner, anyq_at_token, anyq_at_status, anyq_at_cancelled, anyq_at_main, anyq_at_ki

    ctypedef class anyq.backends.looked_at.Anything [object AnyqAnything, check_size ignore]:
        @property
        cdef inline Anything _runner(self):
            return attribute(self, "_runner", &anyq_at_runner)

        @property
        cdef inline object trio_token(self):
            return attribute(self, "trio_token", &anyq_at_token)

        @property
        cdef inline Anything _cancel_status(self):
            return attribute(self, "_cancel_status", &anyq_at_status)

        @property
        cdef inline object effectively_cancelled(self):
            return attribute(self, "effectively_cancelled", &anyq_at_cancelled)

        @property
        cdef inline object main_task(self):
            return attribute(self, "main_task", &anyq_at_main)

        @property
        cdef inline object ki_pending(self):
            return attribute(self, "ki_pending", &anyq_at_ki)

cdef object _context

cdef class TrioCheck(CancellationCheck):
    cdef object _token

    @cython.locals(task=Anything, runner=Anything)
    cpdef bint passes(self) except -1
