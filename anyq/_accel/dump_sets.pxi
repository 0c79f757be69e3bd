# Part of dumping.pyx: sets of parameters. Doubles `anyq/_accel/python.py` (Alike, bind_sets).

cdef Py_ssize_t LIMIT = MAX_MESSAGE_LENGTH

cdef enum:
    USUAL = 16  # bytes of most values, with their length


@cython.final
cdef class Alike:  # what is in it is said in dumping.pxd
    """What sets of parameters must be like to be bound to one statement alike, and what is around their values."""

    def __init__(self, tx, tuple formats not None, tuple oids not None, wire, bytes statement not None, results, after):
        count = len(formats)
        numbers = [count, *wire, count]
        self.adapters = tx.adapters
        self.version = self.adapters.version
        self.formats = formats
        self.oids = oids
        self.wire = list(wire)
        self.head = b"\0" + statement + b"\0" + b"".join([number.to_bytes(2, "big") for number in numbers])
        self.tail = b"".join([number.to_bytes(2, "big") for number in (len(results), *results)]) + after
        self.rest = 2 + 2 * len(results)
        self.tables = [tx.dump_plans[format] for format in formats]

    cpdef bint bind(self, bytearray out, object params) except -1:
        """Append the Bind of a set and what goes behind it; return whether it was like the others, else append nothing."""
        if out is None:
            raise TypeError("there is nothing to append to")
        cdef Py_ssize_t old = PyByteArray_GET_SIZE(out)
        cdef bint taken = False
        if type(params) is not tuple and type(params) is not list:
            return False
        if attribute(self.adapters, "version", &anyq_at_version) != self.version:
            return False
        try:
            taken = self.append(out, params, old)
        except Exception:
            # It comes again from the function in Python, with a better message.
            pass
        if not taken:
            PyByteArray_Resize(out, old)
        return taken

    cdef bint append(self, bytearray array, object params, Py_ssize_t old) except -1:
        cdef Py_ssize_t i, count = len(self.formats), size, start
        cdef object obj, get_key, key
        cdef DumpPlan plan
        cdef PyObject *found
        cdef Writer out
        cdef int written
        if PySequence_Fast_GET_SIZE(params) != count:
            return False
        out.array = <PyObject *>array
        out.data = PyByteArray_AS_STRING(array)
        out.size = out.room = old
        # Room for most values at once.
        reserve(&out, 5 + PyBytes_GET_SIZE(self.head) + count * USUAL + PyBytes_GET_SIZE(self.tail))[0] = b"B"
        out.size += 5
        put_bytes(&out, PyBytes_AS_STRING(self.head), PyBytes_GET_SIZE(self.head))
        for i in range(count):
            # A dumper may change the sequence, if it is mad enough.
            if i >= PySequence_Fast_GET_SIZE(params):
                return False
            obj = <object>PySequence_Fast_GET_ITEM(params, i)
            if obj is None:
                if self.oids[i] != 0 or self.wire[i] != 0:
                    return False
                put(&out, <uint32_t>-1, 4)
                continue
            found = PyDict_GetItemWithError(self.tables[i], type(obj))
            if found == NULL:
                return False
            plan = <DumpPlan>found
            get_key = plan.get_key
            if get_key is not None:
                if type(get_key) is not KeyTwin:
                    return False
                key = (<KeyTwin>get_key).run(<KeyTwin>get_key, obj, self.formats[i])
                found = <PyObject *>plan.by_key
                found = PyDict_GetItemWithError(<object>found, key)
                if found == NULL:
                    return False
                plan = <DumpPlan>found
            if plan.oid != self.oids[i] or plan.format != self.wire[i]:
                return False
            start = out.size
            reserve(&out, 4)
            out.size += 4
            found = <PyObject *>plan.dump
            written = write_item(<object>found, obj, &out)
            size = out.size - start - 4
            if written != 1 or size > LIMIT:
                return False
            put_uint32(<unsigned char *>out.data + start, <uint32_t>size)
        size = out.size + self.rest - old - 1
        if size > LIMIT:
            return False
        put_uint32(<unsigned char *>out.data + old + 1, <uint32_t>size)
        put_bytes(&out, PyBytes_AS_STRING(self.tail), PyBytes_GET_SIZE(self.tail))
        PyByteArray_Resize(array, out.size)
        return True


def bind_sets(bytearray out not None, sets, Py_ssize_t most, Py_ssize_t size, add):
    cdef Py_ssize_t count = 0
    cdef Alike alike = None
    for params in sets:
        if alike is None or not alike.bind(out, params):
            known = add(out, params)
            alike = None if known is None else Alike(*known)
        count += 1
        if count == most or PyByteArray_GET_SIZE(out) >= size:
            break
    return count
