from anyq.pool.bookkeeping cimport Books, Ticket

cdef class Request(Ticket):
    cdef public object waiter

cdef class Engine:
    cdef public object name, open_one, retire
    cdef public Books books
    cdef public double round_trip
    cdef public bint was_opened
    cdef public object _hooks, _backend, _block, _group, _keeper, _at_end
    cdef public set _scopes
    cdef public list _watchers
    cdef public double _keeper_due, _deadline_known
    cdef public bint keeps_time
    cdef dict __dict__
    cdef object __weakref__

    cpdef here(self)
    cpdef settle(self)
    cpdef settle_waiting(self)
    cpdef settle_soon(self, double now)
