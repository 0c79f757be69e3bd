# Part of dumping.pyx: ranges and multiranges, and which type they are of. Doubles the marked functions of
# `anyq/types/_range_bounds.py`, `anyq/types/range.py` and `anyq/types/multirange.py`, and with them
# `anyq/types/_range_formats.py`.

@cython.final
cdef class Bounds:
    """What is known of a dumper of ranges or multiranges."""

    cdef Inside inside
    cdef object oid
    """That of the type; 0 where it is found by the bounds."""
    cdef object subtype_oid
    cdef object dump_bound
    """Dumps a bound, in the dumper's format."""
    cdef tuple classes
    """Those of ranges: their slots are what their properties say."""
    cdef Py_ssize_t lower
    """Where that is in one of them, as the others here."""
    cdef Py_ssize_t upper
    cdef Py_ssize_t brackets
    cdef tuple multiranges
    """Those of multiranges."""
    cdef Py_ssize_t ranges

    cdef list ranges_of(self, object obj):
        """Return the ranges of a multirange; None where it is not as usual."""
        cdef object item
        if not is_one_of(obj, self.multiranges):
            return None
        ranges = slot(obj, self.ranges)
        if type(ranges) is not list:
            return None
        for item in <list>ranges:
            if not is_one_of(item, self.classes):
                return None
        return <list>ranges


cdef inline object slot(object obj, Py_ssize_t offset):
    cdef PyObject *found = anyq_get_slot(obj, offset)
    if found == NULL:
        # What was never initialised says so.
        str(obj)
        raise AttributeError
    return <object>found


cdef Bounds bounds_of(object arguments):
    cdef Bounds bounds = Bounds.__new__(Bounds)
    bounds.inside = inside_of(arguments.tx, arguments.format)
    bounds.oid = arguments.oid
    bounds.subtype_oid = arguments.subtype_oid
    bounds.dump_bound = arguments.dump_bound
    classes = arguments.classes
    bounds.classes = classes.ranges
    bounds.lower = slot_offset(classes.lower)
    bounds.upper = slot_offset(classes.upper)
    bounds.brackets = slot_offset(classes.bounds)
    bounds.multiranges = classes.multiranges
    bounds.ranges = slot_offset(classes.items)
    return bounds


cdef inline bint is_one_of(object obj, tuple classes):
    cdef Py_ssize_t i
    for i in range(len(classes)):
        if <PyObject *>Py_TYPE(obj) == PyTuple_GET_ITEM(classes, i):
            return True
    return False


# -- which type

cdef struct Common:
    PyTypeObject *cls  # of all bounds so far; borrowed from the first of them
    PyObject *plan  # NULL for ints, whose size does not matter
    PyObject *key  # owned by the plan's table


cdef object key_bounds(KeyTwin self, object obj, object format):
    cdef Bounds bounds = <Bounds>self.item
    cdef Common common
    cdef object item
    cdef list ranges
    cdef DumpPlan plan
    if bounds.oid:
        return self.cls
    tx = bounds.inside.tx
    if tx.version != bounds.inside.adapters.version:
        return self.pure(obj, format)
    plans = tx.dump_plans[format]
    common.cls = NULL
    common.plan = NULL
    if is_one_of(obj, bounds.classes):
        if not look_at_bounds(bounds, obj, format, plans, &common):
            return self.pure(obj, format)
    else:
        ranges = bounds.ranges_of(obj)
        if ranges is None:
            return self.pure(obj, format)
        for item in ranges:
            if not look_at_bounds(bounds, item, format, plans, &common):
                return self.pure(obj, format)
    if common.cls == NULL:
        return (self.cls, None)
    if common.plan == NULL:
        return (self.cls, 0)
    plan = <DumpPlan>common.plan
    return (self.cls, plan.oid or (TEXT_OID if common.cls == <PyTypeObject *>str else 0))


cdef bint look_at_bounds(Bounds bounds, object obj, object format, object plans, Common *common) except -1:
    """Return whether the bounds are dumped like those before."""
    return look_at_bound(slot(obj, bounds.lower), format, plans, common) and look_at_bound(
        slot(obj, bounds.upper), format, plans, common
    )


cdef bint look_at_bound(object value, object format, object plans, Common *common) except -1:
    cdef PyObject *found
    cdef DumpPlan plan
    cdef KeyTwin twin
    if value is None:
        return True
    if common.cls != NULL and common.cls != Py_TYPE(value):
        return False
    if PyLong_CheckExact(value):
        common.cls = Py_TYPE(value)
        return True
    if isinstance(value, str) and type(value) is not str:
        return False
    found = PyDict_GetItemWithError(plans, type(value))
    if found == NULL:
        return False
    plan = <DumpPlan>found
    if plan.get_key is not None:
        if type(plan.get_key) is not KeyTwin or not (<KeyTwin>plan.get_key).is_common:
            return False
        twin = <KeyTwin>plan.get_key
        found = PyDict_GetItemWithError(plan.by_key, twin.run(twin, value, format))
        if found == NULL:
            return False
    if common.cls != NULL and common.plan != found:
        return False
    common.cls = Py_TYPE(value)
    common.plan = found
    return True


cdef object key_list_of_ranges(KeyTwin self, list items, object format, object item_format):
    """Find the dumper of the items of a list of ranges or multiranges that are all of one type."""
    cdef DumpPlan plan = None
    cdef KeyTwin twin = None
    cdef PyObject *found
    cdef object item, first = None, key = None
    cdef Py_ssize_t i = 0
    while i < len(items):
        item = items[i]
        i += 1
        if item is None:
            continue
        if first is None:
            first = item
            found = PyDict_GetItemWithError(self.tx.dump_plans[item_format], type(item))
            if found == NULL or type((<DumpPlan>found).get_key) is not KeyTwin:
                break
            plan = <DumpPlan>found
            twin = <KeyTwin>plan.get_key
            if twin.run != key_bounds or not twin.is_common:
                break
            key = twin.run(twin, item, item_format)
        elif type(item) is not type(first) or twin.run(twin, item, item_format) != key:
            break
    else:
        if first is not None:
            found = PyDict_GetItemWithError(plan.by_key, key)
            if found != NULL:
                return (self.cls, (<DumpPlan>found).dumper)
    return self.pure(items, format)


# -- a bound

cdef int write_bound(Bounds bounds, object value, Writer *out) except -1:
    """As `write_item`."""
    cdef DumpPlan plan
    if bounds.inside.write_int(value, bounds.subtype_oid, out):
        return 1
    plan = bounds.inside.plan_of(value)
    look_again(out)
    if loses(plan.oid, bounds.subtype_oid):
        return NO_BYTES
    if bounds.inside.text or plan.oid == bounds.subtype_oid:
        return write_item(plan.dump, value, out)
    if bounds.subtype_oid == NUMERIC_OID:
        data = bounds.dump_bound(value)
        look_again(out)
        return put_bytes(out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return write_item(bounds.inside.dump_of(bounds.subtype_oid), value, out)


cdef enum:
    NAIVE = 1
    AWARE = 2


cdef int zone_of(object value):
    """Return whether a bound is naive or aware, 0 for what is neither. They must not be mixed."""
    if not PyObject_TypeCheck(value, <PyTypeObject *>DATETIME):
        return 0
    return NAIVE if value.tzinfo is None else AWARE


# -- text

cdef int write_range_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef Bounds bounds = <Bounds>self.item
    cdef Py_ssize_t before = out.size
    cdef int zones = 0
    if not is_one_of(obj, bounds.classes):
        return 0
    bounds.inside.look()
    if write_text_of(bounds, obj, out, &zones):
        return 1
    out.size = before
    return 0


cdef int write_multirange_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef Bounds bounds = <Bounds>self.item
    cdef Py_ssize_t before = out.size, i
    cdef int zones = 0
    cdef list ranges = bounds.ranges_of(obj)
    if ranges is None:
        return 0
    bounds.inside.look()
    ranges = list(ranges)
    for i in range(len(ranges)):
        reserve(out, 2)[0] = b"," if i else b"{"
        out.size += 1
        if not write_text_of(bounds, ranges[i], out, &zones):
            out.size = before
            return 0
    return put_bytes(out, b"}", 1) if ranges else put_bytes(out, b"{}", 2)


cdef int write_text_of(Bounds bounds, object obj, Writer *out, int *zones) except -1:
    """Write a range of a class that is known; return 0 where it is not as usual."""
    cdef const char *brackets
    cdef int side
    cdef Py_ssize_t start
    text = slot(obj, bounds.brackets)
    if not PyUnicode_CheckExact(text):
        return 0
    if PyUnicode_GET_LENGTH(text) != 2 or not anyq_is_ascii(text):
        return 0 if PyUnicode_GET_LENGTH(text) else put_bytes(out, b"empty", 5)
    brackets = anyq_ascii_data(text)
    put_bytes(out, brackets, 1)
    for side in range(2):
        value = slot(obj, bounds.upper if side else bounds.lower)
        if value is not None:
            zones[0] |= zone_of(value)
            if zones[0] == NAIVE | AWARE:
                return 0
            start = out.size
            if write_bound(bounds, value, out) != 1:
                return 0
            if not PyLong_CheckExact(value):
                quote_inside(start, out)
        if side == 0:
            put_bytes(out, b",", 1)
    put_bytes(out, brackets + 1, 1)
    return 1


# -- binary: the flags of src/include/utils/rangetypes.h

cdef int write_range(DumpTwin self, object obj, Writer *out) except -1:
    cdef Bounds bounds = <Bounds>self.item
    cdef Py_ssize_t before = out.size
    cdef int zones = 0
    if not is_one_of(obj, bounds.classes):
        return 0
    bounds.inside.look()
    if write_binary_of(bounds, obj, out, &zones):
        return 1
    out.size = before
    return 0


cdef int write_multirange(DumpTwin self, object obj, Writer *out) except -1:
    cdef Bounds bounds = <Bounds>self.item
    cdef Py_ssize_t before = out.size, start
    cdef int zones = 0
    cdef list ranges = bounds.ranges_of(obj)
    if ranges is None or len(ranges) > MOST_ITEMS:
        return 0
    bounds.inside.look()
    ranges = list(ranges)
    put(out, <uint64_t>len(ranges), 4)
    for item in ranges:
        start = out.size
        put(out, 0, 4)
        if not write_binary_of(bounds, item, out, &zones) or out.size - start - 4 > MOST_ITEMS:
            out.size = before
            return 0
        put_uint32(<unsigned char *>out.data + start, <uint32_t>(out.size - start - 4))
    return 1


cdef int write_binary_of(Bounds bounds, object obj, Writer *out, int *zones) except -1:
    """Write a range of a class that is known; return 0 where it is not as usual."""
    cdef const char *brackets
    cdef int side
    cdef unsigned char flags
    cdef Py_ssize_t flags_at = out.size, start
    text = slot(obj, bounds.brackets)
    if not PyUnicode_CheckExact(text):
        return 0
    if PyUnicode_GET_LENGTH(text) != 2 or not anyq_is_ascii(text):
        return 0 if PyUnicode_GET_LENGTH(text) else put(out, 1, 1)
    brackets = anyq_ascii_data(text)
    flags = (2 if brackets[0] == b"[" else 0) | (4 if brackets[1] == b"]" else 0)
    put(out, 0, 1)
    for side in range(2):
        value = slot(obj, bounds.upper if side else bounds.lower)
        if value is None:
            flags |= 16 if side else 8
            continue
        zones[0] |= zone_of(value)
        if zones[0] == NAIVE | AWARE:
            return 0
        start = out.size
        put(out, 0, 4)
        if write_bound(bounds, value, out) != 1 or out.size - start - 4 > MOST_ITEMS:
            return 0
        put_uint32(<unsigned char *>out.data + start, <uint32_t>(out.size - start - 4))
    out.data[flags_at] = <char>flags
    return 1
