# Part of dumping.pyx: tuples and composites, and what ranges have as well of values inside of values. Doubles the marked
# dumpers of `anyq/types/composite.py`, and `anyq/types/_inside.py` (quote, refuse_loss).

# -- values inside of values

cdef unsigned char INSIDE[256]
"""1 for what is quoted inside of a value, 2 for what is written twice besides."""
for _code in range(256):
    INSIDE[_code] = 2 if chr(_code) in '"\\' else 1 if chr(_code) in "\t\n\v\f\r (),[]" else 0


cdef int quote_inside(Py_ssize_t start, Writer *out) except -1:
    """Quote what has been written from there on, if it needs that inside of another value."""
    cdef Py_ssize_t i, size = out.size - start, twice = 0
    cdef unsigned char found = 0
    cdef unsigned char *text = <unsigned char *>out.data + start
    cdef unsigned char *to
    for i in range(size):
        found |= INSIDE[text[i]]
    if size and not found:
        return 0
    if found & 2:
        for i in range(size):
            twice += INSIDE[text[i]] == 2
    text = <unsigned char *>reserve(out, twice + 2) - size
    to = text + size + twice + 1
    to[0] = b'"'
    for i in range(size - 1, -1, -1):
        to -= 1
        to[0] = text[i]
        if INSIDE[text[i]] == 2:
            to -= 1
            to[0] = text[i]
    text[0] = b'"'
    out.size += twice + 2
    return 0


cdef inline int precision(uint32_t oid, int other) noexcept nogil:
    return 1 if oid == DATE_OID else 2 if oid == TIMESTAMP_OID else 3 if oid == TIMESTAMPTZ_OID else other


cdef inline bint loses(object oid, uint32_t into):
    return precision(oid, 0) > precision(into, 3)


cdef enum:
    MOST_NESTED = 16  # as in `anyq/types/composite.py`


@cython.final
cdef class Nesting:
    cdef public int level


@cython.final
cdef class Inside:
    """The dumpers of values inside of values, as long as nothing is registered."""

    cdef object tx
    cdef Nesting nesting
    cdef object adapters
    cdef object version
    cdef object format
    cdef bint text
    cdef object plans
    cdef dict by_oid
    """What dumps values of each type, in binary format."""
    cdef bint ints
    """Whether ints are dumped as usual, whatever their size."""

    cdef int look(self) except -1:
        """See that nothing has been registered: to be called first for each value."""
        if self.adapters.version != self.version:
            self.version = self.adapters.version
            if self.tx.version != self.version:
                self.tx.clear()
            self.plans = self.tx.dump_plans[self.format]
            self.by_oid = {}
            self.ints = self.are_ints_as_usual()
        return 0

    cdef bint are_ints_as_usual(self) except -1:
        cdef DumpPlan plan
        cdef WriteC write
        for number in (1, 1 << 20, 1 << 40):
            plan = self.plan_of(number)
            write = (<DumpTwin>plan.dump).write if type(plan.dump) is DumpTwin else NULL
            if write != write_int_text and write != write_int2 and write != write_int4 and write != write_int8:
                return False
        return True

    cdef bint write_int(self, object value, object oid, Writer *out) except -1:
        """Write an int of a type, or as text; return False where it is not as usual."""
        if not self.ints or not PyLong_CheckExact(value):
            return False
        if self.text:
            return write_int_text(None, value, out)
        dump = self.dump_of(oid)
        if type(dump) is not DumpTwin:
            return False
        write = (<DumpTwin>dump).write
        # Whatever dumps an int of this size by itself, it is the same.
        if write != write_int2 and write != write_int4 and write != write_int8:
            return False
        return write(<DumpTwin>dump, value, out)

    cdef DumpPlan plan_of(self, object obj):
        """Return the plan of an object, as `Transformer.get_dumper` finds it."""
        cdef PyObject *found = PyDict_GetItemWithError(self.plans, type(obj))
        cdef DumpPlan plan = <DumpPlan>found if found != NULL else self.tx.plan_class(obj, self.format)
        get_key = plan.get_key
        if get_key is None:
            return plan
        if type(get_key) is KeyTwin:
            key = (<KeyTwin>get_key).run(<KeyTwin>get_key, obj, self.format)
        else:
            key = get_key(obj, self.format)
        found = PyDict_GetItemWithError(plan.by_key, key)
        return <DumpPlan>found if found != NULL else self.tx.plan_key(plan, obj, self.format)

    cdef object dump_of(self, object oid):
        """Return what dumps values of a type in binary format, as `Transformer.get_dumper_by_oid` finds it."""
        cdef PyObject *found = PyDict_GetItemWithError(self.by_oid, oid)
        if found != NULL:
            return <object>found
        self.by_oid[oid] = dump = compile_dump(self.tx.get_dumper_by_oid(oid, 1).dump)
        return dump


cdef Inside inside_of(object tx, object format):
    cdef Inside inside = Inside.__new__(Inside)
    inside.tx = tx
    # Where both implementations are in use, each counts for itself.
    inside.nesting = tx.nesting if type(tx.nesting) is Nesting else Nesting()
    inside.adapters = tx.adapters
    inside.format = format
    inside.text = format == "t"
    return inside


# -- composites

@cython.final
cdef class Composite:
    """What is known of a composite type."""

    cdef Inside inside
    cdef bint known
    """Whether there are as many values as types; of a tuple of no type there are any."""
    cdef list oids
    """Of the fields, as they are told."""
    cdef list base_oids
    cdef object make_sequence
    cdef object info
    cdef object dump_field
    """Dumps the field of that number, in binary format."""

    cdef object values(self, object obj):
        """Return a list or tuple of the values, None if there is none."""
        if self.make_sequence is not None and type(obj) is not tuple:
            obj = self.make_sequence(obj, self.info)
        if type(obj) is not list and not anyq_plain_tuple(obj):
            return None
        if self.known and PySequence_Fast_GET_SIZE(obj) != len(self.oids):
            return None
        return obj


cdef Composite composite_of(object arguments):
    cdef Composite composite = Composite.__new__(Composite)
    composite.inside = inside_of(arguments.tx, arguments.format)
    composite.known = arguments.info is not None
    composite.info = arguments.info
    composite.make_sequence = arguments.make_sequence
    composite.dump_field = arguments.dump_field
    if composite.known:
        composite.oids = list(arguments.info.field_types)
        composite.base_oids = list(arguments.info.base_types)
    return composite


cdef int write_composite_text(DumpTwin self, object obj, Writer *out) except -1:
    cdef Py_ssize_t before = out.size
    cdef int written
    cdef Nesting nesting = (<Composite>self.item).inside.nesting
    if nesting.level == MOST_NESTED:
        return 0
    nesting.level += 1
    try:
        values = (<Composite>self.item).values(obj)
        look_again(out)
        written = 0 if values is None else write_fields_text(<Composite>self.item, values, out)
    finally:
        nesting.level -= 1
    if not written:
        out.size = before
    return written


cdef int write_fields_text(Composite composite, object values, Writer *out) except -1:
    cdef Py_ssize_t i = 0, start
    cdef DumpPlan plan
    cdef object value
    cdef int written
    composite.inside.look()
    reserve(out, 1)[0] = b"("
    out.size += 1
    # A dumper may change a list, if it is mad enough.
    while i < PySequence_Fast_GET_SIZE(values):
        value = <object>PySequence_Fast_GET_ITEM(values, i)
        if i:
            reserve(out, 1)[0] = b","
            out.size += 1
        if value is not None and not composite.inside.write_int(value, None, out):
            plan = composite.inside.plan_of(value)
            if composite.known and (i >= len(composite.base_oids) or loses(plan.oid, composite.base_oids[i])):
                return 0
            look_again(out)
            start = out.size
            written = write_item(plan.dump, value, out)
            if written == NO_BYTES:
                return 0
            if written != NULL_VALUE:
                quote_inside(start, out)
        i += 1
    reserve(out, 1)[0] = b")"
    out.size += 1
    return 1


cdef int write_composite(DumpTwin self, object obj, Writer *out) except -1:
    cdef Py_ssize_t before = out.size
    cdef int written
    if Py_EnterRecursiveCall(" while dumping a composite"):
        return -1
    try:
        values = (<Composite>self.item).values(obj)
        look_again(out)
        written = 0 if values is None else write_fields(<Composite>self.item, values, out)
    finally:
        Py_LeaveRecursiveCall()
    if not written:
        out.size = before
    return written


cdef int write_fields(Composite composite, object values, Writer *out) except -1:
    cdef Py_ssize_t i = 0, count = len(composite.oids), start
    cdef int written
    cdef object value
    cdef unsigned char *head
    composite.inside.look()
    put(out, <uint64_t>count, 4)
    while i < count:
        if i >= PySequence_Fast_GET_SIZE(values):
            return 0
        value = <object>PySequence_Fast_GET_ITEM(values, i)
        start = out.size
        reserve(out, 16)
        out.size += 8
        written = NULL_VALUE if value is None else write_field(composite, i, value, out)
        if written == NO_BYTES or out.size - start - 8 > MOST_ITEMS:
            return 0
        head = <unsigned char *>out.data + start
        put_uint32(head, composite.oids[i])
        put_uint32(head + 4, 0xFFFF_FFFF if written == NULL_VALUE else <uint32_t>(out.size - start - 8))
        i += 1
    return 1


cdef int write_field(Composite composite, Py_ssize_t i, object value, Writer *out) except -1:
    cdef PyObject *found = PyDict_GetItemWithError(composite.inside.plans, type(value))
    cdef DumpPlan plan
    if composite.inside.write_int(value, composite.base_oids[i], out):
        return 1
    if found != NULL:
        plan = composite.inside.plan_of(value)
        look_again(out)
        if loses(plan.oid, composite.base_oids[i]):
            return NO_BYTES
        if plan.format == 1 and (plan.oid == composite.base_oids[i] or plan.oid == composite.oids[i]):
            return write_item(plan.dump, value, out)
        return write_item(composite.inside.dump_of(composite.base_oids[i]), value, out)
    # There may be no dumper but that of the field, or none that has been looked for yet.
    data = composite.dump_field(i, value)
    look_again(out)
    return NULL_VALUE if data is None else put_bytes(out, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
