"""The compiled twins of what is done with a socket: the loop that looks whether it is readable, with the interpreter's
lock let go of, sending and receiving.

Doubles `anyq/_accel/python.py` (readable_within, send_now, receive_now).
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize

cdef extern from *:
    """
    #ifdef _WIN32
    static int anyq_readable_within(int fd, long long nanoseconds) {
        return 0;
    }
    #else
    #include <poll.h>
    #include <time.h>

    static long long anyq_clock(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }

    static int anyq_readable_within(int fd, long long nanoseconds) {
        struct pollfd socket = {fd, POLLIN, 0};
        long long end = 0;
        for (;;) {
            int found = poll(&socket, 1, 0);
            if (found != 0)
                return found > 0;
            if (end == 0)
                end = anyq_clock() + nanoseconds;
            else if (anyq_clock() >= end)
                return 0;
        }
    }
    #endif
    """
    bint anyq_readable_within(int fd, long long nanoseconds) nogil


def readable_within(int fd, double seconds):
    cdef long long nanoseconds = <long long>(seconds * 1e9)
    cdef bint found
    with nogil:
        found = anyq_readable_within(fd, nanoseconds)
    return found


# -- sending and receiving, for which a socket's own methods take longer than the system does

cdef extern from *:
    """
    #include <errno.h>
    #include <string.h>
    #ifdef _WIN32
    static Py_ssize_t anyq_send(int fd, const void *data, Py_ssize_t size) { errno = ENOSYS; return -1; }
    static Py_ssize_t anyq_receive(int fd, void *data, Py_ssize_t size) { errno = ENOSYS; return -1; }
    #else
    #include <sys/socket.h>
    #ifndef MSG_NOSIGNAL
    #define MSG_NOSIGNAL 0
    #endif
    static Py_ssize_t anyq_send(int fd, const void *data, Py_ssize_t size) {
        return send(fd, data, size, MSG_NOSIGNAL);
    }
    static Py_ssize_t anyq_receive(int fd, void *data, Py_ssize_t size) {
        return recv(fd, data, size, 0);
    }
    #endif
    static int anyq_would_block(void) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    /* Of an error the next call finds no more than that the connection is at its end. */
    static PyObject *anyq_receive_rest(int fd, const char *first, Py_ssize_t count, Py_ssize_t most) {
        PyObject *received = PyBytes_FromStringAndSize(NULL, most);
        Py_ssize_t more;
        if (received == NULL) return NULL;
        memcpy(PyBytes_AS_STRING(received), first, count);
        Py_BEGIN_ALLOW_THREADS
        more = anyq_receive(fd, PyBytes_AS_STRING(received) + count, most - count);
        Py_END_ALLOW_THREADS
        _PyBytes_Resize(&received, count + (more > 0 ? more : 0));
        return received;
    }
    """
    Py_ssize_t anyq_send(int fd, const void *data, Py_ssize_t size) nogil
    Py_ssize_t anyq_receive(int fd, void *data, Py_ssize_t size) nogil
    bint anyq_would_block() noexcept nogil
    bytes anyq_receive_rest(int fd, const char *first, Py_ssize_t count, Py_ssize_t most)
    object PyErr_SetFromErrno(object kind)

# Bytes: what is not more than that is received without a buffer being made that may be too large.
cdef enum:
    SMALL = 4096


# The descriptor is asked for at each call: that of a socket which somebody has closed may be another one's by now.

def send_now(sock, data):
    cdef int fd = sock.fileno()
    cdef Py_buffer view
    cdef Py_ssize_t sent
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        if view.len <= SMALL:
            sent = anyq_send(fd, view.buf, view.len)
        else:
            with nogil:
                sent = anyq_send(fd, view.buf, view.len)
        if sent < 0:
            if not anyq_would_block():
                PyErr_SetFromErrno(OSError)
            sent = 0
    finally:
        PyBuffer_Release(&view)
    return sent


def receive_now(sock, Py_ssize_t most):
    cdef int fd = sock.fileno()
    cdef char small[SMALL]
    cdef Py_ssize_t count
    count = anyq_receive(fd, small, min(most, SMALL))
    if count < 0:
        if not anyq_would_block():
            PyErr_SetFromErrno(OSError)
        return None
    if count < SMALL or count == most:
        return PyBytes_FromStringAndSize(small, count)
    return anyq_receive_rest(fd, small, count, most)
