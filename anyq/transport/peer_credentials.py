"""Who is at the other end of a Unix-domain socket: `requirepeer`.

Knows what operating systems tell about it. Must not know the wire protocol, nor what a connection is used for.
"""

from __future__ import annotations

import socket
import struct
import sys

import anyio.to_thread

__all__ = ["check_peer"]


async def check_peer(sock: socket.socket, user: str) -> None:
    """Return if the process that listens at a connected Unix-domain socket runs as this user.

    PostgreSQL manual, "Parameter Key Words": requirepeer. A cancellation leaves the socket as it is; a look-up of the
    user that is under way goes on in its worker thread.

    :raises OSError: it runs as another one, or the system does not tell.
    """
    uid = _uid(sock)
    # The user database may be a directory service.
    name = await anyio.to_thread.run_sync(_name, uid, abandon_on_cancel=True)
    if name != user:
        raise OSError(f'requirepeer wants a server of the user "{user}", and this one runs as {_show(uid, name)}')


def _uid(sock: socket.socket) -> int:
    if sys.platform == "linux":
        # struct ucred: process, user, group
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
        return int(struct.unpack("iII", credentials)[1])
    elif sys.platform == "darwin":
        # struct xucred: version, user, and more. Python has no names for these (sys/un.h: SOL_LOCAL, LOCAL_PEERCRED).
        return int(struct.unpack_from("II", sock.getsockopt(0, 1, 76))[1])
    else:
        raise OSError("requirepeer is not supported on this platform")


def _name(uid: int) -> str | None:
    # This module does not exist on Windows, which has been refused before.
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _show(uid: int, name: str | None) -> str:
    return f"the user number {uid}, who has no name" if name is None else f'"{name}"'
