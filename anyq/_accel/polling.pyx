"""The compiled twin of the loop that looks whether a socket is readable, with the interpreter's lock let go of.

Doubles `anyq/_accel/python.py` (readable_within).
"""

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
