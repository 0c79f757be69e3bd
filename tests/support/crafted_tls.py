"""A server's end of TLS that sends records which no library would: encrypted here, by the keys of a real handshake.

Knows how records are protected by AES-GCM: RFC 8446, section 5.2, and RFC 5288. A client's context that logs its keys
gives them away.
"""

from __future__ import annotations

import hmac
import socket
import ssl
import struct
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from anyq.transport.socket import SocketStream
from anyq.transport.tls import TlsStream
from tests.support.certificates import Certificates

ALERT, HANDSHAKE, DATA = 21, 22, 23
"""Types of records."""

HELLO_REQUEST = b"\0\0\0\0"
TICKET = b"\4\0\0\x0e" + b"\0\0\0\1" + b"\0\0\0\0" + b"\0" + b"\0\1x" + b"\0\0"
WARNING = b"\1\x5a"


class Records13:
    """What a server sends by TLS 1.3 after the handshake."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._hash, self._key_length = {48: ("sha384", 32), 32: ("sha256", 16)}[len(secret)]
        self._use()

    def _use(self) -> None:
        self._cipher = AESGCM(self._expand(b"key", self._key_length))
        self._iv = int.from_bytes(self._expand(b"iv", 12), "big")
        self._number = 0

    def _expand(self, label: bytes, length: int) -> bytes:
        label = b"tls13 " + label
        info = struct.pack("!HB", length, len(label)) + label + b"\0"
        result = block = b""
        for count in range(1, 4):
            block = hmac.digest(self._secret, block + info + bytes([count]), self._hash)
            result += block
        return result[:length]

    def record(self, kind: int, content: bytes) -> bytes:
        inner = content + bytes([kind])
        header = b"\x17\x03\x03" + struct.pack("!H", len(inner) + 16)
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def new_keys(self, *, answer: bool) -> bytes:
        """Return a KeyUpdate, and use the new keys from then on."""
        record = self.record(HANDSHAKE, b"\x18\0\0\1" + bytes([answer]))
        self._secret = self._expand(b"traffic upd", len(self._secret))
        self._use()
        return record


class Records12:
    """The same by TLS 1.2."""

    def __init__(self, master: bytes, client_random: bytes, server_random: bytes, name: str) -> None:
        size, function = (32, "sha384") if "AES256" in name else (16, "sha256")
        seed = b"key expansion" + server_random + client_random
        keys, block = b"", seed
        while len(keys) < 2 * size + 8:
            block = hmac.digest(master, block, function)
            keys += hmac.digest(master, block + seed, function)
        self._cipher = AESGCM(keys[size : 2 * size])
        self._salt = keys[2 * size + 4 : 2 * size + 8]
        self._number = 1  # the handshake's last message was the first

    def record(self, kind: int, content: bytes) -> bytes:
        number = struct.pack("!Q", self._number)
        self._number += 1
        header = bytes([kind]) + b"\x03\x03"
        sealed = self._cipher.encrypt(self._salt + number, content, number + header + struct.pack("!H", len(content)))
        return header + struct.pack("!H", len(sealed) + 8) + number + sealed


async def crafted_ends(
    ours: socket.socket, theirs: socket.socket, certificates: Certificates, folder: Path, version: ssl.TLSVersion
) -> tuple[TlsStream, Records12 | Records13]:
    """Return our stream over `ours`, after a handshake, and what makes the records to be sent by `theirs`."""
    log = folder / "keys"
    client, server = certificates.client_context(), certificates.server_context("right")
    client.options |= ssl.OP_NO_RENEGOTIATION
    client.keylog_filename = str(log)
    client.minimum_version = client.maximum_version = version
    server.num_tickets = 0
    if version is ssl.TLSVersion.TLSv1_2:
        client.set_ciphers("ECDHE+AESGCM")
    stream = TlsStream(SocketStream(ours), partial(client.wrap_bio, server_hostname="localhost"))
    said = bytearray()

    def accept() -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        accepting = server.wrap_bio(incoming, outgoing, server_side=True)
        done = False
        while not done:
            try:
                accepting.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            answer = outgoing.read()
            said.extend(answer)
            theirs.sendall(answer)
            if not done:
                incoming.write(theirs.recv(65536))

    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, accept)
        await stream.handshake()
    secrets = {line.split()[0]: line.split()[1:] for line in log.read_text().splitlines() if line[:1] != "#"}
    if version is ssl.TLSVersion.TLSv1_3:
        return stream, Records13(bytes.fromhex(secrets["SERVER_TRAFFIC_SECRET_0"][1]))
    client_random, master = map(bytes.fromhex, secrets["CLIENT_RANDOM"])
    # Behind the headers of a record and of a message, and a version.
    return stream, Records12(master, client_random, bytes(said[11:43]), stream.ssl_object.cipher()[0])  # type: ignore[index]
