# Part of loading.pyx: enums. Doubles the marked loader of `anyq/types/enum.py`.

@cython.final
cdef class Members:
    """The members that labels were loaded as, by the bytes of the label: no bytes object is made to look one up."""

    cdef list labels
    cdef list members
    """At the place of each label, or at the next one that was free."""
    cdef uint32_t mask
    cdef Py_ssize_t room
    """How many more there may be: half of the places are free, so that a search soon comes to an end."""

    def __init__(self, Py_ssize_t count):
        cdef Py_ssize_t places = 4
        while places < 2 * count:
            places *= 2
        self.labels = [None] * places
        self.members = [None] * places
        self.mask = <uint32_t>places - 1
        self.room = count

    cdef uint32_t place(self, Bytes data, Py_ssize_t size):
        """Return where a label is, or where it has to be put."""
        cdef uint32_t place = 2166136261
        cdef Py_ssize_t i
        for i in range(size):
            # FNV-1a
            place = (place ^ data[i]) * 16777619
        place = (place ^ (place >> 15)) & self.mask
        while True:
            label = self.labels[place]
            if label is None or (
                PyBytes_GET_SIZE(label) == size and memcmp(PyBytes_AS_STRING(label), data, size) == 0
            ):
                return place
            place = (place + 1) & self.mask


cdef object load_enum(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef Members known = <Members>self.extra
    cdef uint32_t place = known.place(data, size)
    if known.labels[place] is not None:
        return known.members[place]
    value = slow(self, data, size)
    if known.room > 0:
        # That one ran Python code, which may have loaded others.
        place = known.place(data, size)
        known.room -= known.labels[place] is None
        known.labels[place] = PyBytes_FromStringAndSize(<const char *>data, size)
        known.members[place] = value
    return value
