# Part of dumping.pyx: where values are written to, one behind another, as `anyq/_accel/python.py` (Alike) and
# `anyq/types/array.py` join them. A function that writes a value returns 0, having written nothing, where the object is
# not as usual.

cdef enum:
    SMALL = 64  # bytes of most values that are written on their own


cdef struct Writer:
    char *data
    Py_ssize_t size
    Py_ssize_t room
    PyObject *array  # the bytearray that is written to; NULL where it is memory of the writer's own
    char small[SMALL]


cdef inline void begin(Writer *out) noexcept nogil:
    """Write to memory of its own, to be ended with `end`."""
    out.data = out.small
    out.size = 0
    out.room = SMALL
    out.array = NULL


cdef inline void end(Writer *out) noexcept nogil:
    if out.data != out.small:
        free(out.data)


cdef int grow(Writer *out, Py_ssize_t more) except -1:
    cdef char *data
    cdef Py_ssize_t room = (out.size + more) * 2
    if out.array != NULL:
        PyByteArray_Resize(<object>out.array, room)
        out.data = PyByteArray_AS_STRING(<object>out.array)
    else:
        data = <char *>realloc(NULL if out.data == out.small else out.data, room)
        if data == NULL:
            raise MemoryError
        if out.data == out.small:
            memcpy(data, out.small, out.size)
        out.data = data
    out.room = room
    return 0


cdef inline char *reserve(Writer *out, Py_ssize_t more) except NULL:
    """Return where so many bytes may be written; `size` is for the caller to move."""
    if out.room - out.size < more:
        grow(out, more)
    return out.data + out.size


cdef int look_again(Writer *out) except -1:
    """Find the array where it is now: others have run."""
    if out.array != NULL:
        if PyByteArray_GET_SIZE(<object>out.array) != out.room:
            raise RuntimeError("the buffer was changed while a value was dumped")
        out.data = PyByteArray_AS_STRING(<object>out.array)
    return 0


cdef inline void put_uint32(unsigned char *data, uint32_t value) noexcept nogil:
    data[0] = <unsigned char>(value >> 24)
    data[1] = <unsigned char>(value >> 16)
    data[2] = <unsigned char>(value >> 8)
    data[3] = <unsigned char>value


cdef inline int put(Writer *out, uint64_t value, Py_ssize_t size) except -1:
    """Write the lowest `size` bytes of a number."""
    cdef unsigned char data[8]
    put_uint32(data, <uint32_t>(value >> 32))
    put_uint32(data + 4, <uint32_t>value)
    memcpy(reserve(out, size), data + 8 - size, size)
    out.size += size
    return 1


cdef inline int put_bytes(Writer *out, const char *data, Py_ssize_t size) except -1:
    memcpy(reserve(out, size), data, size)
    out.size += size
    return 1


cdef object dump_written(DumpTwin self, object obj):
    """Dump what there is a function for that writes."""
    cdef Writer out
    cdef bint written = False
    begin(&out)
    try:
        try:
            written = self.write(self, obj, &out)
        except Exception:
            # It comes again from the function in Python, with its message.
            pass
        if written:
            return PyBytes_FromStringAndSize(out.data, out.size)
    finally:
        end(&out)
    return slow(self, obj)


cdef enum:
    NULL_VALUE = 2
    NO_BYTES = 3


cdef int write_item(object function, object obj, Writer *out) except -1:
    """Write what a dump function makes of an object; return 1, or NULL_VALUE or NO_BYTES, having written nothing."""
    cdef DumpTwin twin
    if type(function) is DumpTwin:
        twin = <DumpTwin>function
        if twin.write(twin, obj, out):
            return 1
        value = slow(twin, obj)
    else:
        value = PyObject_CallOneArg(function, obj)
    look_again(out)
    if value is None:
        return NULL_VALUE
    if not PyBytes_CheckExact(value):
        return NO_BYTES
    return put_bytes(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
