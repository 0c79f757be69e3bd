from anyq.protocol.request cimport Request

cdef class RowsRequest(Request):
    pass

cdef class RememberedRequest(RowsRequest):
    pass
