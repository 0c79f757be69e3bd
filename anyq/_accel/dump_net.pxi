# Part of dumping.pyx: inet and cidr. Doubles the marked dumpers of `anyq/types/net.py`.

cdef type IPV4_ADDRESS = IPv4Address, IPV4_INTERFACE = IPv4Interface, IPV4_NETWORK = IPv4Network
cdef type IPV6_ADDRESS = IPv6Address, IPV6_INTERFACE = IPv6Interface, IPV6_NETWORK = IPv6Network


cdef int put_address(object address, object prefix, bint is_ipv6, bint is_cidr, Writer *out) except -1:
    """Write an address and the bits of its mask, None for all of them."""
    cdef unsigned char data[20]
    cdef Py_ssize_t size = 16 if is_ipv6 else 4
    cdef long long number = 0, bits = 8 * size
    packed = address._ip
    if not PyLong_CheckExact(packed) or is_ipv6 and address._scope_id is not None:
        return 0
    if prefix is not None and not (PyLong_CheckExact(prefix) and anyq_fits(prefix, &bits) and 0 <= bits <= 8 * size):
        return 0
    if is_ipv6:
        if not anyq_put_uint128(packed, data + 4):
            return 0
    else:
        if not anyq_fits(packed, &number) or not 0 <= number <= 0xFFFF_FFFFLL:
            return 0
        put_uint32(data + 4, <uint32_t>number)
    # The family, the bits of the mask, whether it is cidr, the number of bytes.
    data[0] = 3 if is_ipv6 else 2
    data[1] = <unsigned char>bits
    data[2] = is_cidr
    data[3] = <unsigned char>size
    return put_bytes(out, <char *>data, 4 + size)


cdef int write_inet(DumpTwin self, object obj, Writer *out) except -1:
    if type(obj) is IPV4_ADDRESS or type(obj) is IPV6_ADDRESS:
        return put_address(obj, None, type(obj) is IPV6_ADDRESS, False, out)
    if type(obj) is IPV4_INTERFACE or type(obj) is IPV6_INTERFACE:
        return put_address(obj, obj.network._prefixlen, type(obj) is IPV6_INTERFACE, False, out)
    return 0


cdef int write_cidr(DumpTwin self, object obj, Writer *out) except -1:
    if type(obj) is IPV4_NETWORK and type(obj.network_address) is IPV4_ADDRESS:
        return put_address(obj.network_address, obj._prefixlen, False, True, out)
    if type(obj) is IPV6_NETWORK and type(obj.network_address) is IPV6_ADDRESS:
        return put_address(obj.network_address, obj._prefixlen, True, True, out)
    return 0
