# Part of dumping.pyx: lists of one dimension. Doubles the marked dumpers of `anyq/types/array.py`.

cdef struct Writer:
    char *data
    size_t size
    size_t room


cdef int reserve(Writer *out, size_t more) except -1:
    """Make sure that there is room for so many bytes more."""
    cdef char *data
    if out.room - out.size < more:
        out.room = (out.size + more) * 2
        data = <char *>realloc(out.data, out.room)
        if data == NULL:
            raise MemoryError
        out.data = data
    return 0


cdef object dump_list_text(DumpTwin self, object obj):
    """Write a list of one dimension; anything else, and anything that fails, is for the dumper in Python."""
    cdef Writer out
    if type(obj) is not list or len(<list>obj) == 0:
        return slow(self, obj)
    out.data = NULL
    out.size = out.room = 0
    try:
        if write_items(self, <list>obj, &out):
            return PyBytes_FromStringAndSize(out.data, out.size)
    except Exception:
        pass
    finally:
        free(out.data)
    return slow(self, obj)


cdef bint write_items(DumpTwin self, list items, Writer *out) except -1:
    cdef Py_ssize_t i = 0
    cdef long long number = 0
    cdef char text[24]
    cdef char *start
    cdef bint ints = type(self.item) is DumpTwin and (<DumpTwin>self.item).run == dump_int_text
    while i < len(items):
        obj = items[i]
        reserve(out, 32)
        out.data[out.size] = self.delimiter if i else b"{"
        out.size += 1
        i += 1
        if obj is None:
            value = None
        elif isinstance(obj, list) or self.item is None:
            return False
        elif ints and PyLong_CheckExact(obj) and anyq_fits(obj, &number):
            start = write_int(text + 24, number)
            memcpy(out.data + out.size, start, text + 24 - start)
            out.size += text + 24 - start
            continue
        else:
            value = dump_item(self.item, obj)
        if value is None:
            memcpy(out.data + out.size, b"NULL", 4)
            out.size += 4
        elif not PyBytes_CheckExact(value):
            return False
        else:
            write_token(self, <const unsigned char *>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), out)
    reserve(out, 1)
    out.data[out.size] = b"}"
    out.size += 1
    return True


cdef int write_token(DumpTwin self, const unsigned char *value, Py_ssize_t size, Writer *out) except -1:
    cdef Py_ssize_t i
    cdef unsigned char code
    cdef bint quotes = not self.never_quoted and (
        size == 0 or (size == 4 and value[0] | 32 == b"n" and value[1] | 32 == b"u" and value[2] | 32 == b"l"
                      and value[3] | 32 == b"l")
    )
    if not self.never_quoted:
        for i in range(size):
            code = value[i]
            # Blanks are 9 to 13 and 32.
            if (
                code <= 32 and (code == 32 or 9 <= code <= 13) or code == b"{" or code == b"}" or code == b'"'
                or code == b"\\" or code == self.delimiter
            ):
                quotes = True
                break
    reserve(out, 2 * size + 2 if quotes else size)
    if not quotes:
        memcpy(out.data + out.size, value, size)
        out.size += size
        return 0
    out.data[out.size] = b'"'
    out.size += 1
    for i in range(size):
        if value[i] == b'"' or value[i] == b"\\":
            out.data[out.size] = b"\\"
            out.size += 1
        out.data[out.size] = <char>value[i]
        out.size += 1
    out.data[out.size] = b'"'
    out.size += 1
    return 0


cdef object dump_list(DumpTwin self, object obj):
    cdef Writer out
    if type(obj) is not list or len(<list>obj) == 0:
        return slow(self, obj)
    out.data = NULL
    out.size = out.room = 0
    try:
        if write_binary_items(self, <list>obj, &out):
            return PyBytes_FromStringAndSize(out.data, out.size)
    except Exception:
        pass
    finally:
        free(out.data)
    return slow(self, obj)


cdef bint write_binary_items(DumpTwin self, list items, Writer *out) except -1:
    cdef Py_ssize_t i = 0, size
    cdef bint nulls = False
    reserve(out, 20 + 12 * len(items))
    put_uint32(<unsigned char *>out.data, 1)
    put_uint32(<unsigned char *>out.data + 8, self.item_oid)
    put_uint32(<unsigned char *>out.data + 16, 1)
    out.size = 20
    while i < len(items):
        obj = items[i]
        i += 1
        if obj is None:
            value = None
        elif isinstance(obj, list) or self.item is None:
            return False
        else:
            value = dump_item(self.item, obj)
        if value is None:
            nulls = True
            reserve(out, 4)
            put_uint32(<unsigned char *>out.data + out.size, 0xFFFFFFFF)
            out.size += 4
        elif not PyBytes_CheckExact(value):
            return False
        else:
            size = PyBytes_GET_SIZE(value)
            if size > 0x7FFFFFFF:
                return False
            reserve(out, 4 + size)
            put_uint32(<unsigned char *>out.data + out.size, <uint32_t>size)
            memcpy(out.data + out.size + 4, PyBytes_AS_STRING(value), size)
            out.size += 4 + size
    if i > 0x7FFFFFFF:
        return False
    put_uint32(<unsigned char *>out.data + 4, nulls)
    put_uint32(<unsigned char *>out.data + 12, <uint32_t>i)
    return True
