"""The compiled twin of the messages that every query has: its Bind, and the common replies.

Doubles `bind` of `anyq/protocol/frontend.py`, `anyq/protocol/copy_data.py`, `keep_rows` of `anyq/_accel/python.py`, and of `anyq/protocol/handlers.py` what it does with the messages in TAKEN.
It changes no phase: the end of a request is handed over to `SessionState.end_request`. Whatever is not common, or wrong,
is left to the functions in Python, so that there is one place that says what it means and which error it is.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_CheckExact, PyList_GET_ITEM, PyList_GET_SIZE
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize, PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memchr, memcmp, memcpy

from anyq.protocol.request cimport Request, Result
from anyq.protocol.session cimport ProtocolSession

from ..protocol import constants, frontend, handlers, phases, request, session_state

cdef object bind_in_python = frontend.bind
cdef Py_ssize_t MAX_MESSAGE_LENGTH = constants.MAX_MESSAGE_LENGTH
cdef Py_ssize_t MAX_PARAMETERS = constants.MAX_PARAMETERS
cdef Py_ssize_t MAX_COLUMNS = constants.MAX_COLUMNS
cdef object BUSY = phases.Phase.BUSY
cdef object IDLE = constants.TransactionStatus.IDLE
cdef object IN_TRANSACTION = constants.TransactionStatus.INTRANS
cdef object IN_ERROR = constants.TransactionStatus.INERROR
cdef object IDLE_PHASE = phases.Phase.IDLE
cdef object Notify = session_state.Notify
cdef object new_tuple = tuple.__new__
cdef object just_append = Request.add
cdef object known_tag = ""
"""The command tag that was the last one."""
cdef object appending = Request
"""The class that was the last one found to have nothing else to do with a result."""

cdef enum:
    MOST_KNOWN = 64  # bytes of a tag that is kept

TAKEN = {
    IDLE_PHASE: {"A": "on_notification"},
    BUSY: {
        "A": "on_notification",
        "D": "on_unexpected_row",
        "1": "on_parse_complete",
        "2": "on_bind_complete",
        "C": "on_command_complete",
        "Z": "on_ready",
    },
}
"""The messages that are taken here, by phase, and the functions in Python that say what they mean."""

for phase, messages in TAKEN.items():
    for letter, handler in messages.items():
        if phases.TABLE[phase][constants.BackendCode(ord(letter))] != phases.Step(handler):
            raise ImportError(f"the compiled path takes {letter} in phase {phase.name} for what it is not by the table")


cdef inline uint32_t get_uint32(const unsigned char *data) noexcept nogil:
    return (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]


cdef inline char *put_uint32(char *to, Py_ssize_t number) noexcept nogil:
    to[0] = <char>(number >> 24)
    to[1] = <char>(number >> 16)
    to[2] = <char>(number >> 8)
    to[3] = <char>number
    return to + 4


cdef inline char *put_uint16(char *to, Py_ssize_t number) noexcept nogil:
    to[0] = <char>(number >> 8)
    to[1] = <char>number
    return to + 2


cdef inline char *put_bytes(char *to, bytes data) noexcept:
    memcpy(to, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return to + PyBytes_GET_SIZE(data)


# -- Bind

cdef inline Py_ssize_t size_of(object sequence) noexcept:
    """Return the length of a list or tuple, -1 for anything else."""
    if PyList_CheckExact(sequence):
        return PyList_GET_SIZE(sequence)
    return PyTuple_GET_SIZE(sequence) if PyTuple_CheckExact(sequence) else -1


cdef inline object item_of(object sequence, Py_ssize_t i):
    return <object>(PyList_GET_ITEM(sequence, i) if PyList_CheckExact(sequence) else PyTuple_GET_ITEM(sequence, i))


cdef inline bint are_formats(object sequence, Py_ssize_t count) except -1:
    cdef Py_ssize_t i
    for i in range(count):
        item = item_of(sequence, i)
        if type(item) is not int or item not in (0, 1):
            return False
    return True


def bind(
    bytearray out not None,
    bytes portal not None,
    bytes statement not None,
    formats,
    values,
    result_formats,
    bytes after not None=b"",
):
    cdef Py_ssize_t count = size_of(values), codes = size_of(formats), results = size_of(result_formats)
    cdef Py_ssize_t size, i, old
    cdef char *to
    if (
        0 <= count <= MAX_PARAMETERS
        and (0 <= codes <= 1 or codes == count)
        and 0 <= results <= MAX_COLUMNS
        and are_formats(formats, codes)
        and are_formats(result_formats, results)
        and not memchr(PyBytes_AS_STRING(portal), 0, PyBytes_GET_SIZE(portal))
        and not memchr(PyBytes_AS_STRING(statement), 0, PyBytes_GET_SIZE(statement))
    ):
        size = 12 + PyBytes_GET_SIZE(portal) + PyBytes_GET_SIZE(statement) + 2 * codes + 4 * count + 2 * results
        for i in range(count):
            value = item_of(values, i)
            if PyBytes_CheckExact(value):
                size += PyBytes_GET_SIZE(value)
            elif value is not None:
                break
        else:
            if size <= MAX_MESSAGE_LENGTH:
                old = PyByteArray_GET_SIZE(out)
                PyByteArray_Resize(out, old + 1 + size + PyBytes_GET_SIZE(after))
                to = PyByteArray_AS_STRING(out) + old
                to[0] = b"B"
                to = put_uint32(to + 1, size)
                to = put_bytes(to, portal)
                to[0] = 0
                to = put_bytes(to + 1, statement)
                to[0] = 0
                to = put_uint16(to + 1, codes)
                for i in range(codes):
                    to = put_uint16(to, item_of(formats, i))
                to = put_uint16(to, count)
                for i in range(count):
                    value = item_of(values, i)
                    if value is None:
                        to = put_uint32(to, -1)
                    else:
                        to = put_uint32(to, PyBytes_GET_SIZE(value))
                        to = put_bytes(to, <bytes>value)
                to = put_uint16(to, results)
                for i in range(results):
                    to = put_uint16(to, item_of(result_formats, i))
                put_bytes(to, after)
                return
    bind_in_python(out, portal, statement, formats, values, result_formats, after)


# -- replies

cdef object notification(const unsigned char *data, Py_ssize_t size):
    """Return what a NotificationResponse says, None if it is broken."""
    cdef const unsigned char *end = data + size
    cdef const unsigned char *channel = data + 4
    cdef const unsigned char *payload
    cdef const unsigned char *stop
    if size < 6:
        return None
    payload = <const unsigned char *>memchr(channel, 0, end - channel)
    if payload == NULL:
        return None
    payload += 1
    stop = <const unsigned char *>memchr(payload, 0, end - payload)
    if stop != end - 1:
        return None
    return new_tuple(
        Notify,
        (
            PyUnicode_DecodeUTF8(<const char *>channel, payload - 1 - channel, "replace"),
            PyUnicode_DecodeUTF8(<const char *>payload, stop - payload, "replace"),
            <int32_t>get_uint32(data),
        ),
    )


cdef inline Py_ssize_t size_of_pair(const unsigned char *data, Py_ssize_t left) noexcept nogil:
    """Return the size of a BindComplete and the CommandComplete behind it, 0 if that is not what is there."""
    cdef Py_ssize_t length
    if left < 10 or data[0] != b"2" or get_uint32(data + 1) != 4 or data[5] != b"C":
        return 0
    length = get_uint32(data + 6)
    return 6 + length if 4 < length < left - 5 else 0


cdef Py_ssize_t KEEPS_WHOLE = 4
"""Rows are kept with all that was received together if that is not longer by this factor; else they are copied."""


def keep_rows(Result result not None, bytes run not None, Py_ssize_t pos, Py_ssize_t end):
    if pos < 0 or end > PyBytes_GET_SIZE(run):
        raise IndexError(f"rows from {pos} to {end} in {PyBytes_GET_SIZE(run)} bytes")
    return rows_kept(result, run, pos, end)


cdef Py_ssize_t rows_kept(Result result, bytes run, Py_ssize_t start, Py_ssize_t end) except -1:
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(run)
    cdef Py_ssize_t columns = len(<tuple?>result.fields), pos = start, length, stop, at, i, size, count = 0
    # As the one in Python, which takes the length of a single column for part of the header.
    cdef Py_ssize_t header = 11 if columns == 1 else 7
    cdef const unsigned char *row
    while end - pos >= header:
        row = data + pos
        length = get_uint32(row + 1)
        if row[0] != b"D" or length >= end - pos:
            break
        size = (row[5] << 8) | row[6]
        if size != columns:
            raise handlers.wrong_number(size, columns)
        stop = pos + 1 + length
        if columns == 1 and length == 10 + get_uint32(row + 7):
            # The commonest: a value alone.
            pos = stop
            count += 1
            continue
        at = pos + 7
        for i in range(columns):
            if stop - at < 4:
                raise handlers.torn_row()
            size = <int32_t>get_uint32(data + at)
            at += 4
            if size >= 0:
                if size > stop - at:
                    raise handlers.torn_row()
                at += size
            elif size != -1:
                raise handlers.torn_row()
        if at != stop:
            raise handlers.torn_row()
        pos = stop
        count += 1
    if count:
        if KEEPS_WHOLE * (pos - start) >= PyBytes_GET_SIZE(run):
            kept = (run, start, pos, count)
        else:
            kept = (run[start:pos], 0, pos - start, count)
        result.runs.append(kept)
        result.count += count
    return pos


cdef Py_ssize_t rows_passed(bytes run, Py_ssize_t pos, Py_ssize_t end) noexcept:
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(run)
    cdef Py_ssize_t length
    while end - pos >= 5 and data[pos] == b"D":
        length = get_uint32(data + pos + 1)
        if length < 4 or length >= end - pos:
            break
        pos += 1 + length
    return pos


cdef object tag_of(const char *data, Py_ssize_t size):
    """Return a command tag, which is mostly that of the query before."""
    cdef Py_ssize_t known_size
    cdef const char *known = PyUnicode_AsUTF8AndSize(known_tag, &known_size)
    global known_tag
    if size != known_size or memcmp(data, known, size):
        tag = PyUnicode_DecodeUTF8(data, size, "replace")
        if size > MOST_KNOWN:
            return tag
        known_tag = tag
    return known_tag


def take_replies(ProtocolSession protocol not None, pending, bytes run not None, Py_ssize_t pos, Py_ssize_t end):
    """Take the complete messages from `pos` on that successful statements are answered with, and notifications.

    :return: where something else begins, or is not complete.
    """
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(run)
    cdef unsigned char code
    cdef Py_ssize_t length, stop, limit = protocol.limit
    cdef Py_ssize_t pair, count
    cdef bint at_end, counting = False
    cdef tuple description
    cdef Request request
    cdef Result result
    global appending
    if pos < 0 or end > PyBytes_GET_SIZE(run):
        raise IndexError(f"messages from {pos} to {end} in {PyBytes_GET_SIZE(run)} bytes")
    while True:
        request = result = None
        phase = protocol.phase
        if phase is BUSY and pending:
            request = pending[0]
            result = request.current
            counting = request.counting
        elif phase is not IDLE_PHASE:
            return pos
        at_end = False
        while not at_end:
            if end - pos < 5:
                return pos
            code = data[pos]
            length = get_uint32(data + pos + 1)
            if length < 4 or length >= end - pos or length > limit and code != b"D":
                return pos
            stop = pos + 1 + length
            if code == b"A":
                event = notification(data + pos + 5, length - 4)
                if event is None or protocol.encoding != "utf-8":
                    return pos
                protocol.events.append(event)
            elif request is None:
                return pos
            elif code == b"D":
                if result is None:
                    return pos
                if not request.keeps_rows:
                    stop = rows_passed(run, pos, end)
                elif result.fields is None:
                    return pos
                else:
                    stop = rows_kept(result, run, pos, end)
                if stop <= pos:
                    return pos
            elif code == b"2":
                pair = size_of_pair(data + pos, end - pos) if counting else 0
                if 0 < pair <= limit:
                    # One set of parameters like the other: mostly all that has arrived.
                    stop, count = pos + pair, 1
                    while end - stop >= pair and memcmp(data + stop, data + pos, pair) == 0:
                        stop += pair
                        count += 1
                    request.current = result = None
                    if not request.abandoned:
                        # Behind the tag there is a zero.
                        request.count(PyUnicode_DecodeUTF8(<const char *>data + pos + 10, pair - 11, "replace"), count)
                    pos = stop
                    continue
                description = <tuple?>request.description
                # As its __init__() does, which takes as long as all this.
                result = Result.__new__(Result)
                result.fields = description[0]
                result.loads = description[1]
                result.ahead = None
                result.runs = []
                result.count = 0
                result.tag = None
                request.current = result
            elif code == b"C":
                if result is None or length == 4:
                    return pos
                result.tag = tag_of(<const char *>data + pos + 5, length - 5)
                request.current = None
                if not request.abandoned:
                    if type(request) is appending:
                        request.results.append(result)
                    elif type(request).add is just_append:
                        appending = type(request)
                        request.results.append(result)
                    else:
                        request.add(result)
                result = None
            elif code == b"1":
                request.parsed += 1
            elif code == b"Z":
                if length != 5:
                    return pos
                code = data[pos + 5]
                if code == b"I":
                    status = IDLE
                elif code == b"T":
                    status = IN_TRANSACTION
                elif code == b"E":
                    status = IN_ERROR
                else:
                    return pos
                protocol.end_request(pending, status)
                at_end = True
            else:
                return pos
            pos = stop


# -- COPY

def end_of_copy_data(bytes run not None, Py_ssize_t pos, Py_ssize_t end):
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(run)
    cdef Py_ssize_t length
    if pos < 0 or end > PyBytes_GET_SIZE(run):
        raise IndexError(f"messages from {pos} to {end} in {PyBytes_GET_SIZE(run)} bytes")
    while end - pos >= 5 and data[pos] == b"d":
        length = get_uint32(data + pos + 1)
        if length < 4 or length >= end - pos:
            break
        pos += 1 + length
    return pos


def split_copy_data(bytes run not None, Py_ssize_t pos, Py_ssize_t stop, Py_ssize_t most):
    cdef const char *data = PyBytes_AS_STRING(run)
    cdef Py_ssize_t last = min(pos + most, stop), after
    cdef list found = []
    check_copy_data(run, pos, stop)
    while pos < last:
        after = end_of_one(run, pos, stop)
        if after - pos > 5:
            found.append(PyBytes_FromStringAndSize(data + pos + 5, after - pos - 5))
        pos = after
    return found, pos


def join_copy_data(bytes run not None, Py_ssize_t pos, Py_ssize_t stop, Py_ssize_t most):
    cdef const char *data = PyBytes_AS_STRING(run)
    cdef Py_ssize_t last = min(pos + most, stop), after = pos, size = 0
    cdef char *to
    cdef bytes joined
    check_copy_data(run, pos, stop)
    while after < last:
        size -= after + 5
        after = end_of_one(run, after, stop)
        size += after
    joined = PyBytes_FromStringAndSize(NULL, size)
    to = PyBytes_AS_STRING(joined)
    while pos < last:
        after = end_of_one(run, pos, stop)
        memcpy(to, data + pos + 5, after - pos - 5)
        to += after - pos - 5
        pos = after
    return joined, pos


cdef int check_copy_data(bytes run, Py_ssize_t pos, Py_ssize_t stop) except -1:
    if pos < 0 or stop > PyBytes_GET_SIZE(run):
        raise IndexError(f"messages from {pos} to {stop} in {PyBytes_GET_SIZE(run)} bytes")
    return 0


cdef inline Py_ssize_t end_of_one(bytes run, Py_ssize_t pos, Py_ssize_t stop) except -1:
    """Return where a message ends that was found by end_of_copy_data()."""
    cdef Py_ssize_t length = 0
    if stop - pos >= 5:
        length = get_uint32(<const unsigned char *>PyBytes_AS_STRING(run) + pos + 1)
    if length < 4 or length >= stop - pos:
        raise IndexError(f"no message from {pos} to {stop}")
    return pos + 1 + length
