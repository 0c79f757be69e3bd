cimport cython

from anyq.pool.statistics cimport Counters

cdef class Place:
    cdef public object connection, followed, key, settings, state
    cdef public double expires_at, given_at, idle_since, made_at
    cdef public bint fresh
    cdef public Py_ssize_t turn

cdef class Ticket:
    cdef public object error, wake_up
    cdef public Place place
    cdef public double deadline
    cdef public bint is_late
    cdef public Py_ssize_t attempts, work

    cpdef Place take(self)

cdef class Books:
    cdef public Py_ssize_t min_size, max_size, max_waiting, busy, opening, _waiting_for_both
    cdef public double max_idle, due, first_deadline, _drained_at
    cdef public bint keeps_idle, keeps_min_size, is_open, retrying, gave_up, _shrinks
    cdef public object idle, statements, waiting
    cdef public set out
    cdef public Counters counters
    cdef dict __dict__

    @cython.locals(place=Place)
    cpdef Place take(self, double now)
    cpdef queue(self, Ticket ticket)
    cpdef Place leave_queue(self, Ticket ticket)
    cdef _give(self, Place place, double now)
    cpdef take_back(self, Place place, connection, double now)
    cpdef bint hand_over(self, Place place, connection, double now) except -1
    cpdef put(self, Place place, double now, idle_since=*)
    @cython.locals(place=Place)
    cpdef settle(self, double now)
    @cython.locals(ticket=Ticket)
    cdef _serve_first(self, Place place, double now)
