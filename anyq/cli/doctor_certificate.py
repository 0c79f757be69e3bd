"""What a server's certificate says: whom it is for, who has signed it, and until when.

Knows as much of X.509 (RFC 5280) as that takes, as Python reads only certificates that it has verified. Must not know
whether to trust one, nor TLS.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass

from anyq.protocol.auth.der import element, elements

__all__ = ["Certificate", "read_certificate"]

_INTEGER, _OBJECT_IDENTIFIER, _SEQUENCE = 0x02, 0x06, 0x30
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS = 0xA0, 0xA3
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
_BMP_STRING = 0x1E

# Object identifiers, in DER.
_COMMON_NAME, _ORGANIZATION, _UNIT = b"\x55\x04\x03", b"\x55\x04\x0a", b"\x55\x04\x0b"
_ALTERNATIVE_NAMES = b"\x55\x1d\x11"

_THIS_CENTURY_BELOW = 50
"""Years of two digits are from 1950 to 2049 (RFC 5280, section 4.1.2.5.1)."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What there is to tell of a certificate."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """Host names and addresses that it is for."""
    not_before: datetime.datetime
    not_after: datetime.datetime


def read_certificate(der: bytes) -> Certificate | None:
    """Return what a certificate says; None for one that cannot be read."""
    try:
        return _read(der)
    except (IndexError, ValueError, OverflowError):
        return None


def _read(der: bytes) -> Certificate:
    # Certificate ::= SEQUENCE { tbsCertificate, ... }; TBSCertificate ::= SEQUENCE { version [0] DEFAULT v1,
    # serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo, ..., extensions [3] OPTIONAL }
    content, _ = element(der, _SEQUENCE)
    rest, _ = element(content, _SEQUENCE)
    if rest[0] == _VERSION:
        _, rest = element(rest, _VERSION)
    _, rest = element(rest, _INTEGER)
    _, rest = element(rest, _SEQUENCE)
    issuer, rest = element(rest, _SEQUENCE)
    validity, rest = element(rest, _SEQUENCE)
    subject, rest = element(rest, _SEQUENCE)
    _, rest = element(rest, _SEQUENCE)
    (begin_tag, begin), (end_tag, end) = elements(validity)
    names = [name for tag, content in elements(rest) if tag == _EXTENSIONS for name in _alternative_names(content)]
    common_name = _attributes(subject).get(_COMMON_NAME)
    if not names and common_name:
        names = [common_name]
    return Certificate(_show(subject), _show(issuer), tuple(names), _time(begin_tag, begin), _time(end_tag, end))


def _attributes(name: bytes) -> dict[bytes, str]:
    """Return a distinguished name's parts by their object identifiers."""
    found: dict[bytes, str] = {}
    for _, relative in elements(name):
        for _, pair in elements(relative):
            oid, rest = element(pair, _OBJECT_IDENTIFIER)
            ((tag, value),) = elements(rest)
            found.setdefault(oid, value.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace"))
    return found


def _show(name: bytes) -> str:
    parts = _attributes(name)
    return ", ".join(parts[oid] for oid in (_COMMON_NAME, _ORGANIZATION, _UNIT) if parts.get(oid))


def _alternative_names(extensions: bytes) -> list[str]:
    found: list[str] = []
    content, _ = element(extensions, _SEQUENCE)
    for _, extension in elements(content):
        # Extension ::= SEQUENCE { extnID, critical BOOLEAN DEFAULT FALSE, extnValue OCTET STRING }
        (_, oid), *_, (_, value) = elements(extension)
        if oid != _ALTERNATIVE_NAMES:
            continue
        names, _ = element(value, _SEQUENCE)
        for tag, name in elements(names):
            if tag == _DNS_NAME:
                found.append(name.decode("ascii", "replace"))
            elif tag == _IP_ADDRESS:
                found.append(str(ipaddress.ip_address(name)))
    return found


def _time(tag: int, content: bytes) -> datetime.datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("20" if int(text[:2]) < _THIS_CENTURY_BELOW else "19") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError("a time was expected")
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
