"""The compiled twin of a coroutine that is over when it is awaited, for what mostly has nothing to wait for.

Doubles `anyq/_accel/python.py` (Done).
"""

cimport cython


@cython.final
cdef class Done:
    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        raise StopIteration

    def send(self, value):
        raise StopIteration

    def throw(self, kind, value=None, traceback=None):
        raise kind if value is None else value

    def close(self):
        pass


DONE = Done()
