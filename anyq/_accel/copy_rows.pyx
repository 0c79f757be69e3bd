"""The compiled twin of the rows of COPY.

Doubles `anyq/adapt/copy.py` (RowFormatter, RowParser), `anyq/adapt/copy_text.py` and `anyq/adapt/copy_binary.py`: by
`dump_copy.pxi`, with `write_values.pxi` and `write_times.pxi`, and by `load_copy.pxi`, which say where.

Knows how rows are laid out in both formats, and writes objects of the usual classes to where they are sent from. What is
not usual is given to the dumper, which may have a twin of its own; rows that are malformed, or not complete, are given to
the classes in Python: so these alone say what is an error, and what its message is. Must not know requests or sockets.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport (
    date_day, date_month, date_year, datetime_hour, datetime_microsecond, datetime_minute, datetime_second,
    datetime_tzinfo, import_datetime, time_hour, time_microsecond, time_minute, time_second, time_tzinfo,
    timedelta_days, timedelta_microseconds, timedelta_seconds,
)
from cpython.object cimport PyObject, PyTypeObject, Py_TYPE
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy

from .calendar cimport days_from_civil
from .loading cimport Bytes, LoadTwin

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from uuid import UUID

from ..errors import DataError
from .dumping import compile_dump
from .failures import dumped_bytes
from .twins import name_of

cdef extern from *:
    """
    /* How many of eight bytes are in front of the first that is less than 14 (NUL, and control characters up to \\r), or a
       backslash. */
    static Py_ssize_t anyq_first_special(const char *data) {
    #if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        unsigned long long word, other;
        memcpy(&word, data, 8);
        other = word ^ 0x5c5c5c5c5c5c5c5cULL;
        /* A borrow makes marks of its own, but only behind the first. */
        word = (((word - 0x0e0e0e0e0e0e0e0eULL) & ~word) | ((other - 0x0101010101010101ULL) & ~other))
            & 0x8080808080808080ULL;
        return word ? __builtin_ctzll(word) >> 3 : 8;
    #else
        Py_ssize_t i;
        for (i = 0; i < 8; i++)
            if ((unsigned char)data[i] < 14 || data[i] == '\\\\') break;
        return i;
    #endif
    }
    static int anyq_fits(PyObject *number, long long *value) {
        int overflow;
        *value = PyLong_AsLongLongAndOverflow(number, &overflow);
        return !overflow;
    }
    /* The 16 bytes of an int that is not negative; 0 if it has more. */
    static int anyq_put_uint128(PyObject *number, unsigned char *data) {
    #if PY_VERSION_HEX >= 0x030D0000
        Py_ssize_t size = PyLong_AsNativeBytes(number, data, 16,
            Py_ASNATIVEBYTES_BIG_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER | Py_ASNATIVEBYTES_REJECT_NEGATIVE);
        int fits = 0 <= size && size <= 16;
    #else
        int fits = _PyLong_AsByteArray((PyLongObject *)number, data, 16, 0, 0) == 0;
    #endif
        if (!fits) PyErr_Clear();
        return fits;
    }
    static int anyq_is_ascii(PyObject *text) {
        return PyUnicode_IS_COMPACT_ASCII(text);
    }
    """
    Py_ssize_t anyq_first_special(const char *data) noexcept nogil
    bint anyq_fits(object number, long long *value)
    bint anyq_put_uint128(object number, unsigned char *data)
    bint anyq_is_ascii(object text)

cdef extern from "Python.h":
    object PyObject_CallOneArg(object callable, object arg)
    PyObject *PyDict_GetItemWithError(object, object) except? NULL
    int PyList_Append(list, object) except -1
    tuple PyTuple_New(Py_ssize_t)
    void PyTuple_SET_ITEM(tuple, Py_ssize_t, object)
    PyObject *PyTuple_GET_ITEM(object, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(object)
    void Py_INCREF(object)
    bint PyUnicode_CheckExact(object)
    bint PyLong_CheckExact(object)
    bint PyFloat_CheckExact(object)
    double PyFloat_AS_DOUBLE(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    int PyUnicode_KIND(object)
    void *PyUnicode_DATA(object)
    uint32_t PyUnicode_READ(int kind, void *data, Py_ssize_t index)
    char *PyOS_double_to_string(double, char, int, int, int *) except NULL
    void PyMem_Free(void *)
    int Py_DTSF_ADD_DOT_0

import_datetime()

cdef type DATE = date, DATETIME = datetime, TIME = time, TIMEDELTA = timedelta, DECIMAL = Decimal, UUID_TYPE = UUID
cdef object UTC = timezone.utc

cdef int64_t USECS_PER_SECOND = 1_000_000
cdef int64_t SECONDS_PER_DAY = 86_400
cdef Py_ssize_t MOST_COLUMNS = 0x7FFF
cdef Py_ssize_t MOST_BYTES = 0x7FFF_FFFF


include "write_values.pxi"
include "write_times.pxi"
include "dump_copy.pxi"
include "load_copy.pxi"


def compile_format(formatter):
    return RowFormat(formatter).format_row


def compile_parse(parser):
    return RowParse(parser).parse
