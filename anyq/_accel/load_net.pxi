# Part of loading.pyx: inet and cidr. Doubles the marked loaders of `anyq/types/net.py`.
#
# The constructors of `ipaddress` check and convert what the server has checked and we have converted: they take most of
# the time. So objects are made as UUIDs are, by setting what the constructors set, if that is what is set below.

_address_parts = (
    *(IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network),
    *(getattr(IPv4Address, "_ip", None), getattr(IPv6Address, "_ip", None), getattr(IPv6Address, "_scope_id", None)),
)
cdef PyObject *IPV4_ADDRESS = <PyObject *>_address_parts[0]
cdef PyObject *IPV4_INTERFACE = <PyObject *>_address_parts[1]
cdef PyObject *IPV4_NETWORK = <PyObject *>_address_parts[2]
cdef PyObject *IPV6_ADDRESS = <PyObject *>_address_parts[3]
cdef PyObject *IPV6_INTERFACE = <PyObject *>_address_parts[4]
cdef PyObject *IPV6_NETWORK = <PyObject *>_address_parts[5]
cdef PyObject *IPV4_IP = <PyObject *>_address_parts[6]
cdef PyObject *IPV6_IP = <PyObject *>_address_parts[7]
cdef PyObject *IPV6_SCOPE = <PyObject *>_address_parts[8]

cdef list IPV4_MASKS = [None] * 33
cdef list IPV6_MASKS = [None] * 129


cdef object mask_of(int bits, bint is_ipv6):
    """Return the address that is the mask, the same one each time, as `ipaddress` does."""
    cdef list masks = IPV6_MASKS if is_ipv6 else IPV4_MASKS
    mask = masks[bits]
    if mask is None:
        mask = masks[bits] = (IPv6Network if is_ipv6 else IPv4Network)((0, bits)).netmask
    return mask


cdef inline object new_ipv4(PyObject *cls, uint32_t number):
    value = anyq_new(cls)
    packed = PyLong_FromUnsignedLong(number)
    anyq_set_slot(IPV4_IP, value, <PyObject *>packed)
    return value


cdef inline object new_ipv6(PyObject *cls, Bytes data):
    value = anyq_new(cls)
    packed = anyq_uint128(data)
    anyq_set_slot(IPV6_IP, value, <PyObject *>packed)
    anyq_set_slot(IPV6_SCOPE, value, <PyObject *>None)
    return value


cdef object new_network(PyObject *cls, object address, int bits, bint is_ipv6):
    value = anyq_new(cls)
    value.network_address = address
    value.netmask = mask_of(bits, is_ipv6)
    value._prefixlen = bits
    return value


cdef object new_interface(object value, object network, int bits, bint is_ipv6):
    value.network = network
    value.netmask = mask_of(bits, is_ipv6)
    value._prefixlen = bits
    return value


cdef inline uint32_t host_bits(int bits) noexcept nogil:
    """Return which bits of 32 are not in a mask of so many."""
    return (<uint32_t>0xFFFF_FFFF) >> bits if bits < 32 else 0


cdef object load_ipv4(uint32_t number, int bits, bint is_cidr):
    """Return an address, an interface or a network; None if it is not usual, or wrong."""
    cdef uint32_t host = number & host_bits(bits)
    if not is_cidr and bits == 32:
        return new_ipv4(IPV4_ADDRESS, number)
    # Networks of one or two addresses have a method more.
    if bits > 30 or is_cidr and host:
        return None
    network = new_network(IPV4_NETWORK, new_ipv4(IPV4_ADDRESS, number - host), bits, False)
    return network if is_cidr else new_interface(new_ipv4(IPV4_INTERFACE, number), network, bits, False)


cdef object load_ipv6(Bytes data, int bits, bint is_cidr):
    cdef unsigned char masked[16]
    cdef int i
    if not is_cidr and bits == 128:
        return new_ipv6(IPV6_ADDRESS, data)
    if bits > 126:
        return None
    for i in range(16):
        if bits >= 8 * (i + 1):
            masked[i] = data[i]
        else:
            masked[i] = <unsigned char>(data[i] & (0xFF00 >> (bits - 8 * i))) if bits > 8 * i else 0
        if is_cidr and masked[i] != data[i]:
            return None
    network = new_network(IPV6_NETWORK, new_ipv6(IPV6_ADDRESS, masked), bits, True)
    return network if is_cidr else new_interface(new_ipv6(IPV6_INTERFACE, data), network, bits, True)


cdef object load_binary_address(LoadTwin self, Bytes data, Py_ssize_t size, bint is_cidr):
    value = None
    # The family, the bits of the mask, whether it is cidr (which the type says too), and how many bytes there are.
    if size == 8 and data[0] == 2 and data[1] <= 32 and data[3] == 4:
        value = load_ipv4(get_uint32(data + 4), data[1], is_cidr)
    elif size == 20 and data[0] == 3 and data[1] <= 128 and data[3] == 16:
        value = load_ipv6(data + 4, data[1], is_cidr)
    return slow(self, data, size) if value is None else value


cdef object load_inet(LoadTwin self, Bytes data, Py_ssize_t size):
    return load_binary_address(self, data, size, False)


cdef object load_cidr(LoadTwin self, Bytes data, Py_ssize_t size):
    return load_binary_address(self, data, size, True)


cdef object load_text_address(LoadTwin self, Bytes data, Py_ssize_t size, bint is_cidr):
    """Of IPv4 only: four numbers without zeros in front, and the bits of the mask behind a slash."""
    cdef Py_ssize_t at = 0
    cdef uint32_t address = 0, number = 0
    cdef unsigned char digit
    cdef int digits, part, bits = 32
    for part in range(5):
        number = 0
        digits = 0
        while at < size:
            digit = <unsigned char>(data[at] - 48)
            if digit > 9 or digits == 3 or (digits == 1 and number == 0):
                break
            number = number * 10 + digit
            digits += 1
            at += 1
        if digits == 0 or number > 255:
            return slow(self, data, size)
        if part == 4:
            bits = <int>number
            break
        address = address << 8 | number
        if part == 3 and at == size:
            break
        if at == size or data[at] != (b"." if part < 3 else b"/"):
            return slow(self, data, size)
        at += 1
    value = load_ipv4(address, bits, is_cidr) if at == size and bits <= 32 else None
    return slow(self, data, size) if value is None else value


cdef object load_inet_text(LoadTwin self, Bytes data, Py_ssize_t size):
    return load_text_address(self, data, size, False)


cdef object load_cidr_text(LoadTwin self, Bytes data, Py_ssize_t size):
    return load_text_address(self, data, size, True)


# -- whether this Python's `ipaddress` is as above

cdef bint alike(object made, object usual) except -1:
    return (
        type(made) is type(usual) and made == usual and hash(made) == hash(usual)
        and list(getattr(made, "__dict__", ())) == list(getattr(usual, "__dict__", ()))
    )


cdef bint addresses_are_usual() except -1:
    cdef unsigned char data[16]
    cdef int bits
    if (
        getattr(IPv4Address, "__slots__", None) != ("_ip", "__weakref__")
        or getattr(IPv6Address, "__slots__", None) != ("_ip", "_scope_id", "__weakref__")
    ):
        return False
    for i in range(16):
        data[i] = <unsigned char>(16 + i)
    packed = PyBytes_FromStringAndSize(<char *>data, 16)
    for bits in (8, 30, 32):
        pair = (packed[:4], bits)
        if not alike(load_ipv4(get_uint32(data), bits, False), IPv4Interface(pair) if bits < 32 else IPv4Address(packed[:4])):
            return False
    for bits in (8, 126, 128):
        if not alike(load_ipv6(data, bits, False), IPv6Interface((packed, bits)) if bits < 128 else IPv6Address(packed)):
            return False
    return alike(load_ipv4(0x0A00_0000, 8, True), IPv4Network("10.0.0.0/8"))


cdef frozenset UNUSABLE = (
    frozenset() if addresses_are_usual() else frozenset(("load_inet", "load_inet_text", "load_cidr", "load_cidr_text"))
)
"""The twins that are no good in this Python."""


# -- macaddr and macaddr8

cdef const char *HEX_DIGITS = b"0123456789abcdef"


cdef object load_macaddr(LoadTwin self, Bytes data, Py_ssize_t size):
    cdef char text[24]
    cdef Py_ssize_t i
    if size != 6 and size != 8:
        return slow(self, data, size)
    for i in range(size):
        text[3 * i] = HEX_DIGITS[data[i] >> 4]
        text[3 * i + 1] = HEX_DIGITS[data[i] & 15]
        text[3 * i + 2] = b":"
    return anyq_ascii(text, 3 * size - 1)
