"""What ties a SCRAM exchange to the TLS connection that it goes over: a hash of the server's certificate.

Knows RFC 5929 (tls-server-end-point), and as much of a certificate (RFC 5280) as it takes to find the algorithm of its
signature. Must not know TLS, or whether to bind.
"""

from __future__ import annotations

import hashlib

from .der import element

__all__ = ["tls_server_end_point"]

_HASH_OF_SIGNATURE: dict[bytes, str] = {
    # Object identifiers of signature algorithms, in DER. RFC 5929, 4.1: MD5 and SHA-1 become SHA-256.
    bytes.fromhex("2a864886f70d010104"): "sha256",  # md5WithRSAEncryption
    bytes.fromhex("2a864886f70d010105"): "sha256",  # sha1WithRSAEncryption
    bytes.fromhex("2a864886f70d01010e"): "sha224",  # sha224WithRSAEncryption
    bytes.fromhex("2a864886f70d01010b"): "sha256",  # sha256WithRSAEncryption
    bytes.fromhex("2a864886f70d01010c"): "sha384",  # sha384WithRSAEncryption
    bytes.fromhex("2a864886f70d01010d"): "sha512",  # sha512WithRSAEncryption
    bytes.fromhex("60864801650304030d"): "sha3_224",  # id-rsassa-pkcs1-v1_5-with-sha3-224
    bytes.fromhex("60864801650304030e"): "sha3_256",  # id-rsassa-pkcs1-v1_5-with-sha3-256
    bytes.fromhex("60864801650304030f"): "sha3_384",  # id-rsassa-pkcs1-v1_5-with-sha3-384
    bytes.fromhex("608648016503040310"): "sha3_512",  # id-rsassa-pkcs1-v1_5-with-sha3-512
    bytes.fromhex("2a8648ce3d0401"): "sha256",  # ecdsa-with-SHA1
    bytes.fromhex("2a8648ce3d040301"): "sha224",  # ecdsa-with-SHA224
    bytes.fromhex("2a8648ce3d040302"): "sha256",  # ecdsa-with-SHA256
    bytes.fromhex("2a8648ce3d040303"): "sha384",  # ecdsa-with-SHA384
    bytes.fromhex("2a8648ce3d040304"): "sha512",  # ecdsa-with-SHA512
    bytes.fromhex("608648016503040309"): "sha3_224",  # id-ecdsa-with-sha3-224
    bytes.fromhex("60864801650304030a"): "sha3_256",  # id-ecdsa-with-sha3-256
    bytes.fromhex("60864801650304030b"): "sha3_384",  # id-ecdsa-with-sha3-384
    bytes.fromhex("60864801650304030c"): "sha3_512",  # id-ecdsa-with-sha3-512
    bytes.fromhex("2a8648ce380403"): "sha256",  # dsa-with-SHA1
    bytes.fromhex("608648016503040301"): "sha224",  # dsa-with-SHA224
    bytes.fromhex("608648016503040302"): "sha256",  # dsa-with-SHA256
    bytes.fromhex("608648016503040303"): "sha384",  # dsa-with-SHA384
    bytes.fromhex("608648016503040304"): "sha512",  # dsa-with-SHA512
}

_RSASSA_PSS = bytes.fromhex("2a864886f70d01010a")

_HASHES: dict[bytes, str] = {
    # Object identifiers of hashes, in DER: the parameter of RSASSA-PSS.
    bytes.fromhex("2b0e03021a"): "sha256",  # sha1
    bytes.fromhex("608648016503040204"): "sha224",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
    bytes.fromhex("608648016503040207"): "sha3_224",
    bytes.fromhex("608648016503040208"): "sha3_256",
    bytes.fromhex("608648016503040209"): "sha3_384",
    bytes.fromhex("60864801650304020a"): "sha3_512",
}

_SEQUENCE, _OBJECT_IDENTIFIER, _CONTEXT_0 = 0x30, 0x06, 0xA0


def tls_server_end_point(certificate: bytes) -> bytes | None:
    """Return the channel binding data for the server's `certificate` (DER), by RFC 5929.

    None if the certificate's signature algorithm has no hash to bind with (Ed25519, for one), or the
    certificate cannot be read: then only SCRAM without channel binding can be used.
    """
    try:
        name = _signature_hash(certificate)
    except (IndexError, ValueError):
        return None
    return None if name is None else hashlib.new(name, certificate).digest()


def _signature_hash(certificate: bytes) -> str | None:
    # Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm AlgorithmIdentifier, signature }
    # AlgorithmIdentifier ::= SEQUENCE { algorithm OBJECT IDENTIFIER, parameters ANY OPTIONAL }
    content, _ = element(certificate, _SEQUENCE)
    _, rest = element(content, _SEQUENCE)
    algorithm, _ = element(rest, _SEQUENCE)
    oid, parameters = element(algorithm, _OBJECT_IDENTIFIER)
    if oid != _RSASSA_PSS:
        return _HASH_OF_SIGNATURE.get(oid)
    # RSASSA-PSS-params ::= SEQUENCE { hashAlgorithm [0] AlgorithmIdentifier DEFAULT sha1, ... }
    fields, _ = element(parameters, _SEQUENCE)
    if not fields or fields[0] != _CONTEXT_0:
        return "sha256"
    tagged, _ = element(fields, _CONTEXT_0)
    hash_algorithm, _ = element(tagged, _SEQUENCE)
    oid, _ = element(hash_algorithm, _OBJECT_IDENTIFIER)
    return _HASHES.get(oid)
