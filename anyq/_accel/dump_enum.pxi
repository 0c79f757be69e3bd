# Part of dumping.pyx: enums. Doubles the marked dumpers of `anyq/types/enum.py`.

@cython.final
cdef class Labels:
    """What the members of an enum were dumped as. They are compared as they are: an enum hashes its members in Python."""

    cdef object cls
    cdef list members
    cdef list labels
    """At the place of each member, or at the next one that was free."""
    cdef size_t mask
    cdef Py_ssize_t room
    """How many more there may be: half of the places are free, so that a search soon comes to an end."""

    def __init__(self, cls):
        cdef Py_ssize_t places = 4
        self.cls = cls
        self.room = len(cls.__members__)
        while places < 2 * self.room:
            places *= 2
        self.members = [None] * places
        self.labels = [None] * places
        self.mask = <size_t>places - 1

    cdef size_t place(self, object member):
        """Return where a member is, or where it has to be put."""
        cdef size_t place = <size_t><PyObject *>member
        place = ((place >> 4) ^ (place >> 9)) & self.mask
        while self.members[place] is not member and self.members[place] is not None:
            place = (place + 1) & self.mask
        return place


cdef int write_enum(DumpTwin self, object obj, Writer *out) except -1:
    cdef Labels known = <Labels>self.item
    cdef size_t place
    if type(obj) is not known.cls:
        return 0
    place = known.place(obj)
    label = known.labels[place]
    if label is None:
        if known.room <= 0:
            return 0
        label = slow(self, obj)
        look_again(out)
        if not PyBytes_CheckExact(label):
            return 0
        # That one ran Python code, which may have dumped others.
        place = known.place(obj)
        known.room -= known.members[place] is None
        known.members[place] = obj
        known.labels[place] = label
    return put_bytes(out, PyBytes_AS_STRING(label), PyBytes_GET_SIZE(label))
