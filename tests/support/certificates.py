"""Certificates, keys and lists of revoked certificates for tests, made anew for each session.

Two authorities, one of which nobody trusts, and whatever can be wrong with a certificate.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

PASS_PHRASE = "correct horse"
HOSTNAME = "localhost"
_DAY = datetime.timedelta(days=1)

#: What a certificate can be signed with, by a name for it. The last has no hash that it could be bound by.
SIGNATURES: dict[str, tuple[str, hashes.HashAlgorithm | None]] = {
    "rsa-sha256": ("rsa", hashes.SHA256()),
    "rsa-sha384": ("rsa", hashes.SHA384()),
    "rsa-sha512": ("rsa", hashes.SHA512()),
    "rsa-pss-sha256": ("rsa-pss", hashes.SHA256()),
    "rsa-pss-sha384": ("rsa-pss", hashes.SHA384()),
    "rsa-pss-sha512": ("rsa-pss", hashes.SHA512()),
    "ecdsa-sha256": ("ec", hashes.SHA256()),
    "ecdsa-sha384": ("ec", hashes.SHA384()),
    "ecdsa-sha512": ("ec", hashes.SHA512()),
    "ed25519": ("ed25519", None),
}


class Certificates:
    """Files of certificates in a folder. Servers' names are theirs; what is wrong with each is its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = trustme.CA(organization_name="anyq tests", key_type=trustme.KeyType.ECDSA)
        self._stranger = trustme.CA(organization_name="somebody else", key_type=trustme.KeyType.ECDSA)
        self.root = self._write("root.crt", self._authority.cert_pem.bytes())
        self.other_root = self._write("other.crt", self._stranger.cert_pem.bytes())
        now = datetime.datetime.now(datetime.timezone.utc)
        names = [HOSTNAME, "127.0.0.1", "::1"]
        self._issue("right", self._authority, names)
        self._issue("wrong-host", self._authority, ["db.example.com"])
        self._issue("wildcard", self._authority, ["*.example.com"])
        self._issue("expired", self._authority, names, not_before=now - 9 * _DAY, not_after=now - _DAY)
        self._issue("early", self._authority, names, not_before=now + _DAY, not_after=now + 9 * _DAY)
        self._issue("stranger", self._stranger, names)
        self._issue("revoked", self._authority, names)
        self._issue("client", self._authority, [], common_name="anyq_cert")
        self._issue("strange-client", self._stranger, [], common_name="anyq_cert")
        self._encrypt_key("client", "client-encrypted")
        self._self_sign("self-signed", "rsa", hashes.SHA256())
        self._self_sign("common-name", "ec", hashes.SHA256(), alternative=False)
        for name, (kind, algorithm) in SIGNATURES.items():
            self._self_sign(name, kind, algorithm)
        self.crl = self._write("root.crl", self._revoke("revoked"))
        self.empty_crl = self._write("empty.crl", self._revoke())

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def der(self, name: str) -> bytes:
        """Return the named certificate itself, without those of authorities."""
        pem = self.certificate(name).read_bytes()
        return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)

    def server_context(self, name: str, *, verify: bool = False, alpn: bool = True) -> ssl.SSLContext:
        """Return the context of a server with the named certificate, which asks for the client's if it verifies."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(name), self.key(name))
        # PostgreSQL sends none either. What tests that.
        context.num_tickets = 0
        if verify:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.root)
        if alpn:
            context.set_alpn_protocols(["postgresql"])
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return the context of a client that trusts the right authority and checks names."""
        context = ssl.create_default_context(cafile=self.root)
        context.set_alpn_protocols(["postgresql"])
        return context

    def _issue(
        self,
        name: str,
        authority: trustme.CA,
        names: list[str],
        *,
        common_name: str | None = None,
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> None:
        issued = authority.issue_cert(
            *names,
            common_name=common_name,
            not_before=not_before,
            not_after=not_after,
            key_type=trustme.KeyType.ECDSA,
        )
        self._write(f"{name}.crt", b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self._write(f"{name}.key", issued.private_key_pem.bytes())

    def _self_sign(
        self, name: str, kind: str, algorithm: hashes.HashAlgorithm | None, *, alternative: bool = True
    ) -> None:
        key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        if kind == "ec":
            key = ec.generate_private_key(ec.SECP256R1())
        elif kind == "ed25519":
            key = ed25519.Ed25519PrivateKey.generate()
        else:
            key = self._rsa_key()
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOSTNAME)])
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 9 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        )
        if alternative:
            names = [x509.DNSName(HOSTNAME), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        pss = None
        if kind == "rsa-pss":
            assert algorithm is not None
            pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
        certificate = builder.sign(key, algorithm, rsa_padding=pss)  # type: ignore[arg-type]
        self._write(f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))
        self._write_key(name, key)

    def _rsa_key(self) -> rsa.RSAPrivateKey:
        # Making one takes long, and nothing here depends on whose it is.
        if not hasattr(self, "_rsa"):
            self._rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._rsa

    def _encrypt_key(self, name: str, encrypted: str) -> None:
        key = serialization.load_pem_private_key(self.key(name).read_bytes(), None)
        self._write(f"{encrypted}.crt", self.certificate(name).read_bytes())
        self._write_key(encrypted, key, PASS_PHRASE)

    def _write_key(self, name: str, key: object, pass_phrase: str | None = None) -> None:
        encryption = (
            serialization.NoEncryption()
            if pass_phrase is None
            else serialization.BestAvailableEncryption(pass_phrase.encode())
        )
        data = key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        self._write(f"{name}.key", data)

    def _revoke(self, *names: str) -> bytes:
        key = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        issuer = x509.load_pem_x509_certificate(self._authority.cert_pem.bytes())
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(now - _DAY)
            .next_update(now + 9 * _DAY)
        )
        for name in names:
            certificate = x509.load_pem_x509_certificate(self.certificate(name).read_bytes())
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(certificate.serial_number)
                .revocation_date(now - _DAY)
                .build()
            )
        crl = builder.sign(key, hashes.SHA256())  # type: ignore[arg-type]
        return crl.public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        path.chmod(0o600 if name.endswith(".key") else 0o644)
        return path
