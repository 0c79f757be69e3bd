cimport cython

from anyq._accel.slots cimport attribute, place
from anyq.backends.base cimport CancellationCheck

cdef extern from "pythread.h":
    unsigned long PyThread_get_thread_ident() nogil

cdef extern from *:
    """
    typedef PyObject AnyqThread, AnyqAnything;
    static anyq_place anyq_at_cancel_scope, anyq_at_cancel_called, anyq_at_shield, anyq_at_parent_scope;
    """
    place anyq_at_cancel_scope, anyq_at_cancel_called, anyq_at_shield, anyq_at_parent_scope

    ctypedef class anyq.backends.looked_at.Thread [object AnyqThread, check_size ignore]:
        @property
        cdef inline unsigned long ident(self) noexcept:
            return PyThread_get_thread_ident()

    ctypedef class anyq.backends.looked_at.Anything [object AnyqAnything, check_size ignore]:
        @property
        cdef inline Anything cancel_scope(self):
            return attribute(self, "cancel_scope", &anyq_at_cancel_scope)

        @property
        cdef inline Anything _parent_scope(self):
            return attribute(self, "_parent_scope", &anyq_at_parent_scope)

        @property
        cdef inline object _cancel_called(self):
            return attribute(self, "_cancel_called", &anyq_at_cancel_called)

        @property
        cdef inline object _shield(self):
            return attribute(self, "_shield", &anyq_at_shield)

cdef dict _data, _current
cdef int _forks
cdef Thread _thread

cdef class AnyioCheck(CancellationCheck):
    cdef object _loop, _task
    cdef unsigned long _ident
    cdef int _forks
    cdef bint _by_own_key

    @cython.locals(state=Anything, scope=Anything)
    cpdef bint passes(self) except -1
