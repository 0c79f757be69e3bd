cimport cython

from anyq.protocol.request cimport Request

cpdef bint has_succeeded(Request request) except -1
