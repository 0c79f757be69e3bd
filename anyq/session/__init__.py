"""One server session, shared by tasks: who sends, who reads, what is cancelled, and what the session has learned.

Knows requests, transactions and prepared statements of one connection. Must not know how a connection is opened, nor
the objects that a user holds.

Begin with `wire`, which has the theory of operation; the bytes below it are in `link`.
"""
