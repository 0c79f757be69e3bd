"""Pairs of sockets that are joined, and what fills or empties one."""

from __future__ import annotations

import socket
from typing import TypeAlias

Pair: TypeAlias = tuple[socket.socket, socket.socket]


def fill(sock: socket.socket) -> None:
    """Send until the socket takes no more."""
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        pass


def empty(sock: socket.socket) -> None:
    try:
        while sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
