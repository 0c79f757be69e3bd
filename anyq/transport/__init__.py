"""Bytes: sockets, TLS over them, a caller's own stream, and how a server is dialled.

Knows addresses, descriptors and how to try, wait and close. Must not know messages or what the bytes mean.

Begin with `channel`, which says what everything above needs of a stream.
"""
