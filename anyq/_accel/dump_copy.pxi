# Part of copy_rows.pyx: rows that are written. Doubles `anyq/adapt/copy.py` (RowFormatter).

# -- one class of objects, or one column of a type that was set

ctypedef int (*WriteC)(object obj, Out *out) except -1


@cython.final
cdef class ValueWriter:
    """How to write the objects of one class or column."""

    cdef WriteC write
    """NULL where there is nothing but the dumper."""
    cdef object dump
    """What dumps what that does not write; None where there is a plan to be asked for each object."""
    cdef object plan
    cdef PyTypeObject *cls
    """The class that it was found by, which the table keeps alive."""

    @staticmethod
    cdef ValueWriter of(WriteC write, object dump, object plan):
        cdef ValueWriter self = ValueWriter.__new__(ValueWriter)
        self.write = write
        self.dump = dump
        self.plan = plan
        return self


cdef ValueWriter NOTHING = ValueWriter.of(NULL, None, None)


cdef class WriteMaker:
    """A C function, to be found by name."""

    cdef WriteC write

    @staticmethod
    cdef WriteMaker of(WriteC write):
        cdef WriteMaker maker = WriteMaker.__new__(WriteMaker)
        maker.write = write
        return maker


cdef object pure_name(object function):
    """Return the mark of a function that may be a twin already."""
    return name_of(getattr(function, "__wrapped__", function))


# -- rows

@cython.final
cdef class RowFormat:
    """What writes rows as a `RowFormatter` says."""

    cdef object formatter
    cdef object pure
    cdef object tx
    cdef object adapters
    cdef object version
    cdef object py_format
    cdef object escape
    cdef dict table
    """By class: what writes its objects. Without types that were set."""
    cdef list last
    """What was used last in each column."""
    cdef list by_column
    """What writes each column, if types were set."""
    cdef Py_ssize_t columns
    cdef Py_ssize_t enough
    cdef bint binary
    cdef bint by_characters
    cdef PyObject *current
    """What a row is being appended to."""
    cdef bint dumped
    """Whether the dumper is done with the value that there is a failure for."""

    def __init__(self, formatter):
        self.formatter = formatter
        self.pure = formatter.format_pure
        self.tx = formatter.tx
        self.adapters = self.tx.adapters
        self.py_format = formatter.py_format
        self.escape = formatter.escape_field
        self.binary = formatter.binary
        self.enough = formatter.enough
        self.columns = -1 if formatter.columns is None else formatter.columns
        self.prepare()

    cdef int prepare(self) except -1:
        """Forget what was found, as other adapters have been registered."""
        self.version = self.adapters.version
        if self.tx.version != self.version:
            self.tx.clear()
        self.by_characters = self.formatter.by_characters
        self.table = {}
        self.last = []
        self.by_column = None
        if self.formatter.dumpers is not None:
            self.by_column = [self.writer_of(compile_dump(dumper.dump)) for dumper in self.formatter.dumpers]
        return 0

    cdef ValueWriter writer_of(self, object dump):
        maker = (BINARY_WRITERS if self.binary else TEXT_WRITERS).get(pure_name(dump))
        if maker is None or (pure_name(dump) == "dump_text" and not is_twin(dump)):
            return ValueWriter.of(NULL, dump, None)
        return ValueWriter.of((<WriteMaker>maker).write, dump, None)

    cdef ValueWriter find_writer(self, object obj):
        """Find out how to write the objects of a class."""
        cdef ValueWriter writer
        plan = self.tx.dump_plans[self.py_format].get(type(obj)) or self.tx.plan_class(obj, self.py_format)
        if plan.get_key is None:
            writer = self.writer_of(plan.dump)
        else:
            writer = ValueWriter.of(NULL, None, plan)
            known = (KEYED_BINARY if self.binary else KEYED_TEXT).get((pure_name(plan.get_key), type(obj)))
            if known is not None:
                maker, objects, expected = known
                # A dumper may have that method, and dumpers of its own for what it tells apart.
                if [pure_name(self.plan_of(plan, one).dump) for one in objects] == expected:
                    writer.write = (<WriteMaker>maker).write
        writer.cls = Py_TYPE(obj)
        self.table[type(obj)] = writer
        return writer

    cdef object plan_of(self, object plan, object obj):
        key = plan.get_key(obj, self.py_format)
        return plan.by_key.get(key) or self.tx.plan_key(plan, obj, self.py_format)

    def is_writing(self, bytearray out not None):
        return self.current == <PyObject *>out

    def format_row(self, row, bytearray out not None):
        # A dumper in Python lets other threads run, and may write rows itself.
        cdef PyObject *before = self.current
        if before == <PyObject *>out:
            raise self.formatter.amid_row()
        self.current = <PyObject *>out
        try:
            return self.append_row(row, out)
        finally:
            self.current = before

    cdef object append_row(self, object row, bytearray out):
        cdef Out to
        cdef Py_ssize_t old, number = 0
        cdef object values = row
        if type(row) is not tuple:
            if not isinstance(row, (tuple, list)):
                return self.pure(row, out)
            values = tuple(row)
        if self.by_column is None:
            version = self.adapters.version
            if version is not self.version and version != self.version:
                self.prepare()
        if self.columns >= 0 and PyTuple_GET_SIZE(values) != self.columns or PyTuple_GET_SIZE(values) > MOST_COLUMNS:
            return self.pure(values, out)
        old = PyByteArray_GET_SIZE(out)
        to.array = <PyObject *>out
        to.data = PyByteArray_AS_STRING(out)
        to.used = to.room = old
        self.dumped = False
        try:
            self.write_row(values, &to, &number)
            PyByteArray_Resize(out, to.used)
            return to.used > self.enough
        except Exception as ex:
            PyByteArray_Resize(out, old)
            if not PyTuple_GET_SIZE(values):
                raise
            failure = self.formatter.failure(number, values[number], ex, self.dumped)
            if failure is ex:
                raise
            raise failure from failure.__cause__
        except BaseException:
            PyByteArray_Resize(out, old)
            raise

    cdef int write_row(self, object values, Out *out, Py_ssize_t *number) except -1:
        cdef Py_ssize_t i, count = PyTuple_GET_SIZE(values)
        cdef PyObject *obj
        cdef PyObject *found
        cdef ValueWriter writer
        cdef bint binary = self.binary
        cdef list by_column = self.by_column
        # Held here: a dumper that writes a row itself may come upon other adapters.
        cdef list last = self.last
        cdef dict table = self.table
        cdef char *to = reserve(out, 2)
        if binary:
            to[0] = <char>(count >> 8)
            to[1] = <char>count
            out.used += 2
        if by_column is None:
            while len(last) < count:
                last.append(NOTHING)
        for i in range(count):
            number[0] = i
            if i and not binary:
                reserve(out, 1)[0] = b"\t"
                out.used += 1
            obj = PyTuple_GET_ITEM(values, i)
            if <object>obj is None:
                self.write_null(out)
                continue
            if by_column is not None:
                writer = <ValueWriter>by_column[i]
            else:
                writer = <ValueWriter>last[i]
                if writer.cls != Py_TYPE(<object>obj):
                    found = PyDict_GetItemWithError(table, type(<object>obj))
                    if found != NULL:
                        writer = <ValueWriter>found
                    else:
                        writer = self.find_writer(<object>obj)
                        look_again(out)
                    last[i] = writer
            if writer.write == NULL or not writer.write(<object>obj, out):
                self.write_dumped(writer, <object>obj, out)
        if not binary:
            reserve(out, 1)[0] = b"\n"
            out.used += 1
        return 0

    cdef inline int write_null(self, Out *out) except -1:
        cdef char *to = reserve(out, 4)
        if self.binary:
            put_uint32(to, 0xFFFF_FFFF)
            out.used += 4
        else:
            to[0] = b"\\"
            to[1] = b"N"
            out.used += 2
        return 0

    cdef int write_dumped(self, ValueWriter writer, object obj, Out *out) except -1:
        """Write what a dumper makes of an object."""
        cdef Py_ssize_t size
        cdef char *to
        dump = writer.dump if writer.dump is not None else self.plan_of(writer.plan, obj).dump
        value = PyObject_CallOneArg(dump, obj)
        if value is not None and not PyBytes_CheckExact(value):
            value = dumped_bytes(value, dump)
        look_again(out)
        if value is None:
            self.write_null(out)
            return 0
        size = PyBytes_GET_SIZE(value)
        if self.binary:
            if size > MOST_BYTES:
                self.dumped = True
                raise DataError(f"the value has {size:,} bytes, and may have 1 GB")
            to = reserve(out, 4 + size)
            put_uint32(to, <uint32_t>size)
            memcpy(to + 4, PyBytes_AS_STRING(value), size)
            out.used += 4 + size
        elif self.by_characters and not value.isascii():
            self.dumped = True
            value = self.escape(value)
            self.dumped = False
            look_again(out)
            size = PyBytes_GET_SIZE(value)
            memcpy(reserve(out, size), PyBytes_AS_STRING(value), size)
            out.used += size
        elif not put_escaped(PyBytes_AS_STRING(value), size, out):
            self.dumped = True
            self.escape(value)
            raise SystemError("a value with NUL was escaped")
        return 0


cdef bint is_twin(object dump):
    return hasattr(dump, "__wrapped__")


# -- which function has which twin

cdef dict BINARY_WRITERS = {
    "dump_bool": WriteMaker.of(write_bool),
    "dump_text": WriteMaker.of(write_str),
    "dump_bytes": WriteMaker.of(write_bytes),
    "dump_int2": WriteMaker.of(write_int2),
    "dump_int4": WriteMaker.of(write_int4),
    "dump_int8": WriteMaker.of(write_int8),
    "dump_float8": WriteMaker.of(write_float8),
    "dump_decimal": WriteMaker.of(write_decimal),
    "dump_date": WriteMaker.of(write_date),
    "dump_time": WriteMaker.of(write_time),
    "dump_timestamp": WriteMaker.of(write_timestamp),
    "dump_timestamptz": WriteMaker.of(write_timestamptz),
    "dump_interval": WriteMaker.of(write_interval),
    "dump_uuid": WriteMaker.of(write_uuid),
}

cdef dict TEXT_WRITERS = {
    "dump_bool_text": WriteMaker.of(write_bool_text),
    "dump_text": WriteMaker.of(write_str_text),
    "dump_bytes_text": WriteMaker.of(write_bytes_text),
    "dump_int_text": WriteMaker.of(write_int_text),
    "dump_float_text": WriteMaker.of(write_float_text),
    "dump_decimal_text": WriteMaker.of(write_decimal_text),
    "dump_date_text": WriteMaker.of(write_date_text),
    "dump_time_text": WriteMaker.of(write_time_text),
    "dump_timestamp_text": WriteMaker.of(write_timestamp_text),
    "dump_timestamptz_text": WriteMaker.of(write_timestamptz_text),
    "dump_uuid_text": WriteMaker.of(write_uuid_text),
}

_INTS = [int(number) for number in ("1", "40000", "3000000000")]
_MOMENTS = [datetime(2000, 1, 1, tzinfo=timezone.utc), datetime(2000, 1, 1)]

_TIMES = [time()]

cdef dict KEYED_BINARY = {
    ("key_int", int): (WriteMaker.of(write_int), _INTS, ["dump_int2", "dump_int4", "dump_int8"]),
    ("key_aware", datetime): (WriteMaker.of(write_datetime), _MOMENTS, ["dump_timestamptz", "dump_timestamp"]),
    ("key_aware", time): (WriteMaker.of(write_time), _TIMES, ["dump_time"]),
}
"""By class, and what tells its objects apart: what writes them, if these ones are dumped by these functions."""

cdef dict KEYED_TEXT = {
    ("key_int", int): (WriteMaker.of(write_int_text), _INTS, ["dump_int_text"] * 3),
    ("key_aware", datetime): (
        WriteMaker.of(write_datetime_text), _MOMENTS, ["dump_timestamptz_text", "dump_timestamp_text"],
    ),
    ("key_aware", time): (WriteMaker.of(write_time_text), _TIMES, ["dump_time_text"]),
}
