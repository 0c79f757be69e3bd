"""The server's side of a SCRAM exchange."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode


class FakeScramServer:
    """The server's side, as RFC 5802 has it."""

    def __init__(self, password: str, salt: bytes = b"salt", iterations: int = 7, binding: bytes = b"") -> None:
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
        self.stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        self.server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.parameters = f"s={b64encode(salt).decode()},i={iterations}"
        self.binding = binding

    def first(self, client_first: bytes) -> bytes:
        flag, authzid, bare = client_first.decode().split(",", 2)
        assert authzid == ""
        self.gs2_header = f"{flag},,".encode()
        self.bare = bare
        self.nonce = bare.removeprefix("n=,r=") + "server"
        self.message = f"r={self.nonce},{self.parameters}"
        return self.message.encode()

    def final(self, client_final: bytes) -> bytes:
        without_proof, _, proof = client_final.decode().rpartition(",p=")
        channel, nonce = without_proof.split(",")
        assert nonce == f"r={self.nonce}"
        assert b64decode(channel.removeprefix("c=")) == self.gs2_header + self.binding
        auth_message = f"{self.bare},{self.message},{without_proof}".encode()
        signature = hmac.digest(self.stored_key, auth_message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(b64decode(proof), signature, strict=True))
        if hashlib.sha256(client_key).digest() != self.stored_key:
            return b"e=invalid-proof"
        return b"v=" + b64encode(hmac.digest(self.server_key, auth_message, "sha256"))
