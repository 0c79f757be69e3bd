# Part of loading.pyx: ranges and multiranges. Doubles the marked loaders of `anyq/types/range.py` and
# `anyq/types/multirange.py`, and with them `anyq/types/_range_formats.py`.

@cython.final
cdef class Bounds:
    """What loads the bounds of ranges, and what is made of them."""

    cdef object load
    cdef object cls
    cdef Py_ssize_t lower
    """Where that is in a range, as the others here."""
    cdef Py_ssize_t upper
    cdef Py_ssize_t bounds
    cdef object multirange
    cdef Py_ssize_t ranges

    cdef object made(self, object lower, object upper, object bounds):
        made = anyq_new(<PyObject *>self.cls)
        anyq_fill_slot(made, self.lower, lower)
        anyq_fill_slot(made, self.upper, upper)
        anyq_fill_slot(made, self.bounds, bounds)
        if not PyObject_IS_GC(lower) and not PyObject_IS_GC(upper):
            # No cycle leads through it, and the collector need not look for one: as with tuples.
            PyObject_GC_UnTrack(made)
        return made


cdef Bounds bounds_of(object arguments):
    cdef Bounds bounds = Bounds.__new__(Bounds)
    bounds.load = arguments.load_bound
    classes = arguments.classes
    bounds.cls = classes.ranges[0]
    bounds.lower = slot_offset(classes.lower)
    bounds.upper = slot_offset(classes.upper)
    bounds.bounds = slot_offset(classes.bounds)
    bounds.multirange = classes.multiranges[0]
    bounds.ranges = slot_offset(classes.items)
    return bounds


cdef tuple BOUNDS = ("()", "[)", "(]", "[]")
"""By 1 if the lower one belongs to the range, and 2 if the upper one does."""


cdef object made_multirange(Bounds bounds, list ranges):
    made = anyq_new(<PyObject *>bounds.multirange)
    anyq_fill_slot(made, bounds.ranges, ranges)
    return made


# -- binary: the flags of src/include/utils/rangetypes.h

cdef object load_range(LoadTwin self, Bytes data, Py_ssize_t size):
    value = binary_range(<Bounds>self.extra, data, size)
    return slow(self, data, size) if value is None else value


cdef object binary_range(Bounds bounds, Bytes data, Py_ssize_t size):
    """Return the range, None where it is malformed."""
    cdef Bytes end = data + size
    cdef Bytes lower = NULL
    cdef Bytes upper = NULL
    cdef Py_ssize_t lower_size = 0, upper_size = 0
    cdef int flags
    if size == 0:
        return None
    flags = data[0]
    data += 1
    if flags == 1 and size == 1:
        return bounds.made(None, None, "")
    if flags & 1 or flags > 31:
        return None
    if not flags & 8:
        if end - data < 4:
            return None
        lower_size = <int32_t>get_uint32(data)
        lower = data + 4
        if lower_size < 0 or lower_size > end - lower:
            return None
        data = lower + lower_size
    if not flags & 16:
        if end - data < 4:
            return None
        upper_size = <int32_t>get_uint32(data)
        upper = data + 4
        if upper_size < 0 or upper_size > end - upper:
            return None
        data = upper + upper_size
    if data != end:
        return None
    return bounds.made(
        None if lower == NULL else load_inside(bounds.load, lower, lower_size),
        None if upper == NULL else load_inside(bounds.load, upper, upper_size),
        <object>PyTuple_GET_ITEM(BOUNDS, (flags & 2 and lower != NULL) + 2 * (flags & 4 and upper != NULL)),
    )


cdef object load_multirange(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Bounds bounds = <Bounds>self.extra
    cdef Bytes at = data + 4
    cdef Bytes end = data + size
    cdef Py_ssize_t count, length, i
    cdef list ranges
    if size < 4:
        return slow(self, data, size)
    count = get_uint32(data)
    # Each of them has a length of four bytes.
    if count > size // 4:
        return slow(self, data, size)
    ranges = PyList_New(count)
    for i in range(count):
        if end - at < 4:
            return slow(self, data, size)
        length = <int32_t>get_uint32(at)
        at += 4
        if length < 0 or length > end - at:
            return slow(self, data, size)
        value = binary_range(bounds, at, length)
        if value is None:
            return slow(self, data, size)
        Py_INCREF(value)
        PyList_SET_ITEM(ranges, i, value)
        at += length
    return made_multirange(bounds, ranges) if at == end else slow(self, data, size)


# -- text

cdef object load_range_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Bytes at = data
    value = text_range(<Bounds>self.extra, &at, data + size)
    return slow(self, data, size) if value is None or at != data + size else value


cdef Bytes scan_bound(Bytes at, Bytes end, Part *part) noexcept nogil:
    """As `scan_part`, where brackets are special as well."""
    part.escaped = False
    if at < end and at[0] == b'"':
        return scan_part(at, end, part)
    part.data = at
    while at < end and not is_special(at[0]) and at[0] != b"[" and at[0] != b"]":
        at += 1
    part.size = at - part.data
    if part.size == 0:
        part.data = NULL
    return at


cdef object text_range(Bounds bounds, Bytes *place, Bytes end):
    """Return the range and step over it, None where it is malformed."""
    cdef Bytes at = place[0]
    cdef Part lower, upper
    cdef bint lower_inc, upper_inc
    if end - at < 3:
        return None
    if at[0] != b"[" and at[0] != b"(":
        if end - at < 5 or memcmp(at, "empty", 5) != 0:
            return None
        place[0] = at + 5
        return bounds.made(None, None, "")
    lower_inc = at[0] == b"["
    at = scan_bound(at + 1, end, &lower)
    if at == NULL or at == end or at[0] != b",":
        return None
    at = scan_bound(at + 1, end, &upper)
    if at == NULL or at == end or at[0] != b"]" and at[0] != b")":
        return None
    upper_inc = at[0] == b"]"
    place[0] = at + 1
    lower_inc = lower_inc and lower.data != NULL
    upper_inc = upper_inc and upper.data != NULL
    return bounds.made(
        load_part(bounds.load, &lower),
        load_part(bounds.load, &upper),
        <object>PyTuple_GET_ITEM(BOUNDS, lower_inc + 2 * upper_inc),
    )


cdef object load_multirange_text(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Bounds bounds = <Bounds>self.extra
    cdef Bytes at = data
    cdef Bytes end = data + size
    cdef unsigned char separator = b"{"
    cdef list ranges = []
    if size == 2 and memcmp(data, "{}", 2) == 0:
        return made_multirange(bounds, ranges)
    while at < end and at[0] == separator:
        at += 1
        value = text_range(bounds, &at, end)
        if value is None:
            return slow(self, data, size)
        PyList_Append(ranges, value)
        separator = b","
    if end - at != 1 or at[0] != b"}" or not ranges:
        return slow(self, data, size)
    return made_multirange(bounds, ranges)
