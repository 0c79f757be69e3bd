"""Where objects of classes with `__slots__` have what is in them.

Knows the descriptors of slots. Doubles the access to attributes of `anyq/types/_range_values.py`; that to those of other
people's objects (`attribute`) is what the interpreter does itself.
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


cdef extern from *:
    """
    #include <structmember.h>
    /* Where an attribute was the last time: in a slot of objects of that very class, if it is in one. A class that has
       been changed since has another version, as one in the place of another one has. */
    typedef struct { PyTypeObject *type; unsigned int version; Py_ssize_t offset; } anyq_place;
    static void anyq_find(PyTypeObject *type, PyObject *name, anyq_place *place) {
        PyObject *descriptor = _PyType_Lookup(type, name);
        place->type = type->tp_version_tag ? type : NULL;
        place->version = type->tp_version_tag;
        place->offset = 0;
        if (descriptor && Py_TYPE(descriptor) == &PyMemberDescr_Type && type->tp_getattro == PyObject_GenericGetAttr) {
            PyMemberDef *member = ((PyMemberDescrObject *)descriptor)->d_member;
            if (member->type == T_OBJECT_EX) place->offset = member->offset;
        }
    }
    static inline PyObject *anyq_attribute(PyObject *object, PyObject *name, anyq_place *place) {
        PyObject *value;
        if (Py_TYPE(object) != place->type || place->type->tp_version_tag != place->version)
            anyq_find(Py_TYPE(object), name, place);
        if (place->offset && (value = *(PyObject **)((char *)object + place->offset)))
            return Py_NewRef(value);
        return PyObject_GetAttr(object, name);
    }
    """
    ctypedef struct place "anyq_place":
        pass
    object attribute "anyq_attribute" (object object, object name, place *place)
