"""Statements: a query and its parameters to the bytes of a request, and a reply to a result.

Knows placeholders, prepared statements, result formats. Must not know tasks, sockets or when anything is sent: nothing
here does input or output.

Begin with `composer`.
"""
