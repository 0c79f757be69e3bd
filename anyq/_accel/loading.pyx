"""The compiled twin of the loops that load: rows, and the values of the built-in types.

Knows how a DataRow is laid out, and what a value of each type usually looks like. Whatever does not look like that (a
length that cannot be, a year that Python has not, another DateStyle) is given to the loader that is written in Python:
so that one alone says what is an error, and what its message is. Must not know requests or sockets.

A `LoadTwin` stands for a load function. It is called with bytes as the function is, and it has a C function that
`decode_rows` and the loaders of arrays call with a pointer instead, so that no bytes object is made.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport (
    date_new, datetime_new, import_datetime, time_new, timedelta_new, timezone_new,
)
from cpython.object cimport PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isinf
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

import json
from datetime import timezone
from decimal import Decimal
from uuid import UUID, SafeUUID

from ..errors import RemoteProtocolError
from .twins import name_of

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
    static PyObject *anyq_new(PyObject *type) {
        return ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
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
        if (text) memcpy(PyUnicode_1BYTE_DATA(text), data, size);
        return text;
    }
    """
    object anyq_uint128(const unsigned char *data)
    int anyq_set_slot(PyObject *descriptor, object instance, PyObject *value) except -1
    object anyq_new(PyObject *type)
    bint anyq_to_double(const char *text, char **stop, double *number)
    object anyq_ascii(const char *data, Py_ssize_t size)

cdef extern from "Python.h":
    object PyObject_CallOneArg(object callable, object arg)
    int PyList_Append(list, object) except -1
    list PyList_New(Py_ssize_t)
    void PyList_SET_ITEM(list, Py_ssize_t, object)
    tuple PyTuple_New(Py_ssize_t)
    void PyTuple_SET_ITEM(tuple, Py_ssize_t, object)
    void Py_INCREF(object)
    object PyLong_FromLong(long)
    object PyLong_FromLongLong(long long)
    object PyLong_FromUnsignedLong(unsigned long)
    object PyLong_FromUnsignedLongLong(unsigned long long)
    object PyFloat_FromDouble(double)

import_datetime()

ctypedef const unsigned char *Bytes
ctypedef object (*LoadC)(LoadTwin self, Bytes data, Py_ssize_t size)


# -- numbers of the wire

cdef inline uint16_t get_uint16(Bytes data) noexcept nogil:
    return <uint16_t>((data[0] << 8) | data[1])


cdef inline uint32_t get_uint32(Bytes data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]


cdef inline uint64_t get_uint64(Bytes data) noexcept nogil:
    return (<uint64_t>get_uint32(data) << 32) | get_uint32(data + 4)


# -- rows

@cython.final
cdef class LoadTwin:
    """A load function, and the C function that does the same for what is usual."""

    cdef LoadC run
    cdef object pure
    """The function itself, for what is not usual."""
    cdef object owner
    """The loader that it is a method of."""
    cdef object extra
    """What the C function needs besides: a time zone, the twin of the items."""
    cdef object item
    cdef object seen
    cdef uint32_t item_oid
    cdef unsigned char delimiter

    def __call__(self, data):
        if PyBytes_CheckExact(data):
            return self.run(self, <Bytes>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return self.pure(data)

    @property
    def __wrapped__(self):
        return self.pure


cdef object slow(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyObject_CallOneArg(self.pure, PyBytes_FromStringAndSize(<const char *>data, size))


cdef inline object load_item(object function, Bytes data, Py_ssize_t size):
    if type(function) is LoadTwin:
        return (<LoadTwin>function).run(<LoadTwin>function, data, size)
    return PyObject_CallOneArg(function, PyBytes_FromStringAndSize(<const char *>data, size))


def decode_rows(run, Py_ssize_t pos, Py_ssize_t end, loads, list rows not None):
    cdef tuple functions = tuple(loads)
    cdef Py_buffer view
    PyObject_GetBuffer(run, &view, PyBUF_SIMPLE)
    try:
        if pos < 0 or end > view.len:
            raise IndexError(f"rows from {pos} to {end} in {view.len} bytes")
        return decode_run(<Bytes>view.buf, pos, end, functions, rows)
    finally:
        PyBuffer_Release(&view)


cdef decode_run(Bytes run, Py_ssize_t start, Py_ssize_t end, tuple functions, list rows):
    cdef Py_ssize_t columns = len(functions), column, size
    cdef Bytes data = run + start
    cdef Bytes limit = run + end
    cdef Bytes stop
    # As the one in Python, which takes the length of a single column for part of the header.
    cdef Py_ssize_t header = 11 if columns == 1 else 7
    cdef tuple row
    cdef object function, value
    while limit - data >= header:
        size = get_uint32(data + 1)
        if data[0] != b"D" or size >= limit - data:
            break
        stop = data + 1 + size
        size = get_uint16(data + 5)
        if size != columns:
            raise RemoteProtocolError(f"a DataRow message has {size} columns, its description has {columns}")
        data += 7
        row = PyTuple_New(columns)
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
            Py_INCREF(value)
            PyTuple_SET_ITEM(row, column, value)
        if data != stop:
            raise torn_row()
        PyList_Append(rows, row)
    return data - run


cdef torn_row():
    return RemoteProtocolError("the columns of a DataRow message do not add up to its length")


# -- bool, text, bytes

cdef object load_bool_text(LoadTwin self, Bytes data, Py_ssize_t size):
    if size == 1 and data[0] == b"t":
        return True
    if size == 1 and data[0] == b"f":
        return False
    return slow(self, data, size)


cdef object load_bool(LoadTwin self, Bytes data, Py_ssize_t size):
    if size == 1 and data[0] <= 1:
        return data[0] == 1
    return slow(self, data, size)


cdef object load_text(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char *>data, size, NULL)


cdef object load_bytes(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<const char *>data, size)


cdef unsigned char HEX[256]
"""The value of a hexadecimal digit, 255 for what is none."""
for _code in range(256):
    HEX[_code] = int(chr(_code), 16) if chr(_code) in "0123456789abcdefABCDEF" else 255


cdef object load_bytea_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t i
    cdef unsigned char high, low, bad = 0
    cdef unsigned char *out
    if size < 2 or size & 1 or data[0] != b"\\" or data[1] != b"x":
        return slow(self, data, size)
    value = PyBytes_FromStringAndSize(NULL, size // 2 - 1)
    out = <unsigned char *>PyBytes_AS_STRING(value)
    for i in range(size // 2 - 1):
        high = HEX[data[2 * i + 2]]
        low = HEX[data[2 * i + 3]]
        bad |= high | low
        out[i] = <unsigned char>(high << 4) | low
    # A digit is less than 16.
    return value if bad < 16 else slow(self, data, size)


# -- numbers

cdef object load_int_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t i = 1 if size > 1 and data[0] == b"-" else 0
    cdef unsigned char digit
    cdef int64_t number = 0
    # 18 digits are certain to fit.
    if not 0 < size - i <= 18:
        return slow(self, data, size)
    negative = i == 1
    while i < size:
        digit = <unsigned char>(data[i] - 48)
        if digit > 9:
            return slow(self, data, size)
        number = number * 10 + digit
        i += 1
    return PyLong_FromLongLong(-number if negative else number)


cdef object load_int2(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromLong(<int16_t>get_uint16(data)) if size == 2 else slow(self, data, size)


cdef object load_int4(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromLong(<int32_t>get_uint32(data)) if size == 4 else slow(self, data, size)


cdef object load_int8(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromLongLong(<int64_t>get_uint64(data)) if size == 8 else slow(self, data, size)


cdef object load_oid(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromUnsignedLong(get_uint32(data)) if size == 4 else slow(self, data, size)


cdef object load_xid8(LoadTwin self, Bytes data, Py_ssize_t size):
    return PyLong_FromUnsignedLongLong(get_uint64(data)) if size == 8 else slow(self, data, size)


cdef bint parse_double(Bytes data, Py_ssize_t size, double *number) noexcept:
    """Read a finite decimal number; return False if it is something else."""
    cdef char text[48]
    cdef char *stop = NULL
    cdef Py_ssize_t i
    if not 0 < size < 48:
        return False
    for i in range(size):
        # The end is only known to the parser by a zero byte, so it needs a copy anyway.
        if not (48 <= data[i] <= 57 or data[i] == b"." or data[i] == b"-" or data[i] == b"e" or data[i] == b"+"):
            return False
        text[i] = <char>data[i]
    text[size] = 0
    return anyq_to_double(text, &stop, number) and stop == text + size


cdef object load_float8_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef double number
    if parse_double(data, size, &number):
        return PyFloat_FromDouble(number)
    return slow(self, data, size)


cdef object load_float4_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef double number
    if parse_double(data, size, &number) and not isinf(<float>number):
        return PyFloat_FromDouble(<float>number)
    return slow(self, data, size)


cdef object load_float4(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef uint32_t bits
    cdef float number
    if size != 4:
        return slow(self, data, size)
    bits = get_uint32(data)
    memcpy(&number, &bits, 4)
    return PyFloat_FromDouble(number)


cdef object load_float8(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef uint64_t bits
    cdef double number
    if size != 8:
        return slow(self, data, size)
    bits = get_uint64(data)
    memcpy(&number, &bits, 8)
    return PyFloat_FromDouble(number)


cdef object load_numeric_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t i
    for i in range(size):
        if not (48 <= data[i] <= 57 or data[i] == b"." or data[i] == b"-"):
            return slow(self, data, size)
    try:
        return PyObject_CallOneArg(Decimal, anyq_ascii(<const char *>data, size))
    except ArithmeticError:
        return slow(self, data, size)


cdef enum:
    MOST_DIGITS = 32  # of base 10000
    MOST_WEIGHT = 32
    MOST_SCALE = 256


cdef object load_numeric(LoadTwin self, Bytes data, Py_ssize_t size):
    # A Decimal has no faster constructor than the one from text, so that is written here: all digits up to the
    # units, and `scale` digits of the fraction.
    cdef char text[2 + 4 * (MOST_WEIGHT + 1) + MOST_SCALE + 4]
    cdef Py_ssize_t ndigits, weight, scale, i, stop, written = 0
    cdef uint16_t sign
    if size < 8:
        return slow(self, data, size)
    ndigits = get_uint16(data)
    weight = <int16_t>get_uint16(data + 2)
    sign = get_uint16(data + 4)
    scale = get_uint16(data + 6)
    if (
        ndigits > MOST_DIGITS or size < 8 + 2 * ndigits or (sign != 0 and sign != 0x4000)
        or not -MOST_WEIGHT <= weight <= MOST_WEIGHT or scale > MOST_SCALE
    ):
        return slow(self, data, size)
    for i in range(ndigits):
        if get_uint16(data + 8 + 2 * i) > 9999:
            return slow(self, data, size)
    if sign:
        text[0] = b"-"
        written = 1
    if weight < 0:
        text[written] = b"0"
        written += 1
    # The groups of digits before the first one that was sent, and after the last one, are zeros.
    for i in range(weight + 1):
        write_group(text + written, get_uint16(data + 8 + 2 * i) if i < ndigits else 0)
        written += 4
    if scale:
        text[written] = b"."
        written += 1
        stop = written + scale
        i = weight + 1
        while written < stop:
            write_group(text + written, get_uint16(data + 8 + 2 * i) if 0 <= i < ndigits else 0)
            written += 4
            i += 1
        written = stop
    if sign:
        # Minus zero, which the server has not: so it is no matter how long this takes.
        for i in range(1, written):
            if text[i] != b"0" and text[i] != b".":
                break
        else:
            return slow(self, data, size)
    return PyObject_CallOneArg(Decimal, anyq_ascii(text, written))


cdef inline void write_group(char *text, uint32_t group) noexcept nogil:
    text[0] = <char>(48 + group // 1000)
    text[1] = <char>(48 + group // 100 % 10)
    text[2] = <char>(48 + group // 10 % 10)
    text[3] = <char>(48 + group % 10)


# -- dates and times

cdef int64_t USECS_PER_SECOND = 1_000_000
cdef int64_t USECS_PER_DAY = 86_400_000_000

# Days from 2000-01-01 to 0001-01-01 and to 9999-12-31, which is what Python has.
cdef int64_t FIRST_DAY = -730_119
cdef int64_t LAST_DAY = 2_921_939

cdef object UTC = timezone.utc


cdef inline int64_t floor_div(int64_t number, int64_t divisor) noexcept nogil:
    cdef int64_t quotient = number // divisor
    return quotient - 1 if number % divisor < 0 else quotient


cdef inline void civil_from_days(int64_t days, int *year, int *month, int *day) noexcept nogil:
    """Set the date that is so many days after 2000-01-01; see `anyq.types._datestyle.civil_from_days`."""
    cdef int cycle, day_of_cycle, year_of_cycle, day_of_year, shifted
    days += 730_425
    cycle = <int>floor_div(days, 146_097)
    day_of_cycle = <int>(days - cycle * <int64_t>146_097)
    year_of_cycle = (day_of_cycle - day_of_cycle // 1_460 + day_of_cycle // 36_524 - day_of_cycle // 146_096) // 365
    day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle // 4 - year_of_cycle // 100)
    shifted = (5 * day_of_year + 2) // 153
    day[0] = day_of_year - (153 * shifted + 2) // 5 + 1
    year[0] = year_of_cycle + cycle * 400 + (0 if shifted < 10 else 1)
    month[0] = shifted + 3 if shifted < 10 else shifted - 9


cdef inline int64_t days_from_civil(int year, int month, int day) noexcept nogil:
    """Return the days from 2000-01-01 to a date of the years from 1 on."""
    cdef int year_of_cycle, cycle
    if month < 3:
        year -= 1
        month += 12
    cycle = year // 400
    year_of_cycle = year - cycle * 400
    return (
        cycle * <int64_t>146_097 + year_of_cycle * 365 + year_of_cycle // 4 - year_of_cycle // 100
        + (153 * (month - 3) + 2) // 5 + day - 1 - 730_425
    )


cdef inline int two_digits(Bytes data) noexcept nogil:
    """Return the number that two digits are; 100 or more, or less than 0, if they are none."""
    cdef unsigned char tens = <unsigned char>(data[0] - 48), units = <unsigned char>(data[1] - 48)
    return tens * 10 + units if tens <= 9 and units <= 9 else -10_000


cdef bint parse_date(Bytes data, int *year, int *month, int *day) noexcept nogil:
    """Read the ten characters of a date in ISO style; return False if they are something else."""
    cdef int century = two_digits(data), of_century = two_digits(data + 2)
    if data[4] != b"-" or data[7] != b"-" or century < 0 or of_century < 0:
        return False
    year[0] = century * 100 + of_century
    month[0] = two_digits(data + 5)
    day[0] = two_digits(data + 8)
    return 1 <= month[0] <= 12 and 1 <= day[0] <= days_in_month(year[0], month[0]) and year[0] > 0


cdef inline int days_in_month(int year, int month) noexcept nogil:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef Py_ssize_t parse_clock(Bytes data, Py_ssize_t size, int64_t *usecs) noexcept nogil:
    """Read a time of day; return how many characters it has, 0 if it is something else."""
    cdef int hour, minute, second, fraction = 0, digits = 0
    cdef Py_ssize_t i = 8
    cdef unsigned char digit
    if size < 8 or data[2] != b":" or data[5] != b":":
        return 0
    hour, minute, second = two_digits(data), two_digits(data + 3), two_digits(data + 6)
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60):
        return 0
    if size > 8 and data[8] == b".":
        i = 9
        while i < size and digits < 7:
            digit = <unsigned char>(data[i] - 48)
            if digit > 9:
                break
            fraction = fraction * 10 + digit
            digits += 1
            i += 1
        if not 1 <= digits <= 6:
            return 0
        while digits < 6:
            fraction *= 10
            digits += 1
    usecs[0] = (hour * 3600 + minute * 60 + second) * USECS_PER_SECOND + fraction
    return i


cdef bint parse_offset(Bytes data, Py_ssize_t size, int64_t *seconds) noexcept nogil:
    """Read an offset such as +05:30; return False if it is something else."""
    cdef int hours, minutes = 0, rest = 0
    if (size != 3 and size != 6 and size != 9) or (data[0] != b"+" and data[0] != b"-"):
        return False
    hours = two_digits(data + 1)
    if size > 3:
        minutes = two_digits(data + 4) if data[3] == b":" else -1
    if size > 6:
        rest = two_digits(data + 7) if data[6] == b":" else -1
    if not (0 <= hours < 24 and 0 <= minutes < 60 and 0 <= rest < 60):
        return False
    seconds[0] = hours * 3600 + minutes * 60 + rest
    if data[0] == b"-":
        seconds[0] = -seconds[0]
    return True


cdef object make_date(int64_t days):
    cdef int year = 0, month = 0, day = 0
    civil_from_days(days, &year, &month, &day)
    return date_new(year, month, day)


cdef inline object make_time(int64_t usecs, object zone):
    cdef int seconds = <int>(usecs // USECS_PER_SECOND)
    return time_new(
        seconds // 3600, seconds // 60 % 60, seconds % 60, <int>(usecs % USECS_PER_SECOND), zone
    )


cdef object make_datetime(int64_t usecs, object zone):
    """Return the time that is so many microseconds after 2000-01-01; None if Python has not got its year."""
    cdef int year = 0, month = 0, day = 0, seconds
    cdef int64_t days = floor_div(usecs, USECS_PER_DAY)
    if not FIRST_DAY <= days <= LAST_DAY:
        return None
    usecs -= days * USECS_PER_DAY
    seconds = <int>(usecs // USECS_PER_SECOND)
    civil_from_days(days, &year, &month, &day)
    return datetime_new(
        year, month, day, seconds // 3600, seconds // 60 % 60, seconds % 60, <int>(usecs % USECS_PER_SECOND), zone
    )


cdef object make_timestamptz(LoadTwin self, int64_t usecs):
    """Return an instant in the time zone of the connection; None if Python has not got its year."""
    value = make_datetime(usecs, self.extra)
    if value is None or self.extra is UTC:
        return value
    try:
        # What astimezone() comes down to: a time zone is given the fields in UTC.
        return self.extra.fromutc(value)
    except (ValueError, OverflowError):
        return None


cdef object load_date_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int year = 0, month = 0, day = 0
    if size == 10 and parse_date(data, &year, &month, &day):
        return date_new(year, month, day)
    return slow(self, data, size)


cdef object load_date(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t days
    if size == 4:
        days = <int32_t>get_uint32(data)
        if FIRST_DAY <= days <= LAST_DAY:
            return make_date(days)
    return slow(self, data, size)


cdef object load_time_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0
    if size >= 8 and parse_clock(data, size, &usecs) == size:
        return make_time(usecs, None)
    return slow(self, data, size)


cdef object load_time(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs
    if size == 8:
        usecs = <int64_t>get_uint64(data)
        if 0 <= usecs < USECS_PER_DAY:
            return make_time(usecs, None)
    return slow(self, data, size)


cdef object fixed_zone(int64_t seconds):
    return UTC if seconds == 0 else timezone_new(timedelta_new(0, <int>seconds, 0))


cdef object load_timetz_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0, offset = 0
    cdef Py_ssize_t clock = parse_clock(data, size, &usecs)
    if clock and parse_offset(data + clock, size - clock, &offset):
        return make_time(usecs, fixed_zone(offset))
    return slow(self, data, size)


cdef object load_timetz(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs, west
    if size == 12:
        usecs = <int64_t>get_uint64(data)
        west = <int32_t>get_uint32(data + 8)
        if 0 <= usecs < USECS_PER_DAY and -86_400 < west < 86_400:
            return make_time(usecs, fixed_zone(-west))
    return slow(self, data, size)


cdef Py_ssize_t parse_timestamp(Bytes data, Py_ssize_t size, int64_t *usecs) noexcept nogil:
    """Read a date and a time; return how many characters they have, 0 if it is something else."""
    cdef int year = 0, month = 0, day = 0
    cdef Py_ssize_t clock
    if size < 19 or data[10] != b" " or not parse_date(data, &year, &month, &day):
        return 0
    clock = parse_clock(data + 11, size - 11, usecs)
    usecs[0] += days_from_civil(year, month, day) * USECS_PER_DAY
    return clock + 11 if clock else 0


cdef object load_timestamp_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0
    if size >= 19 and parse_timestamp(data, size, &usecs) == size:
        return make_datetime(usecs, None)
    return slow(self, data, size)


cdef object load_timestamp(LoadTwin self, Bytes data, Py_ssize_t size):
    value = make_datetime(<int64_t>get_uint64(data), None) if size == 8 else None
    return slow(self, data, size) if value is None else value


cdef object load_timestamptz_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs = 0, offset = 0
    cdef Py_ssize_t local = parse_timestamp(data, size, &usecs)
    value = None
    if local and parse_offset(data + local, size - local, &offset):
        value = make_timestamptz(self, usecs - offset * USECS_PER_SECOND)
    return slow(self, data, size) if value is None else value


cdef object load_timestamptz(LoadTwin self, Bytes data, Py_ssize_t size):
    value = make_timestamptz(self, <int64_t>get_uint64(data)) if size == 8 else None
    return slow(self, data, size) if value is None else value


cdef object make_interval(int64_t months, int64_t days, int64_t usecs):
    """Return a timedelta; None if Python has none so long, and for infinity."""
    # The sign of what is left of a year is that of the months, as C divides.
    cdef int64_t whole = floor_div(usecs, USECS_PER_DAY)
    days += months // 12 * 365 + months % 12 * 30 + whole
    usecs -= whole * USECS_PER_DAY
    if not -999_999_999 <= days <= 999_999_999:
        return None
    return timedelta_new(<int>days, <int>(usecs // USECS_PER_SECOND), <int>(usecs % USECS_PER_SECOND))


cdef object load_interval(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef int64_t usecs, days, months
    value = None
    if size == 16:
        usecs = <int64_t>get_uint64(data)
        days = <int32_t>get_uint32(data + 8)
        months = <int32_t>get_uint32(data + 12)
        value = make_interval(months, days, usecs)
    return slow(self, data, size) if value is None else value


cdef object load_interval_text(LoadTwin self, Bytes data, Py_ssize_t size):
    # IntervalStyle postgres, which is the default: "1 year 2 mons -3 days -04:05:06.789".
    cdef int64_t usecs = 0, number, months = 0, days = 0
    cdef Py_ssize_t i = 0, start, clock
    cdef int part = 0
    cdef bint negative
    while i < size:
        start = i
        negative = data[i] == b"-"
        if negative or data[i] == b"+":
            i += 1
        if size - i >= 8 and data[i + 2] == b":":
            clock = parse_clock(data + i, size - i, &usecs)
            if not clock or i + clock != size:
                return slow(self, data, size)
            if negative:
                usecs = -usecs
            i = size
            break
        number = 0
        start = i
        while i < size and 48 <= data[i] <= 57:
            number = number * 10 + (data[i] - 48)
            i += 1
        if not 1 <= i - start <= 9:
            return slow(self, data, size)
        if negative:
            number = -number
        if part < 1 and unit_at(data, size, &i, b" year"):
            months = number * 12
            part = 1
        elif part < 2 and unit_at(data, size, &i, b" mon"):
            months += number
            part = 2
        elif part < 3 and unit_at(data, size, &i, b" day"):
            days = number
            part = 3
        else:
            return slow(self, data, size)
        if i < size:
            # Something must follow the space.
            if data[i] != b" " or i + 1 == size:
                return slow(self, data, size)
            i += 1
    value = make_interval(months, days, usecs) if size else None
    return slow(self, data, size) if value is None else value


cdef bint unit_at(Bytes data, Py_ssize_t size, Py_ssize_t *at, const char *unit) noexcept nogil:
    """Step over the name of a unit, with or without the s of the plural; return False if it is not there."""
    cdef Py_ssize_t i = at[0]
    while unit[0]:
        if i == size or data[i] != <unsigned char>unit[0]:
            return False
        i += 1
        unit += 1
    if i < size and data[i] == b"s":
        i += 1
    at[0] = i
    return True


# -- uuid

cdef PyObject *UUID_TYPE = <PyObject *>UUID
cdef object SAFE_UNKNOWN = SafeUUID.unknown
cdef PyObject *UUID_INT = <PyObject *>UUID.int
cdef PyObject *UUID_IS_SAFE = <PyObject *>UUID.is_safe
_alive = (UUID, UUID.int, UUID.is_safe)


cdef object load_uuid(LoadTwin self, Bytes data, Py_ssize_t size):
    if size != 16:
        return slow(self, data, size)
    number = anyq_uint128(data)
    # The class refuses assignments, so its slots are set as its own __init__ does it.
    value = anyq_new(UUID_TYPE)
    anyq_set_slot(UUID_INT, value, <PyObject *>number)
    anyq_set_slot(UUID_IS_SAFE, value, <PyObject *>SAFE_UNKNOWN)
    return value


cdef object load_uuid_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef unsigned char binary[16]
    cdef unsigned char bad = 0, high, low
    cdef Py_ssize_t i, at = 0
    if size != 36:
        return slow(self, data, size)
    for i in range(16):
        if i == 4 or i == 6 or i == 8 or i == 10:
            if data[at] != b"-":
                return slow(self, data, size)
            at += 1
        high = HEX[data[at]]
        low = HEX[data[at + 1]]
        bad |= high | low
        binary[i] = <unsigned char>(high << 4) | low
        at += 2
    return load_uuid(self, binary, 16) if bad < 16 else slow(self, data, size)


# -- json

cdef object JSON_LOADS = json.loads
cdef object SCAN_JSON = json.JSONDecoder().scan_once
"""What `json.loads` runs at its heart. The rest of it looks for white space and forgotten options."""


cdef object load_json(LoadTwin self, Bytes data, Py_ssize_t size):
    text = PyUnicode_DecodeUTF8(<const char *>data, size, NULL)
    # Asked for at each value, as it may be set at any time.
    loads = self.owner.loads
    if loads is not JSON_LOADS:
        return PyObject_CallOneArg(loads, text)
    try:
        value, stop = SCAN_JSON(text, 0)
        if stop == len(text):
            return value
    except (ValueError, StopIteration, RecursionError):
        pass
    return PyObject_CallOneArg(loads, text)


cdef object load_jsonb(LoadTwin self, Bytes data, Py_ssize_t size):
    if size == 0 or data[0] != 1:
        return slow(self, data, size)
    return load_json(self, data + 1, size - 1)


# -- arrays

cdef enum:
    MOST_DIMENSIONS = 6


cdef object load_array(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Py_ssize_t dims[MOST_DIMENSIONS]
    cdef Py_ssize_t ndim, i, count = 1
    cdef Bytes at
    if size == 12 and get_uint32(data) == 0:
        return []
    if size < 12:
        return slow(self, data, size)
    ndim = <int32_t>get_uint32(data)
    if not 0 < ndim <= MOST_DIMENSIONS or size < 12 + 8 * ndim:
        return slow(self, data, size)
    for i in range(ndim):
        dims[i] = <int32_t>get_uint32(data + 12 + 8 * i)
        # Each item has a length of four bytes: with more items than that there is something wrong.
        if dims[i] <= 0 or dims[i] > size // 4:
            return slow(self, data, size)
        count *= dims[i]
        if count > size // 4:
            return slow(self, data, size)
    item = item_function(self, get_uint32(data + 8))
    at = data + 12 + 8 * ndim
    try:
        value = binary_items(item, &at, data + size, dims, ndim)
    except Exception:
        # It is for the loader in Python to say what is wrong first.
        value = None
    return slow(self, data, size) if value is None or at != data + size else value


cdef object item_function(LoadTwin self, uint32_t oid):
    """Return the load function of the items, remembered until something is registered or the connection changed."""
    tx = self.extra
    # The transformer drops the table with all that is in it.
    functions = tx._load_functions
    if self.seen is not functions or self.item_oid != oid or tx._version != tx._adapters.version:
        self.item = tx.get_load_function(oid, 1)
        self.seen = tx._load_functions
        self.item_oid = oid
    return self.item


cdef list binary_items(object item, Bytes *at, Bytes end, Py_ssize_t *dims, Py_ssize_t ndim):
    """Return the list of one dimension, None where it is not what it should be."""
    cdef Py_ssize_t i, size
    cdef list items = PyList_New(dims[0])
    cdef Bytes data
    if ndim > 1:
        for i in range(dims[0]):
            value = binary_items(item, at, end, dims + 1, ndim - 1)
            if value is None:
                return None
            Py_INCREF(value)
            PyList_SET_ITEM(items, i, value)
        return items
    data = at[0]
    # By far the most frequent one; a call for each of them is noticed.
    cdef bint int4 = type(item) is LoadTwin and (<LoadTwin>item).run == load_int4
    for i in range(dims[0]):
        if end - data < 4:
            return None
        size = <int32_t>get_uint32(data)
        data += 4
        if size < 0:
            value = None
        elif size > end - data:
            return None
        else:
            value = PyLong_FromLong(<int32_t>get_uint32(data)) if int4 and size == 4 else load_item(item, data, size)
            data += size
        Py_INCREF(value)
        PyList_SET_ITEM(items, i, value)
    at[0] = data
    return items


cdef object load_array_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Bytes at = data
    if size < 2 or data[0] != b"{":
        return slow(self, data, size)
    try:
        value = text_items(self, &at, data + size, 1)
    except Exception:
        value = None
    return slow(self, data, size) if value is None or at != data + size else value


cdef list text_items(LoadTwin self, Bytes *at, Bytes end, int depth):
    """Return the list that begins at a brace and step over it, None where it is not what it should be."""
    cdef list items = []
    cdef Bytes data = at[0] + 1
    cdef Bytes start
    cdef unsigned char delimiter = self.delimiter
    if depth > MOST_DIMENSIONS:
        return None
    if data < end and data[0] == b"}":
        at[0] = data + 1
        return items
    while data < end:
        if data[0] == b"{":
            at[0] = data
            value = text_items(self, at, end, depth + 1)
            if value is None:
                return None
            data = at[0]
        elif data[0] == b'"':
            start = data + 1
            data = start
            while data < end and data[0] != b'"' and data[0] != b"\\":
                data += 1
            if data < end and data[0] == b'"':
                value = load_item(self.extra, start, data - start)
                data += 1
            else:
                at[0] = data
                value = escaped_item(self, start, at, end)
                data = at[0]
        else:
            start = data
            while (
                data < end and data[0] != delimiter and data[0] != b"}" and data[0] != b"{" and data[0] != b'"'
                and data[0] != b"\\"
            ):
                data += 1
            if data == start:
                return None
            if data - start == 4 and memcmp(start, "NULL", 4) == 0:
                value = None
            else:
                value = load_item(self.extra, start, data - start)
        PyList_Append(items, value)
        if data == end:
            return None
        if data[0] == b"}":
            at[0] = data + 1
            return items
        if data[0] != delimiter:
            return None
        data += 1
    return None


cdef object escaped_item(LoadTwin self, Bytes start, Bytes *at, Bytes end):
    """Return a quoted item with backslashes in it, and step over its closing quote."""
    cdef bytearray item = bytearray()
    cdef Bytes data = start
    while data < end and data[0] != b'"':
        if data[0] == b"\\":
            data += 1
            if data == end:
                raise ValueError
        item.append(data[0])
        data += 1
    if data == end:
        raise ValueError
    at[0] = data + 1
    value = bytes(item)
    return load_item(self.extra, <Bytes>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))


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
}


def compile_load(load):
    """Return the twin of a load function, the function itself if it has none."""
    name = name_of(load)
    maker = MAKERS.get(name)
    if maker is None:
        return load
    cdef LoadTwin twin = LoadTwin.__new__(LoadTwin)
    twin.run = (<Maker>maker).run
    twin.pure = load
    owner = twin.owner = getattr(load, "__self__", None)
    if name == "load_timestamptz" or name == "load_timestamptz_text":
        twin.extra = owner._timezone
    elif name == "load_json" or name == "load_jsonb":
        # Other encodings are rare enough.
        if owner._encoding != "utf-8":
            return load
    elif name == "load_array":
        twin.extra = owner._tx
    elif name == "load_array_text":
        if not owner._ascii_safe or len(owner._delimiter) != 1:
            return load
        twin.extra = owner._load_item
        twin.delimiter = owner._delimiter[0]
    return twin
