"""The compiled twin of a synchronous call that its thread runs by itself, as long as nobody is in the way.

Doubles `anyq/sync/direct.py` (Turn, and Direct.call with what it calls up to the end of the coroutine), `begin()`, `end()` and
`wait()` of `anyq/backends/blocking.py` and
`anyq/sync/interrupts.py`, whose heads have the theory. Where somebody is in the way, and after an interrupt, the methods
of `Direct` do the rest: they do what is left to do, whatever was done here.

No signal handler runs between two lines here, but where Python's code is called and in poll().
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

import signal
import threading

cdef extern from "Python.h":
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    PySendResult PyIter_Send(object coro, object value, PyObject **result) except? PYGEN_ERROR
    int PyErr_CheckSignals() except -1

cdef extern from *:
    """
    #ifdef _WIN32
    static int anyq_wait(int fd, int events, int bell, int milliseconds) {
        return -2;
    }
    #else
    #include <errno.h>
    #include <poll.h>

    /* 1 if the socket is ready, 2 if the bell was rung, 3 for both; -1 if a signal has come or the time is over, -2 for
       an error. */
    static int anyq_wait(int fd, int events, int bell, int milliseconds) {
        struct pollfd both[2] = {{fd, (short)events, 0}, {bell, POLLIN, 0}};
        int found = poll(both, 2, milliseconds);
        if (found <= 0)
            return found == 0 || errno == EINTR ? -1 : -2;
        return (both[0].revents != 0) | (both[1].revents != 0) << 1;
    }
    #endif
    """
    int anyq_wait(int fd, int events, int bell, int milliseconds) nogil

cdef extern from "Python.h":
    object PyErr_SetFromErrno(object kind)

cdef object _getsignal = None
cdef object _set = None
try:
    # Without the look-ups of enums by which `signal` wraps them.
    import _signal
    _getsignal, _set = _signal.getsignal, _signal.signal
except ImportError:
    _getsignal, _set = signal.getsignal, signal.signal

cdef object _SIGINT = int(signal.SIGINT)
cdef object _DEFAULT = signal.default_int_handler
cdef object _get_ident = threading.get_ident

# Those of `Direct`, and of `backends.blocking`.
cdef int MOST_INTERRUPTS = 8
cdef int LOOK_FOR_SIGNALS = 100


def _never():
    return False


cdef class Interrupts:
    cdef object _handler
    cdef bint _main
    cdef bint _held
    cdef public bint pending
    cdef public bint may_raise

    def __init__(self):
        self._main = threading.current_thread() is threading.main_thread()
        self._handler = self._note
        self._held = self.pending = self.may_raise = False

    cpdef hold(self):
        if self._main and _getsignal(_SIGINT) is _DEFAULT:
            self.pending = self.may_raise = False
            self._held = True
            try:
                _set(_SIGINT, self._handler)
            except ValueError:
                self._main = self._held = False

    cpdef let_go(self):
        if self._held:
            other = _set(_SIGINT, _DEFAULT)
            if other is not self._handler:
                _set(_SIGINT, other)
            self._held = False

    cpdef raise_pending(self):
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _note(self, number, frame):
        if self.may_raise or self.pending:
            _DEFAULT(number, frame)
        self.pending = True


cdef class Turn:
    cdef list _idle
    cdef public object handle
    cdef readonly Interrupts interrupts
    cdef public object thread
    cdef public object bell
    cdef public object coro
    cdef public object job
    cdef public bint over
    cdef public bint wanted
    cdef public bint waiting
    cdef public bint given_up

    def __cinit__(self, list idle not None, make_bell):
        self._idle = idle
        self.handle = handle = idle.pop()
        self.interrupts = handle.interrupts
        self.thread = _get_ident()
        bell = handle.bell
        if bell is None:
            bell = handle.bell = make_bell()
        self.bell = bell

    def want(self):
        if not self.wanted:
            self.wanted = True
            self.bell.ring()

    def is_to_stop(self):
        return self.wanted or self.interrupts.pending

    cpdef bint is_unfinished(self):
        return self.coro is not None and not self.over and self.coro.cr_frame is not None

    cpdef give_back_worker(self):
        idle, job = self._idle, self.job
        if idle is not None and (job is None or job.done):
            if job is not None:
                job.args = ()
            self._idle = None
            idle.append(self.handle)


cdef class Seat:
    cdef public object _wire
    cdef public object _stream
    cdef public object _portal
    cdef public object _own
    cdef public object _backend
    cdef public object _loop_traffic
    cdef public object _traffic
    cdef public object _driver
    cdef public set _calling
    cdef public object _behind
    cdef public int _skip
    cdef public int _last_skips
    cdef public bint _off
    cdef public bint _paused

    def call(self, grace, func, tuple args, dict kwargs):
        cdef Turn turn
        cdef list idle
        if self._skip:
            self._skip -= 1
            return self.call_in_loop(grace, func, args, kwargs)
        idle = self._portal.idle_workers()
        if not idle or self._off or self._paused or self._portal.failure is not None or self._limit.get() is not None:
            return self.call_in_loop(grace, func, args, kwargs)
        turn = Turn(idle, self._make_bell)
        try:
            try:
                if _begin(self, turn):
                    return _drive(self, turn, func, args, kwargs)
            finally:
                _end(self, turn, grace)
        except BaseException:
            try:
                self._end(turn, grace)
            except BaseException:
                self._surely_end(turn, grace, MOST_INTERRUPTS)
                raise
            raise
        return self.call_in_loop(grace, func, args, kwargs)


cdef bint _begin(Seat self, Turn turn) except -1:
    # Nothing comes between, so that no lock is needed.
    if self._driver is not None:
        return False
    self._driver = turn
    backend = self._backend
    wire = self._wire
    if self._calling or self._off or self._paused or backend.waiting or not wire.idle():
        return False
    turn.interrupts.hold()
    # In this order, as it is the last one that counts.
    backend.task = turn.handle.worker.task
    backend.is_to_stop = turn.is_to_stop
    backend.thread_id = backend.check.thread_id = turn.thread
    driving = self.driving
    self._traffic.under_way = 1 if driving else 0
    driving.add(self)
    wire.traffic = self._traffic
    self._stream.lend(backend, backend.waiter)
    wire.backend = backend
    return True


cdef object _drive(Seat self, Turn turn, func, args, kwargs):
    cdef PyObject *result = NULL
    cdef PySendResult outcome
    coro = turn.coro = func(*args, **kwargs)
    while True:
        try:
            outcome = PyIter_Send(coro, None, &result)
        except BaseException:
            turn.over = True
            raise
        came = <object>result
        Py_DECREF(came)
        if outcome == PYGEN_RETURN:
            turn.over = True
            if not turn.wanted:
                self._last_skips = 0
            return came
        if came == 0:
            self._back_off(turn)
            break
        if not _wait(self, turn, came):
            break
    job = self._hand_over(turn)
    turn.interrupts.raise_pending()
    job.wait()
    return job.outcome()


cdef bint _wait(Seat self, Turn turn, events) except -1:
    cdef int fd, bell, ready, mask
    cdef Interrupts interrupts = turn.interrupts
    cdef int most = LOOK_FOR_SIGNALS if interrupts._main else -1
    backend = self._backend
    if not backend.plain:
        return self._wait(turn, events)
    mask = events
    fd = backend.fd
    bell = turn.bell.fd
    turn.waiting = interrupts.may_raise = True
    interrupts.raise_pending()
    try:
        backend.waiting = True
        # The bell may have been rung for a turn before.
        while not turn.wanted and turn.job is None:
            # One that has come already does not end the wait.
            PyErr_CheckSignals()
            with nogil:
                ready = anyq_wait(fd, mask, bell, most)
            if ready == 1:
                break
            if ready == -2:
                PyErr_SetFromErrno(OSError)
            if ready != -1:
                turn.bell.hush()
    finally:
        backend.waiting = False
    turn.waiting = interrupts.may_raise = False
    if turn.wanted:
        self._back_off(turn)
    return not turn.wanted and turn.job is None


cdef int _end(Seat self, Turn turn, grace) except -1:
    if not turn.given_up and turn.is_unfinished():
        self._give_up(turn, grace)
    if self._driver is turn:
        self._wire.backend = self._own
        self._stream.take_back()
        self._wire.traffic = self._loop_traffic
        self.driving.discard(self)
        backend = self._backend
        backend.thread_id = backend.check.thread_id = None
        backend.is_to_stop = _never
        turn.interrupts.let_go()
        self._driver = None
    if self._behind and self._driver is None:
        self._portal.post(self._let_go_on)
    turn.give_back_worker()
    turn.interrupts.raise_pending()
    return 0
