"""The compiled twin of what makes rows of tuples: objects of classes, what functions return, named tuples, dictionaries.

Doubles `anyq/_accel/python.py` (args_maker, kwargs_maker, namedtuple_maker, dict_maker, make_rows).

Knows how CPython calls, and how it makes an object of an ordinary class. Whatever is not as usual (values that are no
tuple, more columns than there is room for) is called as it is written in Python. Must not know results or cursors.

The values of a row are the arguments as they lie in its tuple, or as pointers to them beside each other: there is no
dictionary for a row, and no tuple of arguments.
"""

cimport cython
from cpython.object cimport PyObject

cdef extern from *:
    """
    /* The `__init__` that a call of a class comes to, if that is a function, and all else of the call is making an
       empty object; NULL if it is not so. Borrowed. */
    static PyObject *anyq_init_of(PyObject *cls, PyObject *name) {
        PyTypeObject *type = (PyTypeObject *)cls;
        PyObject *init;
        if (Py_TYPE(cls)->tp_call != PyType_Type.tp_call || type->tp_vectorcall
            || type->tp_new != PyBaseObject_Type.tp_new) return NULL;
        init = _PyType_Lookup(type, name);
        return init && PyFunction_Check(init) ? init : NULL;
    }
    static PyObject *anyq_interned(PyObject *name) {
        Py_INCREF(name);
        PyUnicode_InternInPlace(&name);
        return name;
    }
    static PyObject *anyq_new_object(PyObject *cls, PyObject *nothing) {
        return PyBaseObject_Type.tp_new((PyTypeObject *)cls, nothing, NULL);
    }
    /* The code of a function, None of anything else. Borrowed. */
    static PyObject *anyq_code_of(PyObject *callable) {
        return PyFunction_Check(callable) ? PyFunction_GET_CODE(callable) : Py_None;
    }
    /* How many parameters may be given by position; 0 if more than the first `most` may not be given by name. */
    static Py_ssize_t anyq_parameters_of(PyObject *code, int most) {
        return ((PyCodeObject *)code)->co_posonlyargcount > most ? 0 : ((PyCodeObject *)code)->co_argcount;
    }
    static PyObject **anyq_values_of(PyObject *row) {
        return ((PyTupleObject *)row)->ob_item;
    }
    /* A tuple of a subclass. */
    static PyObject *anyq_tuple_of(PyObject *cls, PyObject **values, Py_ssize_t size) {
        PyObject *made = ((PyTypeObject *)cls)->tp_alloc((PyTypeObject *)cls, size);
        Py_ssize_t i;
        if (!made) return NULL;
    #if PY_VERSION_HEX >= 0x030E0000
        ((PyTupleObject *)made)->ob_hash = -1;
    #endif
        for (i = 0; i < size; i++) {
            Py_INCREF(values[i]);
            PyTuple_SET_ITEM(made, i, values[i]);
        }
        return made;
    }
    """
    PyObject *anyq_init_of(object cls, object name)
    object anyq_new_object(object cls, tuple nothing)
    PyObject *anyq_code_of(object callable)
    Py_ssize_t anyq_parameters_of(object code, int most)
    PyObject **anyq_values_of(tuple row)
    object anyq_tuple_of(object cls, PyObject **values, Py_ssize_t size)
    str anyq_interned(object name)

cdef extern from "Python.h":
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET
    bint PyFunction_Check(object)
    int PyDict_SetItem(dict, PyObject *, PyObject *) except -1
    dict PyDict_Copy(dict)
    Py_ssize_t PyTuple_GET_SIZE(tuple)
    PyObject *PyTuple_GET_ITEM(tuple, Py_ssize_t)
    object PyObject_Vectorcall(object callable, PyObject **args, size_t nargsf, PyObject *names)

cdef enum:
    ROOM = 64  # arguments that are put in order on the stack; few tables have more columns

cdef str INIT = "__init__"

ctypedef object (*MakeC)(RowMaker self, PyObject **values, Py_ssize_t size)


@cython.final
cdef class RowMaker:
    """What makes a row of its values. `run` does, of as many of them as there are names, if there are any."""

    cdef MakeC run
    cdef Py_ssize_t columns
    """How many values there are, -1 if any number will do."""
    cdef object func
    """What is called; the class of named tuples."""
    cdef tuple names
    """The columns'; None if arguments have no names."""
    cdef dict keys
    """The names, each once, with the number of its value: the last one of those that share it."""

    cdef object code
    """That of the function that the call comes to, None if that is no function: what follows depends on it."""
    cdef unsigned char order[ROOM]
    """Which value each argument is."""
    cdef Py_ssize_t arguments
    cdef bint as_they_come
    """Whether that is their own order."""
    cdef Py_ssize_t positional
    cdef tuple keywords
    """The names of the arguments behind those."""

    def __call__(self, values):
        if type(values) is tuple:
            return make(self, <tuple>values)
        return self.make_pure(values)

    cdef object make_pure(self, values):
        """Make a row of anything else than as many values as there are names, in a tuple."""
        if self.run == run_dict:
            return dict(zip(self.names, values))
        if self.run == run_namedtuple:
            return self.func._make(values)
        return self.func(*values) if self.names is None else self.func(**dict(zip(self.names, values)))

    cdef int plan(self, object function, bint has_self) except -1:
        """Decide which arguments go by position: a function is told faster so which value is which parameter's."""
        cdef object code = <object>anyq_code_of(function)
        cdef tuple parameters = None
        cdef Py_ssize_t last = 0, first = has_self, count = 0, columns = self.columns
        cdef list order
        if code is not None:
            last = anyq_parameters_of(code, has_self)
            parameters = code.co_varnames
            if len(self.keys) == columns:
                while count < columns and first + count < last and parameters[first + count] is self.names[count]:
                    count += 1
        if count < columns or not columns:
            by_name = dict(self.keys)
            order = []
            for count in range(first, last):
                if parameters[count] not in by_name:
                    break
                order.append(by_name.pop(parameters[count]))
            self.positional = len(order)
            self.keywords = tuple(by_name)
            order += by_name.values()
            for count in range(len(order)):
                self.order[count] = order[count]
            self.arguments = len(order)
            self.as_they_come = order == list(range(columns))
        else:
            self.positional = self.arguments = columns
            self.keywords = ()
            self.as_they_come = True
        self.code = code
        return 0


cdef inline object make(RowMaker self, tuple row):
    cdef Py_ssize_t size = PyTuple_GET_SIZE(row)
    if size != self.columns and self.columns >= 0:
        return self.make_pure(row)
    return self.run(self, anyq_values_of(row), size)


cdef object run_pure(RowMaker self, PyObject **values, Py_ssize_t size):
    return self.make_pure(tuple([<object>values[i] for i in range(size)]))


cdef object run_call(RowMaker self, PyObject **values, Py_ssize_t size):
    """Call what is to be called.

    Where a class is as most are, its `__init__` is called directly with an object that is empty, as `type.__call__`
    would do, which makes a tuple and a dictionary of the arguments. Each time it is looked whether that is so: classes
    may be changed. That nothing of `self` is used after the call began is for the same reason.
    """
    cdef PyObject *stack[ROOM + 2]
    cdef PyObject **args = values
    cdef PyObject *init
    cdef object function = self.func, instance = None, result
    cdef tuple keywords = None
    cdef Py_ssize_t i, positional = size
    cdef size_t flag = 0
    cdef bint has_self = False
    if isinstance(function, type):
        init = anyq_init_of(function, INIT)
        if init != NULL and size <= ROOM:
            # Before anything is allocated, as that may run code which changes the class.
            function = <object>init
            instance = anyq_new_object(self.func, ())
            has_self = True
    if self.keys is not None:
        if anyq_code_of(function) != <PyObject *>self.code:
            self.plan(function, has_self)
        positional = self.positional
        if PyTuple_GET_SIZE(self.keywords):
            keywords = self.keywords
        size = self.arguments
    if has_self or not self.as_they_come:
        # The place before them is for what is called, to put an argument of its own there.
        args = stack + 1
        flag = PY_VECTORCALL_ARGUMENTS_OFFSET
        if has_self:
            args[0] = <PyObject *>instance
        if self.as_they_come:
            for i in range(size):
                args[i + has_self] = values[i]
        else:
            for i in range(size):
                args[i + has_self] = values[self.order[i]]
    result = PyObject_Vectorcall(
        function, args, (positional + has_self) | flag, NULL if keywords is None else <PyObject *>keywords
    )
    if not has_self:
        return result
    if result is not None:
        raise TypeError(f"__init__() should return None, not '{type(result).__name__:.200}'")
    return instance


cdef object run_namedtuple(RowMaker self, PyObject **values, Py_ssize_t size):
    return anyq_tuple_of(self.func, values, size)


cdef object run_dict(RowMaker self, PyObject **values, Py_ssize_t size):
    """Copy a dictionary that has the keys, which is faster than making one."""
    cdef Py_ssize_t i
    cdef dict row = PyDict_Copy(self.keys)
    # Names of columns that are there twice are set twice.
    for i in range(size):
        PyDict_SetItem(row, PyTuple_GET_ITEM(self.names, i), values[i])
    return row


def args_maker(func):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    maker.run = run_call
    maker.func = func
    maker.columns = -1
    maker.as_they_come = True
    return maker


def kwargs_maker(func, names):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    cdef Py_ssize_t number = 0
    cdef dict keys = {}
    maker.func = func
    maker.run = run_pure
    maker.names = tuple(names)
    maker.columns = len(maker.names)
    if maker.columns > ROOM:
        return maker
    for name in maker.names:
        if type(name) is not str:
            return maker
        keys[anyq_interned(name)] = number
        number += 1
    if len(keys) == number:
        # The ones that are interned, to be compared by their addresses.
        maker.names = tuple(keys)
    maker.keys = keys
    maker.run = run_call
    maker.code = maker  # not planned yet
    return maker


def namedtuple_maker(cls):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    maker.run = run_namedtuple
    maker.func = cls
    maker.columns = len(cls._fields)
    return maker


def dict_maker(names):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    maker.run = run_dict
    maker.names = tuple(names)
    maker.columns = len(maker.names)
    maker.keys = dict.fromkeys(maker.names)
    return maker


@cython.boundscheck(True)  # others could find the list by the garbage collector
def make_rows(maker, list rows not None, left):
    cdef Py_ssize_t number = 0
    cdef object row
    if type(maker) is not RowMaker:
        return [maker(row) for row in left]
    # In their place: what a tuple took can be given to an object at once.
    for row in left:
        rows[number] = make(<RowMaker>maker, <tuple>row) if type(row) is tuple else maker(row)
        number += 1
    return rows
