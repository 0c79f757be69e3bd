# Part of dumping.pyx: lists. Doubles the marked dumpers of `anyq/types/array.py`.

cdef enum:
    MOST_DIMENSIONS = 6


cdef Py_ssize_t MOST_ITEMS = 0x7FFF_FFFF


cdef Py_ssize_t measure(list items, Py_ssize_t *dims):
    """Find the length of each dimension, by the first item of each; return how many there are, 0 for an unusual list."""
    cdef Py_ssize_t ndim = 0
    while ndim < MOST_DIMENSIONS:
        dims[ndim] = len(items)
        if not 0 < dims[ndim] <= MOST_ITEMS:
            return 0
        ndim += 1
        if type(items[0]) is not list:
            return ndim
        items = <list>items[0]
    return 0


cdef int write_list_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef Py_ssize_t dims[MOST_DIMENSIONS]
    cdef Py_ssize_t start = out.size, ndim
    if type(obj) is not list:
        return 0
    ndim = measure(<list>obj, dims)
    if ndim and write_items(self, <list>obj, dims, ndim, out):
        return 1
    out.size = start
    return 0


cdef int write_items(DumpTwin self, list items, Py_ssize_t *dims, Py_ssize_t ndim, Writer *out) except -1:
    """Write the items of one dimension in braces; return 0 where one is not as usual."""
    cdef Py_ssize_t i = 0, start
    cdef int written
    if len(items) != dims[0]:
        return 0
    reserve(out, 1)[0] = b"{"
    out.size += 1
    # A dumper may change the list, if it is mad enough.
    while i < len(items):
        if i:
            reserve(out, 1)[0] = <char>self.delimiter
            out.size += 1
        obj = items[i]
        i += 1
        if ndim > 1:
            if type(obj) is not list or not write_items(self, <list>obj, dims + 1, ndim - 1, out):
                return 0
            continue
        start = out.size
        if obj is None:
            written = NULL_VALUE
        elif self.item is None or isinstance(obj, list):
            return 0
        else:
            written = write_item(self.item, obj, out)
        if written == NULL_VALUE:
            put_bytes(out, b"NULL", 4)
        elif written == NO_BYTES:
            return 0
        elif not self.never_quoted:
            quote_token(self, start, out)
    reserve(out, 1)[0] = b"}"
    out.size += 1
    return i == dims[0]


cdef inline bint is_null(const unsigned char *value) noexcept nogil:
    return value[0] | 32 == b"n" and value[1] | 32 == b"u" and value[2] | 32 == b"l" and value[3] | 32 == b"l"


cdef unsigned char SPECIAL[256]
"""1 for what is quoted: blanks (9 to 13 and 32) and braces, 2 for what is escaped besides."""
for _code in range(256):
    SPECIAL[_code] = 2 if chr(_code) in '"\\' else 1 if chr(_code) in "\t\n\v\f\r {}" else 0


cdef int quote_token(DumpTwin self, Py_ssize_t start, Writer *out) except -1:
    """Quote what has been written from there on, if it needs that."""
    cdef Py_ssize_t i, size = out.size - start, escapes = 0
    cdef unsigned char found = 0, delimiter = self.delimiter
    cdef unsigned char *text = <unsigned char *>out.data + start
    cdef unsigned char *to
    for i in range(size):
        found |= SPECIAL[text[i]] | (text[i] == delimiter)
    if not found and size and not (size == 4 and is_null(text)):
        return 0
    if found & 2:
        for i in range(size):
            escapes += SPECIAL[text[i]] == 2
    reserve(out, escapes + 2)
    text = <unsigned char *>out.data + start
    to = text + size + escapes + 1
    to[0] = b'"'
    if escapes:
        for i in range(size - 1, -1, -1):
            to -= 1
            to[0] = text[i]
            if SPECIAL[text[i]] == 2:
                to -= 1
                to[0] = b"\\"
    else:
        memmove(text + 1, text, size)
    text[0] = b'"'
    out.size += escapes + 2
    return 0


cdef int write_list(DumpTwin self, object obj, Writer *out) except -1:
    cdef Py_ssize_t dims[MOST_DIMENSIONS]
    cdef Py_ssize_t start = out.size, ndim, i
    cdef unsigned char *head
    cdef bint nulls = False
    if type(obj) is not list:
        return 0
    ndim = measure(<list>obj, dims)
    if not ndim:
        return 0
    reserve(out, 12 + 8 * ndim)
    out.size += 12 + 8 * ndim
    if not write_binary_items(self, <list>obj, dims, ndim, out, &nulls):
        out.size = start
        return 0
    head = <unsigned char *>out.data + start
    put_uint32(head, <uint32_t>ndim)
    put_uint32(head + 4, nulls)
    put_uint32(head + 8, self.item_oid)
    for i in range(ndim):
        put_uint32(head + 12 + 8 * i, <uint32_t>dims[i])
        put_uint32(head + 16 + 8 * i, 1)
    return 1


cdef int write_binary_items(
    DumpTwin self, list items, Py_ssize_t *dims, Py_ssize_t ndim, Writer *out, bint *nulls
) except -1:
    cdef Py_ssize_t i = 0, start
    cdef int written
    if len(items) != dims[0]:
        return 0
    while i < len(items):
        obj = items[i]
        i += 1
        if ndim > 1:
            if type(obj) is not list or not write_binary_items(self, <list>obj, dims + 1, ndim - 1, out, nulls):
                return 0
            continue
        start = out.size
        reserve(out, 12)
        out.size += 4
        if obj is None:
            written = NULL_VALUE
        elif self.item is None or isinstance(obj, list):
            return 0
        else:
            written = write_item(self.item, obj, out)
        if written == NO_BYTES or out.size - start - 4 > MOST_ITEMS:
            return 0
        if written == NULL_VALUE:
            nulls[0] = True
        put_uint32(
            <unsigned char *>out.data + start, 0xFFFF_FFFF if written == NULL_VALUE else <uint32_t>(out.size - start - 4)
        )
    return i == dims[0]
