"""Where objects of classes with `__slots__` have what is in them.

Knows the descriptors of slots. Doubles the access to attributes of `anyq/types/_range_values.py`.
"""

cdef extern from *:
    """
    #include <structmember.h>
    /* Where the slot of a descriptor is in an object, -1 if it is no such descriptor. */
    static Py_ssize_t anyq_slot_offset(PyObject *descriptor) {
        PyMemberDef *member;
        if (Py_TYPE(descriptor) != &PyMemberDescr_Type) return -1;
        member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX ? member->offset : -1;
    }
    """
    Py_ssize_t anyq_slot_offset(object descriptor)


cdef inline Py_ssize_t slot_offset(object descriptor) except -1:
    cdef Py_ssize_t offset = anyq_slot_offset(descriptor)
    if offset < 0:
        raise TypeError(f"{descriptor!r} is no slot")
    return offset
