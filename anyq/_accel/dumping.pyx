"""The compiled twin of the loops that dump: parameters, and objects of the usual classes.

Doubles `anyq/_accel/python.py` (DumpPlan, dump_values) and the dumpers that are marked: by the files that are included,
which say where.

Knows what objects of each class are usually written as. What is not usual (an instance of a subclass, a number that
does not fit, a character that cannot be sent) is given to the dumper that is written in Python: so that one alone says
what is an error, and what its message is. Must not know requests or sockets.

A `DumpTwin` stands for a dump function and a `KeyTwin` for a `get_key`. They are called as these are; `dump_values`
calls their C functions.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.datetime cimport (
    date_day, date_month, date_year, datetime_hour, datetime_microsecond, datetime_minute, datetime_second,
    import_datetime, time_hour, time_microsecond, time_minute, time_second, timedelta_days, timedelta_microseconds,
    timedelta_seconds,
)
from cpython.object cimport PyObject, PyTypeObject, Py_TYPE
from cpython.unicode cimport PyUnicode_AsUTF8String
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy, memmove, strlen

from .calendar cimport days_from_civil
from .slots cimport attribute, place, slot_offset

from ..protocol.constants import MAX_MESSAGE_LENGTH

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from uuid import UUID

from .failures import dumped_buffer
from .twins import DumpCompositeArguments, name_of

cdef extern from *:
    """
    /* Whether it is a tuple that gives the items that it has. */
    static int anyq_plain_tuple(PyObject *obj) {
        return PyTuple_Check(obj) && Py_TYPE(obj)->tp_iter == PyTuple_Type.tp_iter;
    }
    static PyObject *anyq_get_slot(PyObject *object, Py_ssize_t offset) {
        return *(PyObject **)((char *)object + offset);
    }
    static int anyq_is_ascii(PyObject *text) {
        return PyUnicode_IS_COMPACT_ASCII(text);
    }
    static const char *anyq_ascii_data(PyObject *text) {
        return (const char *)PyUnicode_1BYTE_DATA(text);
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
    """
    bint anyq_plain_tuple(object obj)
    PyObject *anyq_get_slot(object instance, Py_ssize_t offset)
    bint anyq_is_ascii(object text)
    const char *anyq_ascii_data(object text)
    bint anyq_fits(object number, long long *value)
    bint anyq_put_uint128(object number, unsigned char *data)

cdef extern from *:
    """
    static anyq_place anyq_at_version;
    """
    place anyq_at_version

cdef extern from "Python.h":
    object PyObject_CallOneArg(object callable, object arg)
    int PyList_Append(list, object) except -1
    PyObject *PyList_GET_ITEM(list, Py_ssize_t)
    object PySequence_Fast(object, const char *)
    Py_ssize_t PySequence_Fast_GET_SIZE(object)
    PyObject *PySequence_Fast_GET_ITEM(object, Py_ssize_t)
    PyObject *PyDict_GetItemWithError(object, object) except? NULL
    bint PyObject_TypeCheck(object, PyTypeObject *)
    PyObject *PyTuple_GET_ITEM(tuple, Py_ssize_t)
    int Py_EnterRecursiveCall(const char *) except -1
    void Py_LeaveRecursiveCall()
    bint PyUnicode_CheckExact(object)
    bint PyLong_CheckExact(object)
    bint PyFloat_CheckExact(object)
    double PyFloat_AS_DOUBLE(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    char *PyOS_double_to_string(double, char, int, int, int *) except NULL
    void PyMem_Free(void *)
    int Py_DTSF_ADD_DOT_0

import_datetime()

ctypedef object (*DumpC)(DumpTwin self, object obj)
ctypedef int (*WriteC)(DumpTwin self, object obj, Writer *out) except -1
ctypedef object (*KeyC)(KeyTwin self, object obj, object format)

cdef type DATE = date, DATETIME = datetime, TIME = time, TIMEDELTA = timedelta, DECIMAL = Decimal, UUID_TYPE = UUID
cdef object UTC = timezone.utc

cdef enum:  # src/include/catalog/pg_type.dat
    TEXT_OID = 25
    DATE_OID = 1082
    TIMESTAMP_OID = 1114
    TIMESTAMPTZ_OID = 1184
    NUMERIC_OID = 1700

cdef int64_t USECS_PER_SECOND = 1_000_000
cdef int64_t SECONDS_PER_DAY = 86_400


@cython.final
cdef class DumpTwin:
    """A dump function, and the C function that does the same for what is usual."""

    cdef DumpC run
    cdef WriteC write
    """The same, where values are written one behind another."""
    cdef object pure
    """The function itself, for what is not usual."""
    cdef object item
    """Of lists: what to call for each item, None if there is no item that is not None. Of enums: their labels. Of
    composites and ranges: what is known of them."""
    cdef uint32_t item_oid
    cdef unsigned char delimiter
    cdef bint never_quoted

    def __call__(self, obj):
        return self.run(self, obj)

    @property
    def __wrapped__(self):
        return self.pure


@cython.final
cdef class KeyTwin:
    """A `get_key`, and the C function that does the same for what is usual."""

    cdef KeyC run
    cdef object pure
    cdef tuple keys
    """The keys that there are, in an order that the C function knows."""
    cdef bint is_common
    """Whether the dumper of a list's items is found by their keys as usual."""
    cdef object cls
    """Of lists: their class, the transformer of their items and the formats of these."""
    cdef object tx
    cdef dict item_formats
    cdef object item
    """Of ranges: what is known of their bounds."""

    def __call__(self, obj, format):
        return self.run(self, obj, format)

    @property
    def __wrapped__(self):
        return self.pure


cdef object slow(DumpTwin self, object obj):
    return PyObject_CallOneArg(self.pure, obj)


cdef inline object dump_item(object function, object obj):
    if type(function) is DumpTwin:
        return (<DumpTwin>function).run(<DumpTwin>function, obj)
    return PyObject_CallOneArg(function, obj)


@cython.final
cdef class DumpPlan:
    """How to dump the objects of one class, or of one key of a class.

    Nothing in it is set again: so whoever holds a plan may borrow what is in it, by way of a pointer.
    """

    cdef readonly object get_key
    cdef readonly dict by_key
    cdef readonly object dump
    cdef readonly object oid
    cdef readonly object format
    cdef readonly object dumper

    def __init__(self, get_key, dump, oid, format, dumper):
        self.get_key = get_key
        self.by_key = {}
        self.dump = dump
        self.oid = oid
        self.format = format
        self.dumper = dumper


def dump_values(params, formats, dict plans, make_plan, make_key_plan, list values, list oids, list wire):
    cdef object objects = PySequence_Fast(params, "parameters must be a sequence")
    cdef object wanted = PySequence_Fast(formats, "formats must be a sequence")
    cdef Py_ssize_t i
    cdef object obj, format, get_key, key, value, zero = 0, table = None, last_format = None
    cdef DumpPlan plan
    cdef PyObject *found
    i = 0
    # A dumper may change the sequence, if it is mad enough.
    while i < PySequence_Fast_GET_SIZE(objects) and i < PySequence_Fast_GET_SIZE(wanted):
        obj = <object>PySequence_Fast_GET_ITEM(objects, i)
        format = <object>PySequence_Fast_GET_ITEM(wanted, i)
        i += 1
        if obj is None:
            PyList_Append(values, None)
            PyList_Append(oids, zero)
            PyList_Append(wire, zero)
            continue
        if format is not last_format:
            table = plans[format]
            last_format = format
        found = PyDict_GetItemWithError(table, type(obj))
        if found != NULL:
            plan = <DumpPlan>found
        else:
            plan = make_plan(obj, format)
        get_key = plan.get_key
        if get_key is not None:
            if type(get_key) is KeyTwin:
                key = (<KeyTwin>get_key).run(<KeyTwin>get_key, obj, format)
            else:
                key = get_key(obj, format)
            found = <PyObject *>plan.by_key
            found = PyDict_GetItemWithError(<object>found, key)
            if found != NULL:
                plan = <DumpPlan>found
            else:
                plan = make_key_plan(plan, obj, format)
        found = <PyObject *>plan.dump
        value = dump_item(<object>found, obj)
        if not PyBytes_CheckExact(value):
            value = dumped_buffer(value, plan.dump)
        PyList_Append(values, value)
        PyList_Append(oids, plan.oid)
        PyList_Append(wire, plan.format)


# -- values, a C function for each type and format

include "dump_writer.pxi"
include "dump_values.pxi"
include "dump_net.pxi"
include "dump_enum.pxi"
include "dump_times.pxi"
include "dump_arrays.pxi"
include "dump_keys.pxi"
include "dump_composites.pxi"
include "dump_ranges.pxi"


# -- which function has which twin

cdef class Maker:
    """A C function, to be found by name."""

    cdef DumpC dump
    cdef WriteC write
    cdef KeyC key

    @staticmethod
    cdef Maker of(WriteC write, DumpC dump=dump_written):
        cdef Maker maker = Maker.__new__(Maker)
        maker.write = write
        maker.dump = dump
        return maker

    @staticmethod
    cdef Maker of_key(KeyC key):
        cdef Maker maker = Maker.__new__(Maker)
        maker.key = key
        return maker


cdef dict MAKERS = {
    "dump_bool": Maker.of(write_bool),
    "dump_bool_text": Maker.of(write_bool_text),
    "dump_text": Maker.of(write_text, dump_text),
    "dump_bytes": Maker.of(write_bytes, dump_bytes),
    "dump_int2": Maker.of(write_int2),
    "dump_int4": Maker.of(write_int4),
    "dump_int8": Maker.of(write_int8),
    "dump_int_text": Maker.of(write_int_text),
    "dump_float8": Maker.of(write_float8),
    "dump_float_text": Maker.of(write_float_text),
    "dump_decimal_text": Maker.of(write_decimal_text),
    "dump_inet": Maker.of(write_inet),
    "dump_cidr": Maker.of(write_cidr),
    "dump_date": Maker.of(write_date),
    "dump_time": Maker.of(write_time),
    "dump_timestamp": Maker.of(write_timestamp),
    "dump_timestamptz": Maker.of(write_timestamptz),
    "dump_interval": Maker.of(write_interval),
    "dump_uuid": Maker.of(write_uuid),
    "dump_enum": Maker.of(write_enum),
    "dump_list": Maker.of(write_list),
    "dump_list_text": Maker.of(write_list_text),
    "dump_date_text": Maker.of(write_date_text),
    "dump_time_text": Maker.of(write_time_text),
    "dump_timestamp_text": Maker.of(write_timestamp_text),
    "dump_timestamptz_text": Maker.of(write_timestamptz_text),
    "dump_composite_text": Maker.of(write_composite_text),
    "dump_composite": Maker.of(write_composite),
    "dump_range_text": Maker.of(write_range_text),
    "dump_range": Maker.of(write_range),
    "dump_multirange_text": Maker.of(write_multirange_text),
    "dump_multirange": Maker.of(write_multirange),
    "key_int": Maker.of_key(key_int),
    "key_aware": Maker.of_key(key_aware),
    "key_list": Maker.of_key(key_list),
    "key_bounds": Maker.of_key(key_bounds),
}


cdef dict COMMON = {
    "common_int": "key_int",
    "common_alike": "key_aware",
    "common_bounds": "key_bounds",
}
"""By how the common dumper of items is found: the keys for which `key_list` knows that."""


cdef frozenset INSIDES = frozenset(
    ("dump_composite_text", "dump_composite", "dump_range_text", "dump_range")
    + ("dump_multirange_text", "dump_multirange")
)


def compile_dump(dump):
    """Return the twin of a dump function, the function itself if it has none."""
    name = name_of(dump)
    maker = MAKERS.get(name)
    if maker is None or (<Maker>maker).dump == NULL:
        return dump
    cdef DumpTwin twin = DumpTwin.__new__(DumpTwin)
    twin.run = (<Maker>maker).dump
    twin.write = (<Maker>maker).write
    twin.pure = dump
    if name == "dump_text":
        if dump.__self__.dump_arguments() is None:
            return dump
    elif name == "dump_enum":
        arguments = dump.__self__.dump_arguments()
        if arguments is None:
            return dump
        twin.item = Labels(arguments.cls)
    elif name in INSIDES:
        arguments = dump.__self__.dump_arguments()
        if arguments is None:
            return dump
        twin.item = composite_of(arguments) if type(arguments) is DumpCompositeArguments else bounds_of(arguments)
    elif name == "dump_list" or name == "dump_list_text":
        arguments = dump.__self__.dump_arguments()
        if arguments is None or len(arguments.delimiter) != 1:
            return dump
        if arguments.dump_item is not None:
            twin.item = compile_dump(arguments.dump_item)
        twin.item_oid = arguments.item_oid
        twin.delimiter = arguments.delimiter[0]
        twin.never_quoted = arguments.never_quoted
    return twin


def compile_key(get_key):
    """Return the twin of a `get_key`, the method itself if it has none."""
    name = name_of(get_key)
    maker = MAKERS.get(name)
    if maker is None or (<Maker>maker).key == NULL:
        return get_key
    cdef KeyTwin twin = KeyTwin.__new__(KeyTwin)
    twin.run = (<Maker>maker).key
    twin.pure = get_key
    common = name_of(getattr(getattr(get_key, "__self__", None), "common_item", None))
    twin.is_common = COMMON.get(common) == name
    if name == "key_int":
        # One number of each size, and not made by C, where some would not fit.
        twin.keys = tuple([get_key(int(number), None) for number in ("1", "40000", "3000000000", "10000000000000000000")])
    elif name == "key_aware":
        twin.keys = (get_key(time(), None), get_key(time(tzinfo=timezone.utc), None))
    elif name == "key_bounds":
        twin.cls = get_key.__self__.cls
        arguments = get_key.__self__.dump_arguments()
        if arguments is None:
            return get_key
        twin.item = bounds_of(arguments)
    else:
        arguments = get_key.__self__.key_arguments()
        if arguments is None:
            return get_key
        twin.cls, twin.tx, twin.item_formats = arguments
    return twin


# -- sets of parameters

include "dump_sets.pxi"
