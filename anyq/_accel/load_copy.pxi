# Part of copy_rows.pyx: rows that are read. Doubles `anyq/adapt/copy.py` (RowParser), `anyq/adapt/copy_text.py`
# (TextSplitter, unescape) and `anyq/adapt/copy_binary.py`.

cdef enum:
    HEADER_SIZE = 19
    KEPT_SCRATCH = 1 << 16


@cython.final
cdef class RowParse:
    """What reads rows for a `RowParser`: those that are complete in a chunk.

    What begins in an earlier chunk, is not complete, malformed, or cannot be loaded, is handed over to it.
    """

    cdef object parser
    cdef object pure
    cdef object splitter
    cdef bint binary
    cdef bint by_characters
    cdef char *scratch
    """Where a field is unescaped."""
    cdef Py_ssize_t scratch_size
    cdef Bytes row
    """Where the row begins that is being loaded."""

    def __init__(self, parser):
        self.parser = parser
        self.pure = parser.parse_pure
        self.splitter = parser.splitter
        self.binary = parser.binary
        self.by_characters = parser.by_characters

    def __dealloc__(self):
        free(self.scratch)

    def parse(self, chunk):
        cdef Py_ssize_t start
        if not PyBytes_CheckExact(chunk):
            chunk = bytes(chunk)
        if self.parser.is_idle:
            return self.rows_from(chunk, 0, [])
        start = self.size_of_beginning(chunk)
        if start == 0 or start == PyBytes_GET_SIZE(chunk):
            return self.pure(chunk)
        try:
            rows = self.pure(chunk[:start])
        except Exception:
            self.parser.keep(chunk[start:])
            raise
        if self.parser.is_idle:
            return self.rows_from(chunk, start, rows)
        self.parser.keep(chunk[start:])
        return rows

    cdef Py_ssize_t size_of_beginning(self, object chunk):
        """Return how many bytes belong to what has begun before, or to the header; 0 if all may do so."""
        cdef const char *data = PyBytes_AS_STRING(chunk)
        cdef const char *stop
        if self.binary:
            return HEADER_SIZE if PyBytes_GET_SIZE(chunk) >= HEADER_SIZE and data[0] == b"P" else 0
        stop = <const char *>memchr(data, b"\n", PyBytes_GET_SIZE(chunk))
        return 0 if stop == NULL else stop + 1 - data

    cdef list rows_from(self, object chunk, Py_ssize_t start, list rows):
        """Append the rows that a chunk has from a position on, where one begins."""
        cdef Bytes data = <Bytes>PyBytes_AS_STRING(chunk)
        cdef Bytes end = data + PyBytes_GET_SIZE(chunk)
        cdef Bytes stop = data + start
        cdef Py_ssize_t columns
        known = self.splitter.columns
        columns = count_columns(stop, end, self.binary) if known is None else known
        if columns > 0:
            functions = self.parser.get_loads(columns)
            if PyTuple_GET_SIZE(functions) == columns:
                try:
                    if self.binary:
                        stop = self.binary_rows(stop, end, functions, columns, rows)
                    else:
                        stop = self.text_rows(stop, end, functions, columns, rows)
                except Exception:
                    # It is raised again where the row is the first to be loaded, with a better message.
                    stop = self.row
                if known is None and rows:
                    self.splitter.columns = columns
        if stop == end:
            return rows
        if rows:
            self.parser.keep(chunk[stop - data:])
            return rows
        return self.pure(chunk[stop - data:])

    cdef Bytes text_rows(self, Bytes line, Bytes end, object functions, Py_ssize_t columns, list rows) except NULL:
        """Append rows; return where the first one begins that is not complete, or malformed."""
        cdef Bytes stop
        cdef Bytes at
        cdef Bytes start
        cdef Py_ssize_t column, count
        cdef bint escaped
        cdef tuple row
        cdef object value
        while line < end:
            stop = <Bytes>memchr(line, b"\n", end - line)
            if stop == NULL or (stop - line == 2 and line[0] == b"\\" and line[1] == b"."):
                break
            self.row = line
            row = PyTuple_New(columns)
            at = line
            for column in range(columns):
                start = at
                escaped = False
                # Up to the tab, or to the end of the line.
                while True:
                    if end - at >= 8:
                        count = anyq_first_special(<const char *>at)
                        at += count
                        if count == 8:
                            continue
                    if at[0] == b"\t" or at[0] == b"\n":
                        break
                    if at[0] == b"\\":
                        escaped = True
                    at += 1
                if (at == stop) != (column == columns - 1):
                    return line
                if not escaped:
                    value = load_value(<object>PyTuple_GET_ITEM(functions, column), start, at - start)
                elif at - start == 2 and start[1] == b"N":
                    value = None
                else:
                    value = self.unescaped(<object>PyTuple_GET_ITEM(functions, column), start, at - start)
                    if value is MALFORMED:
                        return line
                Py_INCREF(value)
                PyTuple_SET_ITEM(row, column, value)
                at += 1
            PyList_Append(rows, row)
            line = stop + 1
        return line

    cdef object unescaped(self, object function, Bytes field, Py_ssize_t size):
        """Return the value of a field with escapes, MALFORMED if it stands for none."""
        cdef Py_ssize_t written
        if self.by_characters and not (<bytes>field[:size]).isascii():
            try:
                data = self.parser.unescape_field(<bytes>field[:size])
            except DataError:
                return MALFORMED
            return load_value(function, <Bytes>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if self.scratch_size < size:
            self.scratch_size = 0
            free(self.scratch)
            self.scratch = <char *>realloc(NULL, size)
            if self.scratch == NULL:
                raise MemoryError()
            self.scratch_size = size
        written = unescape_ascii_safe(<const char *>field, size, self.scratch)
        if written < 0:
            return MALFORMED
        value = load_value(function, <Bytes>self.scratch, written)
        if self.scratch_size > KEPT_SCRATCH:
            free(self.scratch)
            self.scratch = NULL
            self.scratch_size = 0
        return value

    cdef Bytes binary_rows(self, Bytes data, Bytes end, object functions, Py_ssize_t columns, list rows) except NULL:
        """Append rows; return where the first one begins that is not complete, or malformed, or the trailer."""
        cdef Bytes at
        cdef Py_ssize_t column, size
        cdef tuple row
        cdef object value
        while end - data >= 2 and get_int16(data) == columns:
            at = data + 2
            for column in range(columns):
                if end - at < 4:
                    return data
                size = get_int32(at)
                at += 4
                if size > end - at or size < -1:
                    return data
                at += max(size, 0)
            self.row = data
            row = PyTuple_New(columns)
            at = data + 2
            for column in range(columns):
                size = get_int32(at)
                at += 4
                if size < 0:
                    value = None
                else:
                    value = load_value(<object>PyTuple_GET_ITEM(functions, column), at, size)
                    at += size
                Py_INCREF(value)
                PyTuple_SET_ITEM(row, column, value)
            PyList_Append(rows, row)
            data = at
        return data


cdef object MALFORMED = object()


cdef inline int16_t get_int16(Bytes data) noexcept nogil:
    return <int16_t>((data[0] << 8) | data[1])


cdef inline int32_t get_int32(Bytes data) noexcept nogil:
    return <int32_t>((<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3])


cdef inline object load_value(object function, Bytes data, Py_ssize_t size):
    if type(function) is LoadTwin:
        return (<LoadTwin>function).run(<LoadTwin>function, data, size)
    return PyObject_CallOneArg(function, PyBytes_FromStringAndSize(<const char *>data, size))


cdef Py_ssize_t count_columns(Bytes data, Bytes end, bint binary) noexcept:
    """Return how many columns the first row has, 0 where that cannot be told."""
    cdef Bytes stop
    cdef Py_ssize_t count = 1
    if binary:
        return get_int16(data) if end - data >= 2 else 0
    stop = <Bytes>memchr(data, b"\n", end - data)
    if stop == NULL:
        return 0
    while True:
        data = <Bytes>memchr(data, b"\t", stop - data)
        if data == NULL:
            return count
        data += 1
        count += 1


cdef inline int digit_of(char code) noexcept nogil:
    """Return the value of a hexadecimal digit, 255 for what is none."""
    if 48 <= code <= 57:
        return code - 48
    code |= 32
    return code - 87 if 97 <= code <= 102 else 255


cdef Py_ssize_t unescape_ascii_safe(const char *field, Py_ssize_t size, char *to) noexcept:
    """Write the value that a field stands for, and return its length; -1 if it stands for none, or has a NUL."""
    cdef Py_ssize_t i = 0, code, length, written = 0
    cdef const char *found
    while i < size:
        found = <const char *>memchr(field + i, b"\\", size - i)
        length = (size if found == NULL else found - field) - i
        memcpy(to + written, field + i, length)
        written += length
        i += length + 1
        if found == NULL:
            break
        if i == size:
            return -1
        code = field[i]
        i += 1
        if code == b"\\":
            pass
        elif code == b"b":
            code = 8
        elif code == b"f":
            code = 12
        elif code == b"n":
            code = 10
        elif code == b"r":
            code = 13
        elif code == b"t":
            code = 9
        elif code == b"v":
            code = 11
        elif 48 <= code <= 55:
            code -= 48
            length = i + 2
            while i < length and i < size and 48 <= field[i] <= 55:
                code = code * 8 + field[i] - 48
                i += 1
            code &= 255
        elif code == b"x" and i < size and digit_of(field[i]) < 16:
            code = digit_of(field[i])
            i += 1
            if i < size and digit_of(field[i]) < 16:
                code = code * 16 + digit_of(field[i])
                i += 1
        if code == 0:
            return -1
        to[written] = <char>code
        written += 1
    return -1 if memchr(to, 0, written) != NULL else written
