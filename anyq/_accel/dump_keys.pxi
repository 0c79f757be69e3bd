# Part of dumping.pyx: what tells objects of a class apart. Doubles the marked `get_key` of `anyq/types/numeric.py`,
# `anyq/types/_datetime_dumpers.py` and `anyq/types/array.py`.

cdef object key_int(KeyTwin self, object obj, object format):
    cdef long long value = 0
    if not PyLong_CheckExact(obj):
        return self.pure(obj, format)
    if not anyq_fits(obj, &value):
        return self.keys[3]
    if -0x8000 <= value <= 0x7FFF:
        return self.keys[0]
    return self.keys[1] if -0x8000_0000LL <= value <= 0x7FFF_FFFFLL else self.keys[2]


cdef object key_aware(KeyTwin self, object obj, object format):
    """Return the first key for what has no time zone, the second for what has."""
    if type(obj) is DATETIME or type(obj) is TIME:
        return self.keys[0] if obj.tzinfo is None else self.keys[1]
    return self.pure(obj, format)


cdef object key_list(KeyTwin self, object obj, object format):
    """Find the dumper of the items of a list that has one class of them, without a copy of the list."""
    cdef Py_ssize_t i
    cdef long long value = 0, low = 0, high = 0
    cdef object first = None, item, tx, get_key
    cdef PyObject *found
    cdef DumpPlan plan
    cdef bint ints
    if type(obj) is not list:
        return self.pure(obj, format)
    for item in <list>obj:
        if item is not None:
            first = item
            break
    if first is None or isinstance(first, list):
        return self.pure(obj, format)
    tx = self.tx
    if tx.version != tx.adapters.version:
        return self.pure(obj, format)
    found = PyDict_GetItemWithError(tx.dump_plans[self.item_format], type(first))
    if found == NULL:
        return self.pure(obj, format)
    plan = <DumpPlan>found
    get_key = plan.get_key
    ints = type(get_key) is KeyTwin and (<KeyTwin>get_key).run == key_int and PyLong_CheckExact(first)
    if get_key is not None and not ints:
        return self.pure(obj, format)
    if ints:
        anyq_fits(first, &low)
        high = low
    for item in <list>obj:
        if item is None:
            continue
        if type(item) is not type(first):
            return self.pure(obj, format)
        if ints:
            if not anyq_fits(item, &value):
                return self.pure(obj, format)
            if value < low:
                low = value
            if value > high:
                high = value
    if ints:
        # As `IntDumper.common_item`.
        return (self.cls, tx.get_dumper(high if high >= ~low else low, self.item_format))
    return (self.cls, plan.dumper)
