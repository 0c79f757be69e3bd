cimport cython

from anyq.protocol.session cimport ProtocolSession
from anyq.session.session cimport Session
from anyq.session.transactions cimport Transactions
from anyq.session.wire cimport Wire
from anyq.statements.prepared cimport PreparedStatements

cdef class Settings:
    cdef public object autocommit, isolation_level, read_only, deferrable, prepare_threshold, prepared_max
    cdef public object notice_handlers, row_factory, cursor_factory, server_cursor_factory
    cdef public list notify_handlers

@cython.locals(
    session=Session, wire=Wire, protocol=ProtocolSession, transactions=Transactions, statements=PreparedStatements
)
cpdef bint is_clean(connection, given, Settings settings) except -1
