"""What a certificate gives to bind to."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq.protocol.auth.channel_binding import tls_server_end_point


def der(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(content).to_bytes(size, "big") + content


def certificate(algorithm: str, *parameters: bytes) -> bytes:
    """Make what has the outline of a certificate: its content is of no matter here."""
    identifier = der(0x30, der(0x06, bytes.fromhex(algorithm)), *parameters)
    return der(0x30, der(0x30, bytes(300)), identifier, der(0x03, bytes(65)))


RSA_PSS = "2a864886f70d01010a"


def pss(hash_oid: str) -> bytes:
    return der(0x30, der(0xA0, der(0x30, der(0x06, bytes.fromhex(hash_oid)))))


@pytest.mark.parametrize(
    ("cert", "name"),
    [
        (certificate("2a864886f70d01010b", b"\5\0"), "sha256"),
        (certificate("2a864886f70d01010c", b"\5\0"), "sha384"),
        (certificate("2a864886f70d010105", b"\5\0"), "sha256"),  # SHA-1 is raised to SHA-256
        (certificate("2a864886f70d010104", b"\5\0"), "sha256"),  # and so is MD5
        (certificate("2a8648ce3d040304"), "sha512"),
        (certificate(RSA_PSS, pss("608648016503040203")), "sha512"),
        (certificate(RSA_PSS, pss("2b0e03021a")), "sha256"),
        (certificate(RSA_PSS, der(0x30)), "sha256"),
        (certificate(RSA_PSS, pss("608648016503040208")), "sha3_256"),
        (certificate("60864801650304030a"), "sha3_256"),
        (certificate("608648016503040310", b"\5\0"), "sha3_512"),
        (certificate("608648016503040304"), "sha512"),
    ],
)
def test_tls_server_end_point(cert: bytes, name: str) -> None:
    assert tls_server_end_point(cert) == hashlib.new(name, cert).digest()


@pytest.mark.parametrize(
    "cert",
    [
        b"",
        b"\x30",
        b"\x30\x80",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x31\x00",
        certificate("2b6570"),  # Ed25519
        certificate(RSA_PSS),
        certificate(RSA_PSS, pss("2b06")),
        certificate("2a864886f70d01010b")[:310],
    ],
)
def test_certificates_without_channel_binding(cert: bytes) -> None:
    assert tls_server_end_point(cert) is None


def test_the_identifiers_are_those_of_the_hashes() -> None:
    """Against the ones that the library `cryptography` knows, as far as the Python of the day can hash with them."""
    oids = pytest.importorskip("cryptography.hazmat._oid")
    known = 0
    for name, oid in vars(oids.SignatureAlgorithmOID).items():
        algorithm = None if name.startswith("_") else oids._SIG_OIDS_TO_HASH.get(oid)
        if algorithm is None or name in ("RSASSA_PSS",) or not hasattr(oid, "dotted_string"):
            continue
        first, second, *rest = map(int, oid.dotted_string.split("."))
        encoded = bytes([first * 40 + second])
        for arc in rest:
            groups = [arc & 0x7F]
            while arc := arc >> 7:
                groups.append(arc & 0x7F | 0x80)
            encoded += bytes(reversed(groups))
        expected = {"md5": "sha256", "sha1": "sha256"}.get(algorithm.name, algorithm.name.replace("-", "_"))
        cert = certificate(encoded.hex())
        assert tls_server_end_point(cert) == hashlib.new(expected, cert).digest(), name
        known += 1
    assert known >= 18


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: der(0x30, der(0x30), data)))
def test_any_certificate_can_be_read(cert: bytes) -> None:
    assert tls_server_end_point(cert) is None or len(cert) > 2
