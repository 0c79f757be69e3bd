"""How a client proves who it is: the answers to authentication requests, as functions of what the server says.

Knows RFC 5802 and 7677 (SCRAM), RFC 4013 (SASLprep), RFC 5929 (tls-server-end-point) and what PostgreSQL and libpq make
of them. Must not know messages, sockets or threads: everything here is a pure function of its arguments, but for
nonces and salts. No password, nor anything made of one, is in a repr or an exception. Which answer is given, and
whether it may be, is decided by ``startup``.

``scram`` is the exchange of today, ``passwords`` what MD5 and SCRAM begin with, ``channel_binding`` what ties a SCRAM
exchange to its TLS connection, ``methods`` which of them a user allows, ``verifiers`` what a server stores. Begin with
``scram``. See the PostgreSQL manual, "SASL Authentication" and "Password Authentication".
"""
