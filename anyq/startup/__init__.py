"""Start-up: from connection options to a session that is ready, on the first host that lets us in.

Knows the order of attempts: hosts, TLS or clear, versions of the protocol, authentication. Must not know what a session
is used for.

Begin with `opening`.
"""
