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


cdef struct Survey:
    PyTypeObject *cls  # of the first item that is not None; borrowed from it
    PyObject *plan
    PyObject *get_key  # a KeyTwin, NULL where the class decides alone
    PyObject *key  # of the first, where all must have the same; borrowed from the twin
    bint ints
    long long low
    long long high


cdef object key_list(KeyTwin self, object obj, object format):
    """Find the dumper of the items of a list that has one class of them, without a copy of the list."""
    cdef Py_ssize_t dims[MOST_DIMENSIONS]
    cdef Py_ssize_t ndim
    cdef Survey survey
    cdef PyObject *found
    cdef DumpPlan plan
    tx = self.tx
    if type(obj) is not list or tx.version != tx.adapters.version:
        return self.pure(obj, format)
    item_format = self.item_formats[format]
    ndim = measure(<list>obj, dims)
    survey.cls = NULL
    if not ndim or not look_at(tx.dump_plans[item_format], <list>obj, dims, ndim, &survey) or survey.cls == NULL:
        return key_list_of_ranges(self, <list>obj, format, item_format)
    plan = <DumpPlan>survey.plan
    if survey.get_key == NULL:
        return (self.cls, plan.dumper)
    if survey.ints:
        # As `IntDumper.common_item`.
        number = survey.high if survey.high >= ~survey.low else survey.low
        key = (<KeyTwin>survey.get_key).run(<KeyTwin>survey.get_key, number, item_format)
    else:
        key = <object>survey.key
    found = PyDict_GetItemWithError(plan.by_key, key)
    # The one that is found when the first such list was dumped.
    return (self.cls, (<DumpPlan>found).dumper) if found != NULL else self.pure(obj, format)


cdef int look_at(dict plans, list items, Py_ssize_t *dims, Py_ssize_t ndim, Survey *survey) except -1:
    """Look at the items of one dimension; return 0 where they are not all alike."""
    cdef Py_ssize_t i
    cdef long long value = 0
    cdef PyObject *item
    cdef object key
    if len(items) != dims[0]:
        return 0
    # No Python code runs in here that could change the list.
    for i in range(dims[0]):
        item = PyList_GET_ITEM(items, i)
        if ndim > 1:
            if type(<object>item) is not list or not look_at(plans, <list>item, dims + 1, ndim - 1, survey):
                return 0
            continue
        if item == <PyObject *>None:
            continue
        if survey.cls == NULL:
            if not meet(plans, <object>item, survey):
                return 0
        if Py_TYPE(<object>item) != survey.cls:
            return 0
        if survey.ints:
            if not anyq_fits(<object>item, &value):
                return 0
            if value < survey.low:
                survey.low = value
            if value > survey.high:
                survey.high = value
        elif survey.get_key != NULL:
            key = key_aware(<KeyTwin>survey.get_key, <object>item, None)
            if survey.key == NULL:
                survey.key = <PyObject *>key
            elif survey.key != <PyObject *>key:
                return 0
    return 1


cdef int meet(dict plans, object first, Survey *survey) except -1:
    """Look at the first item; return 0 if lists of such ones are not as usual."""
    cdef PyObject *found
    cdef object get_key
    cdef KeyTwin twin
    if isinstance(first, list):
        return 0
    found = PyDict_GetItemWithError(plans, type(first))
    if found == NULL:
        return 0
    get_key = (<DumpPlan>found).get_key
    survey.plan = found
    survey.cls = Py_TYPE(first)
    survey.get_key = survey.key = NULL
    survey.ints = False
    if get_key is None:
        return 1
    if type(get_key) is not KeyTwin or not (<KeyTwin>get_key).is_common:
        return 0
    twin = <KeyTwin>get_key
    survey.get_key = <PyObject *>get_key
    if twin.run == key_int:
        survey.ints = True
        return PyLong_CheckExact(first) and anyq_fits(first, &survey.low) and anyq_fits(first, &survey.high)
    # Those have one of two keys that the twin holds, as long as no Python code has to be asked.
    return twin.run == key_aware and (type(first) is DATETIME or type(first) is TIME)
