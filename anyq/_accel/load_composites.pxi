# Part of loading.pyx: composites and records, and the values in quotes that ranges have as well. Doubles the marked
# loaders of `anyq/types/composite.py`, and `anyq/types/_inside.py` (unquote).

# -- values inside of values, in text format

cdef struct Part:
    Bytes data  # NULL where there is none
    Py_ssize_t size
    bint escaped  # whether there are quotes or backslashes in it, which are written twice


cdef inline bint is_special(unsigned char code) noexcept nogil:
    """Return whether a value has to be in quotes that this is in."""
    return code == b'"' or code == b"\\" or code == b"(" or code == b")" or code == b","


cdef Bytes scan_part(Bytes at, Bytes end, Part *part) noexcept nogil:
    """Find out where a value ends and return that; NULL if there is no end."""
    part.escaped = False
    if at == end or at[0] != b'"':
        part.data = at
        while at < end and not is_special(at[0]):
            at += 1
        part.size = at - part.data
        if part.size == 0:
            part.data = NULL
        return at
    at += 1
    part.data = at
    while at < end:
        if at[0] == b'"':
            if end - at == 1 or at[1] != b'"':
                part.size = at - part.data
                return at + 1
            part.escaped = True
            at += 2
        elif at[0] == b"\\":
            part.escaped = True
            at += 2
        else:
            at += 1
    return NULL


cdef bytes unescaped(Part *part, Py_ssize_t *size):
    """Return what was in quotes, without what is written twice: its first `size` bytes are that."""
    cdef bytes value = PyBytes_FromStringAndSize(NULL, part.size)
    cdef unsigned char *start = <unsigned char *>PyBytes_AS_STRING(value)
    cdef unsigned char *to = start
    cdef Bytes at = part.data
    cdef Bytes end = part.data + part.size
    while at < end:
        if at[0] == b'"' or at[0] == b"\\":
            at += 1
        to[0] = at[0]
        to += 1
        at += 1
    size[0] = to - start
    return value


cdef object load_inside(object function, Bytes data, Py_ssize_t size):
    """Load a value that is inside of another one."""
    try:
        return load_item(function, data, size)
    except Exception as ex:
        raise load_failure(function, PyBytes_FromStringAndSize(<const char *>data, size), ex)


cdef object load_part(object function, Part *part):
    cdef Py_ssize_t size = 0
    cdef bytes value
    if part.data == NULL:
        return None
    if not part.escaped:
        return load_inside(function, part.data, part.size)
    value = unescaped(part, &size)
    return load_inside(function, <Bytes>PyBytes_AS_STRING(value), size)


# -- what is made of the fields

@cython.final
cdef class Fields:
    """What loads the fields of a composite, and what is made of them."""

    cdef object find
    """Returns the functions: asked at the first value, and for records at each that has other types in it."""
    cdef tuple functions
    cdef bytes oids
    """Those of the fields, as they stand in the value. Those of the last record."""
    cdef bint any
    """Whether they may be others."""
    cdef object cls
    """The class of named tuples, or None."""
    cdef object factory
    """What is called with the values otherwise, or None."""
    cdef object make_object
    """What is called with a list of them and with `info`, or None."""
    cdef object info

    cdef object made(self, tuple values):
        global PASS
        if self.make_object is None and self.factory is None:
            return values
        PASS = 0
        if self.make_object is not None:
            return self.make_object(list(values), self.info)
        return PyObject_CallObject(self.factory, values)


cdef Fields fields_of(object arguments):
    cdef Fields fields = Fields.__new__(Fields)
    fields.find = arguments.find_functions
    fields.any = arguments.oids is None
    fields.oids = b"" if fields.any else b"".join([oid.to_bytes(4, "big") for oid in arguments.oids])
    fields.cls = arguments.cls
    fields.factory = arguments.factory
    fields.make_object = arguments.make_object
    fields.info = arguments.info
    return fields


cdef inline tuple new_fields(Fields fields, Py_ssize_t count):
    if fields.cls is None:
        return PyTuple_New(count)
    return anyq_new_tuple(<PyObject *>fields.cls, count)


# -- binary

cdef object load_composite(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Fields fields = <Fields>self.extra
    cdef Bytes at = data + 4
    cdef Bytes end = data + size
    cdef Py_ssize_t count, length, i
    cdef bint known
    cdef Bytes oids
    cdef tuple functions, values
    if size < 4:
        return slow(self, data, size)
    count = get_uint32(data)
    if count > size // 8:
        return slow(self, data, size)
    # All of it is looked at, before anything is loaded.
    known = PyBytes_GET_SIZE(fields.oids) == 4 * count
    oids = <Bytes>PyBytes_AS_STRING(fields.oids)
    for i in range(count):
        if end - at < 8:
            return slow(self, data, size)
        known = known and memcmp(at, oids + 4 * i, 4) == 0
        length = <int32_t>get_uint32(at + 4)
        at += 8
        if length > end - at:
            return slow(self, data, size)
        if length > 0:
            at += length
    if at != end or not (known or fields.any):
        return slow(self, data, size)
    if not known or fields.functions is None:
        find_functions(fields, data, count)
    # It may be replaced while a field is loaded, which can be a record of the same kind.
    functions = fields.functions
    values = new_fields(fields, count)
    at = data + 4
    for i in range(count):
        length = <int32_t>get_uint32(at + 4)
        at += 8
        if length < 0:
            value = None
        else:
            value = load_inside(<object>PyTuple_GET_ITEM(functions, i), at, length)
            at += length
        Py_INCREF(value)
        PyTuple_SET_ITEM(values, i, value)
    return values if fields.cls is not None else fields.made(values)


cdef int find_functions(Fields fields, Bytes data, Py_ssize_t count) except -1:
    """Ask for what loads the fields of a value that has been looked at."""
    cdef Bytes at = data + 4
    cdef Py_ssize_t i
    cdef list oids = []
    if not fields.any:
        fields.functions = tuple(fields.find())
        return 0
    for i in range(count):
        oids.append(get_uint32(at))
        at += 8 + max(0, <int32_t>get_uint32(at + 4))
    fields.functions = tuple(fields.find(tuple(oids)))
    fields.oids = b"".join([oid.to_bytes(4, "big") for oid in oids])
    return 0


# -- text

cdef enum:
    FEW = 32


cdef object load_composite_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Fields fields = <Fields>self.extra
    cdef Part few[FEW]
    cdef Part *parts = few
    cdef Py_ssize_t count = 1, found, i
    if size < 2 or data[0] != b"(" or data[size - 1] != b")":
        return slow(self, data, size)
    if fields.any:
        # As many as there could be.
        for i in range(size):
            count += data[i] == b","
    else:
        count = PyBytes_GET_SIZE(fields.oids) // 4
    if count > FEW:
        parts = <Part *>malloc(count * sizeof(Part))
        if parts == NULL:
            raise MemoryError
    try:
        found = scan_record(data + 1, data + size - 1, parts, count)
        if found < 0 or not fields.any and found != count:
            return slow(self, data, size)
        if fields.functions is None:
            fields.functions = tuple(fields.find())
        return text_fields(fields, parts, found)
    finally:
        if parts != few:
            free(parts)


cdef Py_ssize_t scan_record(Bytes at, Bytes end, Part *parts, Py_ssize_t most) noexcept nogil:
    """Find the fields between the parentheses and return how many there are; -1 if it is malformed, or has more."""
    cdef Py_ssize_t count = 0
    while count < most:
        at = scan_part(at, end, &parts[count])
        count += 1
        if at == NULL:
            return -1
        if at == end:
            return count
        if at[0] != b",":
            return -1
        at += 1
    return -1


cdef object text_fields(Fields fields, Part *parts, Py_ssize_t count):
    cdef tuple functions = fields.functions
    cdef object function = functions[0] if fields.any else None
    cdef tuple values = new_fields(fields, count)
    cdef Py_ssize_t i
    for i in range(count):
        if not fields.any:
            function = <object>PyTuple_GET_ITEM(functions, i)
        value = load_part(function, &parts[i])
        Py_INCREF(value)
        PyTuple_SET_ITEM(values, i, value)
    return values if fields.cls is not None else fields.made(values)
