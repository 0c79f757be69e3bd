cdef class Looks:
    cdef public int skip, last_skips

    cpdef bint may_look(self)
    cpdef has_looked(self, bint found)
    cpdef back_off(self)

cdef class BusyWait(Looks):
    cdef public Looks pieces
    cdef public double seconds

cdef class Traffic:
    cdef public int under_way
