"""What the connection is protected from, by the sslmode in use: what could somebody on the way do?

Knows libpq's modes, what TLS has come to, and what an address tells. Must not know how TLS is negotiated, nor how
anything is shown.
"""

from __future__ import annotations

import ipaddress
import os

from anyq.conninfo import TlsOptions
from anyq.transport.channel import TlsState
from anyq.transport.socket import Address

__all__ = ["protection"]

_CLEAR = (
    "Without TLS, whoever is on the way to the server can read everything, queries and rows, change it, or pretend to "
    "be the server."
)
_FULL = "Take sslmode=verify-full with sslrootcert= the server's authority (or sslrootcert=system)."
_IN_BETWEEN = (
    "Whoever only listens can read nothing. But the certificate is not verified: somebody in between can show one of "
    "his own, and read and change everything."
)
_STRIPPED = (
    "sslmode={mode} would also have gone on without TLS: somebody in between need only say that the server has none."
)


def protection(options: TlsOptions, tls: TlsState | None, peer: Address) -> tuple[bool, str]:
    """Return whether all is well, and what an attacker could do.

    :param tls: what was negotiated; None without TLS.
    :param peer: the server's address.
    """
    family_target = peer[1]
    if not isinstance(family_target, tuple):
        return True, _of_a_socket(os.fsdecode(family_target))
    if tls is None:
        if _is_this_machine(str(family_target[0])):
            return True, (
                "Without TLS, but the connection does not leave this machine, unless something at that port passes it "
                "on: a tunnel, or a container's port."
            )
        return False, " ".join([_CLEAR, *_why_clear(options), _FULL])
    binds = options.channel_binding == "require"
    if options.mode == "verify-full" or (options.context is not None and options.context.check_hostname):
        return True, (
            "Nobody on the way can read or change anything, nor pretend to be the server, as long as the authority "
            "that signed its certificate can be trusted."
        )
    if binds:
        return True, "channel_binding=require: a login that somebody in between passes on is refused."
    if not tls.verified:
        parts = [_IN_BETWEEN]
    else:
        parts = [
            "Whoever only listens can read nothing. The certificate's authority is checked, the host's name is not: "
            "whoever has any certificate of that authority can be in between."
        ]
    if options.mode in ("allow", "prefer"):
        parts.append(_STRIPPED.format(mode=options.mode))
    # Where only the owner of the authority gets certificates, its name is enough.
    calm = tls.verified and options.mode in ("require", "verify-ca")
    return calm, " ".join([*parts, _FULL])


def _of_a_socket(path: str) -> str:
    text = "A Unix socket, which needs no TLS: nothing leaves this machine."
    if path.startswith(("/tmp/", "\0")):
        text += (
            " But anybody here may put a socket at such a place: requirepeer=postgres refuses one that is not the "
            "server's."
        )
    return text


def _is_this_machine(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _why_clear(options: TlsOptions) -> list[str]:
    if options.mode == "disable":
        return ["sslmode=disable does not even ask for it."]
    return [f"sslmode={options.mode} goes on without it."]
