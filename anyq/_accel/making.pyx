"""The compiled twin of what makes rows of tuples: objects of classes, what functions return, named tuples, dictionaries.

Doubles `anyq/_accel/python.py` (args_maker, kwargs_maker, namedtuple_maker, dict_maker, make_rows).

Knows how CPython calls, and how it makes an object of an ordinary class. Whatever is not as usual (values that are no
tuple, more columns than there is room for) is called as it is written in Python. Must not know results or cursors.

The values of a row are the arguments as they lie in its tuple, or as pointers to them beside each other: there is no
dictionary for a row, and no tuple of arguments.
"""

cimport cython
from cpython.object cimport PyObject

from sys import intern

cdef extern from *:
    """
    #ifndef Py_TPFLAGS_IS_ABSTRACT
    #define Py_TPFLAGS_IS_ABSTRACT (1UL << 20)
    #endif
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
    static PyObject *anyq_new_object(PyObject *cls, PyObject *nothing) {
        return PyBaseObject_Type.tp_new((PyTypeObject *)cls, nothing, NULL);
    }
    /* The code of a function, None of anything else. Borrowed. */
    static PyObject *anyq_code_of(PyObject *callable) {
        return PyFunction_Check(callable) ? PyFunction_GET_CODE(callable) : Py_None;
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
    PyObject **anyq_values_of(tuple row)
    object anyq_tuple_of(object cls, PyObject **values, Py_ssize_t size)

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

cdef str INIT = intern("__init__")

ctypedef object (*MakeC)(RowMaker self, PyObject **values, Py_ssize_t size)


@cython.final
cdef class RowMaker:
    """What makes a row of its values. `run` does, of as many of them as there are names, if there are any."""

    cdef MakeC run
    cdef object pure
    """What makes it of anything else: of values that are no tuple, for one."""
    cdef Py_ssize_t columns
    """How many values there are, -1 if any number will do."""
    cdef object func
    """What is called; the class of named tuples."""
    cdef dict keys
    """A dictionary with the names, to be copied."""
    cdef tuple names
    """The columns', each once; None if arguments have no names."""
    cdef Py_ssize_t picks[ROOM]
    """Which value each name has: the last one of those that share it."""

    cdef object code
    """That of the function that the call comes to: what follows depends on it."""
    cdef Py_ssize_t order[ROOM]
    """Which value each argument is."""
    cdef bint as_they_come
    """Whether that is their own order."""
    cdef Py_ssize_t positional
    cdef tuple keywords
    """The names of the arguments behind those."""

    def __call__(self, values):
        if type(values) is tuple:
            return make(self, <tuple>values)
        return self.pure(values)

    cdef int plan(self, object function, bint has_self) except -1:
        """Decide which arguments go by position: a function is told faster so which value is which parameter's."""
        cdef object code = <object>anyq_code_of(function)
        cdef list names = list(self.names), order = [self.picks[i] for i in range(len(self.names))]
        cdef list parameters = []
        if code is not None and code.co_posonlyargcount <= has_self:
            for name in code.co_varnames[has_self:code.co_argcount]:
                if name not in names:
                    break
                parameters.append(name)
        by_name = dict(zip(names, order))
        order = [by_name.pop(name) for name in parameters]
        self.keywords = tuple(by_name)
        order += by_name.values()
        for i in range(len(order)):
            self.order[i] = order[i]
        self.as_they_come = order == list(range(self.columns))
        self.positional = len(parameters)
        self.code = code
        return 0


cdef inline object make(RowMaker self, tuple row):
    cdef Py_ssize_t size = PyTuple_GET_SIZE(row)
    if size != self.columns and self.columns >= 0:
        return self.pure(row)
    return self.run(self, anyq_values_of(row), size)


cdef object run_pure(RowMaker self, PyObject **values, Py_ssize_t size):
    return self.pure(tuple([<object>values[i] for i in range(size)]))


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
            instance = anyq_new_object(function, ())
            function = <object>init
            has_self = True
    if self.names is not None:
        if anyq_code_of(function) != <PyObject *>self.code:
            self.plan(function, has_self)
        positional = self.positional
        if PyTuple_GET_SIZE(self.keywords):
            keywords = self.keywords
        size = PyTuple_GET_SIZE(self.names)
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
    for i in range(size):
        PyDict_SetItem(row, PyTuple_GET_ITEM(self.names, i), values[i])
    return row


def args_maker(func):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    maker.run = run_call
    maker.pure = lambda values: func(*values)
    maker.func = func
    maker.columns = -1
    maker.as_they_come = True
    return maker


def kwargs_maker(func, names):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    cdef Py_ssize_t i
    names = tuple(names)
    maker.pure = lambda values: func(**dict(zip(names, values)))
    maker.func = func
    maker.columns = len(names)
    picks = {intern(name): number for number, name in enumerate(names)} if all([type(n) is str for n in names]) else None
    if picks is None or len(names) > ROOM:
        maker.run = run_pure
        return maker
    maker.run = run_call
    maker.names = tuple(picks)
    for i in range(len(maker.names)):
        maker.picks[i] = picks[maker.names[i]]
    maker.plan(func, False)
    return maker


def namedtuple_maker(cls):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    maker.run = run_namedtuple
    maker.pure = cls._make
    maker.func = cls
    maker.columns = len(cls._fields)
    return maker


def dict_maker(names):
    cdef RowMaker maker = RowMaker.__new__(RowMaker)
    maker.run = run_dict
    maker.names = names = tuple(names)
    maker.pure = lambda values: dict(zip(names, values))
    maker.columns = len(names)
    maker.keys = dict.fromkeys(names)
    return maker


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
