# Part of loading.pyx: arrays. Doubles the marked loaders of `anyq/types/array.py`.

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
    if type(item) is LoadTwin and (<LoadTwin>item).run == load_array:
        # Items are no arrays: a server that says so could go on as deep as it likes.
        return slow(self, data, size)
    at = data + 12 + 8 * ndim
    try:
        value = binary_items(item, &at, data + size, dims, ndim)
    except Exception as ex:
        # It is for the loader in Python to say what is wrong first. It loads the items once more: not where these have
        # items of their own, or they would be loaded twice as often for each level.
        if delegates(item):
            raise load_failure(item, PyBytes_FromStringAndSize(<const char *>data, size), ex)
        value = None
    return slow(self, data, size) if value is None or at != data + size else value


cdef bint delegates(object item):
    if type(item) is LoadTwin:
        return isinstance((<LoadTwin>item).extra, (Fields, Bounds))
    return getattr(getattr(item, "__self__", None), "delegates", False)


cdef object item_function(LoadTwin self, uint32_t oid):
    """Return the load function of the items, remembered until something is registered or the connection changed."""
    if PASS and self.at_pass == PASS and self.item_oid == oid:
        return self.item
    tx = self.extra
    # The transformer drops the table with all that is in it.
    functions = tx.load_functions
    if self.seen is not functions or self.item_oid != oid or tx.version != tx.adapters.version:
        self.item = tx.get_load_function(oid, 1)
        self.seen = tx.load_functions
        self.item_oid = oid
    self.at_pass = PASS
    return self.item


cdef list binary_items(object item, Bytes *at, Bytes end, Py_ssize_t *dims, Py_ssize_t ndim):
    """Return the list of one dimension, None where it is not what it should be."""
    cdef Py_ssize_t i = 0, size
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
    # By far the most frequent ones; a call for each of them is noticed.
    cdef LoadC run = (<LoadTwin>item).run if type(item) is LoadTwin else NULL
    while i < dims[0]:
        if run == load_int4:
            i = anyq_int4_items(items, i, &data, end)
        elif run == load_text:
            i = anyq_text_items(items, i, &data, end)
        if i == dims[0]:
            break
        if end - data < 4:
            return None
        size = <int32_t>get_uint32(data)
        data += 4
        if size < 0:
            value = None
        elif size > end - data:
            return None
        else:
            value = load_item(item, data, size)
            data += size
        Py_INCREF(value)
        PyList_SET_ITEM(items, i, value)
        i += 1
    at[0] = data
    return items


cdef object load_array_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Bytes at = data
    if size < 2 or data[0] != b"{":
        return slow(self, data, size)
    try:
        value = text_items(self, &at, data + size, 1)
    except Torn:
        value = None
    except Exception as ex:
        if delegates(self.extra):
            raise load_failure(self.extra, PyBytes_FromStringAndSize(<const char *>data, size), ex)
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


class Torn(ValueError):
    """An array that ends within a quoted item."""


cdef object escaped_item(LoadTwin self, Bytes start, Bytes *at, Bytes end):
    """Return a quoted item with backslashes in it, and step over its closing quote."""
    cdef bytearray item = bytearray()
    cdef Bytes data = start
    while data < end and data[0] != b'"':
        if data[0] == b"\\":
            data += 1
            if data == end:
                raise Torn
        item.append(data[0])
        data += 1
    if data == end:
        raise Torn
    at[0] = data + 1
    value = bytes(item)
    return load_item(self.extra, <Bytes>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
