"""The compiled twin of the loops that load: rows, and the values of the built-in types.

Doubles `anyq/_accel/python.py` (load_rows) and the loaders that are marked: by `load_values.pxi`,
`load_times.pxi`, `load_arrays.pxi`, `load_composites.pxi` and `load_ranges.pxi`, which say where.

Knows how a DataRow is laid out, and what a value of each type usually looks like. Whatever does not look like that (a
length that cannot be, a year that Python has not, another DateStyle) is given to the loader that is written in Python:
so that one alone says what is an error, and what its message is. Must not know requests or sockets.

A `LoadTwin` stands for a load function. It is called with bytes as the function is, and it has a C function that
`load_rows` and the loaders of arrays call with a pointer instead, so that no bytes object is made.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport (
    date_new, datetime_new, import_datetime, time_new, timedelta_new, timezone_new,
)
from cpython.object cimport PyObject
from libc.math cimport isinf
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from .calendar cimport civil_from_days, days_from_civil, days_in_month, floor_div
from .slots cimport slot_offset

import json
from datetime import timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from uuid import UUID, SafeUUID

from ..protocol.handlers import torn_row
from .failures import is_own, load_failure
from .twins import LoadRangeArguments, name_of

cdef extern from *:
    """
    /* An int of 16 bytes; the first of these is public since Python 3.13. */
    static PyObject *anyq_uint128(const unsigned char *data) {
    #if PY_VERSION_HEX >= 0x030D0000
        return PyLong_FromNativeBytes(data, 16, Py_ASNATIVEBYTES_BIG_ENDIAN | Py_ASNATIVEBYTES_UNSIGNED_BUFFER);
    #else
        return _PyLong_FromByteArray(data, 16, 0, 0);
    #endif
    }
    static int anyq_set_slot(PyObject *descriptor, PyObject *object, PyObject *value) {
        return Py_TYPE(descriptor)->tp_descr_set(descriptor, object, value);
    }
    /* Of a new object, whose slots are empty. */
    static void anyq_fill_slot(PyObject *object, Py_ssize_t offset, PyObject *value) {
        Py_INCREF(value);
        *(PyObject **)((char *)object + offset) = value;
    }
    static PyObject *anyq_new(PyObject *type) {
        return ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    }
    /* A tuple of a subclass, to be filled. */
    static PyObject *anyq_new_tuple(PyObject *type, Py_ssize_t size) {
        PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, size);
    #if PY_VERSION_HEX >= 0x030E0000
        if (made) ((PyTupleObject *)made)->ob_hash = -1;
    #endif
        return made;
    }
    static int anyq_to_double(const char *text, char **stop, double *number) {
        *number = PyOS_string_to_double(text, stop, NULL);
        if (*number != -1.0 || !PyErr_Occurred()) return 1;
        PyErr_Clear();
        return 0;
    }
    /* A str of ASCII characters, which the caller has checked to be that. */
    static PyObject *anyq_ascii(const char *data, Py_ssize_t size) {
        PyObject *text = PyUnicode_New(size, 127);
        char *to;
        if (!text) return NULL;
        to = (char *)PyUnicode_1BYTE_DATA(text);
        if (size < 8 || size > 16) {
            memcpy(to, data, size);
        } else {
            /* Two words, which have bytes in common: no call. */
            memcpy(to, data, 8);
            memcpy(to + size - 8, data + size - 8, 8);
        }
        return text;
    }
    static int anyq_is_ascii(const char *data, Py_ssize_t size) {
        unsigned long long word, all = 0;
        Py_ssize_t i;
        if (size < 8) {
            for (i = 0; i < size; i++) all |= (unsigned char)data[i];
        } else {
            /* The last word may have a part of the one before it. */
            for (i = 0; i < size - 8; i += 8) {
                memcpy(&word, data + i, 8);
                all |= word;
            }
            memcpy(&word, data + size - 8, 8);
            all |= word;
        }
        return !(all & 0x8080808080808080ULL);
    }
    /* Fill a list from an item on as long as there are items of int4; return how many are filled then. */
    static Py_ssize_t anyq_int4_items(PyObject *list, Py_ssize_t at, const unsigned char **data, const unsigned char *end) {
        const unsigned char *from = *data;
        Py_ssize_t count = PyList_GET_SIZE(list);
        for (; at < count && end - from >= 8 && !from[0] && !from[1] && !from[2] && from[3] == 4; at++, from += 8) {
            unsigned int bits = (unsigned int)from[4] << 24 | (unsigned int)from[5] << 16 | (unsigned int)from[6] << 8 | from[7];
            PyObject *number = PyLong_FromLong((int)bits);
            if (!number) return -1;
            PyList_SET_ITEM(list, at, number);
        }
        *data = from;
        return at;
    }
    /* The same for items of text that have ASCII characters only, more than one. */
    static Py_ssize_t anyq_text_items(PyObject *list, Py_ssize_t at, const unsigned char **data, const unsigned char *end) {
        const unsigned char *from = *data;
        Py_ssize_t count = PyList_GET_SIZE(list);
        while (at < count && end - from >= 6 && !from[0]) {
            Py_ssize_t size = (Py_ssize_t)from[1] << 16 | (Py_ssize_t)from[2] << 8 | from[3];
            PyObject *text;
            if (size < 2 || size > end - from - 4 || !anyq_is_ascii((const char *)from + 4, size)) break;
            text = anyq_ascii((const char *)from + 4, size);
            if (!text) return -1;
            PyList_SET_ITEM(list, at++, text);
            from += 4 + size;
        }
        *data = from;
        return at;
    }
    /* A str, None if the bytes are not UTF-8. */
    static PyObject *anyq_text(const char *data, Py_ssize_t size) {
        PyObject *text;
        /* There is one object for each text of one character. */
        if (size > 1 && anyq_is_ascii(data, size)) return anyq_ascii(data, size);
        text = PyUnicode_DecodeUTF8(data, size, NULL);
        if (text || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) return text;
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    """
    object anyq_text(const char *data, Py_ssize_t size)
    Py_ssize_t anyq_int4_items(list items, Py_ssize_t at, Bytes *data, Bytes end) except -1
    Py_ssize_t anyq_text_items(list items, Py_ssize_t at, Bytes *data, Bytes end) except -1
    object anyq_uint128(const unsigned char *data)
    int anyq_set_slot(PyObject *descriptor, object instance, PyObject *value) except -1
    void anyq_fill_slot(object instance, Py_ssize_t offset, object value)
    object anyq_new(PyObject *type)
    tuple anyq_new_tuple(PyObject *type, Py_ssize_t size)
    bint anyq_to_double(const char *text, char **stop, double *number)
    object anyq_ascii(const char *data, Py_ssize_t size)

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object)
    bint PyObject_GC_IsTracked(object)
    void PyObject_GC_Track(object)
    object PyObject_CallOneArg(object callable, object arg)
    int PyList_Append(list, object) except -1
    list PyList_New(Py_ssize_t)
    void PyObject_GC_UnTrack(object)
    bint PyObject_IS_GC(object)
    Py_ssize_t PyList_GET_SIZE(list)
    PyObject *PyList_GET_ITEM(list, Py_ssize_t)
    void PyList_SET_ITEM(list, Py_ssize_t, object)
    object PyObject_CallObject(object callable, tuple args)
    tuple PyTuple_New(Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(tuple)
    PyObject *PyTuple_GET_ITEM(tuple, Py_ssize_t)
    void PyTuple_SET_ITEM(tuple, Py_ssize_t, object)
    void Py_INCREF(object)
    object PyLong_FromLong(long)
    object PyLong_FromLongLong(long long)
    object PyLong_FromUnsignedLong(unsigned long)
    object PyLong_FromUnsignedLongLong(unsigned long long)
    object PyFloat_FromDouble(double)

import_datetime()


# -- numbers of the wire

cdef inline uint16_t get_uint16(Bytes data) noexcept nogil:
    return <uint16_t>((data[0] << 8) | data[1])


cdef inline uint32_t get_uint32(Bytes data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]


cdef inline uint64_t get_uint64(Bytes data) noexcept nogil:
    return (<uint64_t>get_uint32(data) << 32) | get_uint32(data + 4)


# -- rows

cdef uint64_t PASS = 0
"""The number of the call of `load_rows` that is under way and in which only C code has run: so nothing was registered
meanwhile. Else 0."""
cdef uint64_t LAST_PASS = 0


cdef class LoadTwin:
    """A load function, and the C function that does the same for what is usual."""

    def __call__(self, data):
        if PyBytes_CheckExact(data):
            if self.run == load_bytes:
                # A big value is received into the bytes object that the user gets.
                return data
            return self.run(self, <Bytes>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return run_pure(self, data)

    @property
    def __wrapped__(self):
        return self.pure


cdef object slow(LoadTwin self, Bytes data, Py_ssize_t size):
    return run_pure(self, PyBytes_FromStringAndSize(<const char *>data, size))


cdef object run_pure(LoadTwin self, object data):
    global PASS
    PASS = 0
    try:
        return PyObject_CallOneArg(self.pure, data)
    except Exception as ex:
        raise load_failure(self.pure, data, ex)


cdef inline object load_item(object function, Bytes data, Py_ssize_t size):
    if type(function) is LoadTwin:
        return (<LoadTwin>function).run(<LoadTwin>function, data, size)
    return run_other(function, data, size)


cdef object run_other(object function, Bytes data, Py_ssize_t size):
    global PASS
    PASS = 0
    return PyObject_CallOneArg(function, PyBytes_FromStringAndSize(<const char *>data, size))


def load_rows(data, Py_ssize_t start, Py_ssize_t stop, loads, list rows not None):
    global PASS, LAST_PASS
    cdef tuple functions = tuple(loads)
    cdef Py_ssize_t first = -1
    if type(data) is list:
        load_values(<list>data, start, stop, functions, rows)
    else:
        if not PyBytes_CheckExact(data) or start < 0 or stop > PyBytes_GET_SIZE(data):
            raise IndexError(f"rows from {start} to {stop} in {len(data)} bytes")
        LAST_PASS += 1
        PASS = LAST_PASS
        try:
            load_messages(<Bytes>PyBytes_AS_STRING(data), start, stop, functions, rows, &first)
        finally:
            PASS = 0
            if first >= 0:
                track_rows(rows, first)


cdef load_messages(Bytes run, Py_ssize_t start, Py_ssize_t end, tuple functions, list rows, Py_ssize_t *first):
    """Append rows; those from `first` on are to be tracked, unless that is negative.

    Nobody has them yet: the garbage collector, which their number calls again and again, would go through them in vain.
    """
    cdef Py_ssize_t columns = len(functions), column, size
    cdef Bytes data = run + start
    cdef Bytes limit = run + end
    cdef Bytes stop
    cdef tuple row
    cdef object value
    while data < limit:
        # They were looked at when they came; but memory is read, so it is done again.
        size = get_uint32(data + 1) if limit - data >= 7 else 0
        if size < 6 or size >= limit - data or get_uint16(data + 5) != columns:
            raise torn_row()
        stop = data + 1 + size
        data += 7
        row = PyTuple_New(columns)
        if columns:
            PyObject_GC_UnTrack(row)
        for column in range(columns):
            if stop - data < 4:
                raise torn_row()
            size = <int32_t>get_uint32(data)
            data += 4
            if size >= 0:
                if size > stop - data:
                    raise torn_row()
                value = load_item(<object>functions[column], data, size)
                data += size
            elif size == -1:
                value = None
            else:
                raise torn_row()
            if PyObject_IS_GC(value):
                if first[0] < 0:
                    first[0] = PyList_GET_SIZE(rows)
                if type(value) is list and Py_REFCNT(value) == 1:
                    PyObject_GC_UnTrack(value)
            Py_INCREF(value)
            PyTuple_SET_ITEM(row, column, value)
        if data != stop:
            raise torn_row()
        PyList_Append(rows, row)


cdef void track_rows(list rows, Py_ssize_t first) noexcept:
    """Have the garbage collector look after the rows from this one on in which something could be part of a cycle."""
    cdef Py_ssize_t i, column
    cdef tuple row
    cdef object value
    cdef bint collected
    for i in range(first, PyList_GET_SIZE(rows)):
        row = <tuple>PyList_GET_ITEM(rows, i)
        collected = False
        for column in range(PyTuple_GET_SIZE(row)):
            value = <object>PyTuple_GET_ITEM(row, column)
            if PyObject_IS_GC(value):
                collected = True
                if type(value) is list and not PyObject_GC_IsTracked(value):
                    PyObject_GC_Track(value)
        if collected and not PyObject_GC_IsTracked(row):
            PyObject_GC_Track(row)


cdef load_values(list values, Py_ssize_t start, Py_ssize_t stop, tuple functions, list rows):
    cdef Py_ssize_t columns = len(functions), column, number
    cdef tuple row
    cdef object value
    if start < 0 or stop * columns > len(values):
        raise IndexError(f"rows from {start} to {stop} in {len(values)} values")
    for number in range(start, stop):
        row = PyTuple_New(columns)
        for column in range(columns):
            value = values[number * columns + column]
            if value is not None:
                value = PyObject_CallOneArg(<object>functions[column], value)
            Py_INCREF(value)
            PyTuple_SET_ITEM(row, column, value)
        PyList_Append(rows, row)


# -- values, a C function for each type and format

include "load_values.pxi"
include "load_net.pxi"
include "load_enum.pxi"
include "load_times.pxi"
include "load_arrays.pxi"
include "load_composites.pxi"
include "load_ranges.pxi"


# -- which function has which twin

cdef class Maker:
    """A C function, to be found by name."""

    cdef LoadC run

    @staticmethod
    cdef Maker of(LoadC run):
        cdef Maker maker = Maker.__new__(Maker)
        maker.run = run
        return maker


cdef dict MAKERS = {
    "load_bool_text": Maker.of(load_bool_text),
    "load_bool": Maker.of(load_bool),
    "load_text": Maker.of(load_text),
    "bytes": Maker.of(load_bytes),
    "load_bytea_text": Maker.of(load_bytea_text),
    "load_int_text": Maker.of(load_int_text),
    "load_int2": Maker.of(load_int2),
    "load_int4": Maker.of(load_int4),
    "load_int8": Maker.of(load_int8),
    "load_oid": Maker.of(load_oid),
    "load_xid8": Maker.of(load_xid8),
    "load_inet": Maker.of(load_inet),
    "load_inet_text": Maker.of(load_inet_text),
    "load_cidr": Maker.of(load_cidr),
    "load_cidr_text": Maker.of(load_cidr_text),
    "load_macaddr": Maker.of(load_macaddr),
    "load_enum": Maker.of(load_enum),
    "load_float4_text": Maker.of(load_float4_text),
    "load_float8_text": Maker.of(load_float8_text),
    "load_float4": Maker.of(load_float4),
    "load_float8": Maker.of(load_float8),
    "load_numeric_text": Maker.of(load_numeric_text),
    "load_numeric": Maker.of(load_numeric),
    "load_date_text": Maker.of(load_date_text),
    "load_date": Maker.of(load_date),
    "load_time_text": Maker.of(load_time_text),
    "load_time": Maker.of(load_time),
    "load_timetz_text": Maker.of(load_timetz_text),
    "load_timetz": Maker.of(load_timetz),
    "load_timestamp_text": Maker.of(load_timestamp_text),
    "load_timestamp": Maker.of(load_timestamp),
    "load_timestamptz_text": Maker.of(load_timestamptz_text),
    "load_timestamptz": Maker.of(load_timestamptz),
    "load_interval_text": Maker.of(load_interval_text),
    "load_interval": Maker.of(load_interval),
    "load_uuid_text": Maker.of(load_uuid_text),
    "load_uuid": Maker.of(load_uuid),
    "load_json": Maker.of(load_json),
    "load_jsonb": Maker.of(load_jsonb),
    "load_array_text": Maker.of(load_array_text),
    "load_array": Maker.of(load_array),
    "load_composite_text": Maker.of(load_composite_text),
    "load_composite": Maker.of(load_composite),
    "load_range_text": Maker.of(load_range_text),
    "load_range": Maker.of(load_range),
    "load_multirange_text": Maker.of(load_multirange_text),
    "load_multirange": Maker.of(load_multirange),
}


cdef frozenset WITH_ARGUMENTS = frozenset(
    ("load_timestamptz", "load_timestamptz_text", "load_json", "load_jsonb", "load_enum", "load_array", "load_array_text")
    + ("load_composite", "load_composite_text")
    + ("load_range", "load_range_text", "load_multirange", "load_multirange_text")
)


def compile_load(load):
    """Return the twin of a load function, the function itself if it has none."""
    name = name_of(load)
    maker = MAKERS.get(name) if name not in UNUSABLE else None
    if maker is None and not is_own(load):
        return load
    cdef LoadTwin twin = LoadTwin.__new__(LoadTwin)
    twin.pure = load
    if maker is None:
        # No other way to load, but what goes wrong becomes a DataError.
        twin.run = slow
        return twin
    twin.run = (<Maker>maker).run
    if name in WITH_ARGUMENTS:
        owner = load.__self__
        arguments = owner.load_arguments()
        if arguments is None:
            return load
        if name == "load_timestamptz" or name == "load_timestamptz_text":
            twin.extra = arguments.zone
        elif name == "load_json" or name == "load_jsonb":
            twin.owner = owner
        elif name == "load_enum":
            twin.extra = Members(arguments.labels)
        elif name == "load_array":
            twin.extra = arguments.tx
        elif name == "load_composite" or name == "load_composite_text":
            twin.extra = fields_of(arguments)
        elif type(arguments) is LoadRangeArguments:
            twin.extra = bounds_of(arguments)
        else:
            if len(arguments.delimiter) != 1:
                return load
            twin.extra = arguments.load_item
            twin.delimiter = arguments.delimiter[0]
    return twin
