"""The compiled twin of :mod:`anyq._accel.python`: rows, and the values of the built-in types."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int32_t, uint16_t, uint32_t
from libc.string cimport memcpy

from ..errors import RemoteProtocolError


cdef extern from "Python.h":
    object PyObject_CallOneArg(object callable, object arg)
    int PyList_Append(list, object) except -1
    void Py_INCREF(object)


cdef inline uint32_t get_uint32(const unsigned char *data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]


def decode_rows(bytes run not None, Py_ssize_t pos, Py_ssize_t end, object loads, list rows not None):
    cdef list functions = list(loads)
    cdef Py_ssize_t columns = len(functions)
    cdef Py_ssize_t stop, size, i
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(run)
    cdef tuple row
    cdef object value
    if end > len(run) or pos < 0:
        raise IndexError("the rows are outside of the bytes")
    while end - pos >= 7:
        stop = pos + 1 + <Py_ssize_t>get_uint32(data + pos + 1)
        if data[pos] != b"D" or stop > end:
            break
        size = (data[pos + 5] << 8) | data[pos + 6]
        if size != columns:
            raise RemoteProtocolError(f"a DataRow message has {size} columns, its description has {columns}")
        pos += 7
        row = PyTuple_New(columns)
        for i in range(columns):
            if stop - pos < 4:
                raise torn_row()
            size = <int32_t>get_uint32(data + pos)
            pos += 4
            if size >= 0:
                if size > stop - pos:
                    raise torn_row()
                value = functions[i](PyBytes_FromStringAndSize(<const char *>data + pos, size))
                pos += size
            elif size == -1:
                value = None
            else:
                raise torn_row()
            Py_INCREF(value)
            PyTuple_SET_ITEM(row, i, value)
        if pos != stop:
            raise torn_row()
        PyList_Append(rows, row)
    return pos


cdef torn_row():
    return RemoteProtocolError("the columns of a DataRow message do not add up to its length")
