from anyq.protocol.request cimport Request

cdef class RowsRequest(Request):
    cdef public object known

cdef class RememberedRequest(RowsRequest):
    pass
