"""What OpenSSL's errors mean to somebody who connects to PostgreSQL, and what to do about them.

Knows OpenSSL's names and numbers. Must not know sockets, connection options or the wire protocol.
"""

from __future__ import annotations

import ssl

__all__ = ["explain"]

_ASK_FOR_TRUST = (
    "give the certificate of the authority that signed the server's as sslrootcert, or sslrootcert=system for one of "
    "the operating system's"
)

# X509_V_ERR_... of OpenSSL's x509_vfy.h.
_VERIFICATION: dict[int, tuple[str, str]] = {
    3: ("the authority's list of revoked certificates is missing", "add it to sslcrl or sslcrldir"),
    9: ("the server's certificate is not valid yet", "check the clocks of both machines"),
    10: ("the server's certificate has expired", "have it renewed on the server; check the clock of this machine"),
    11: ("a list of revoked certificates is not valid yet", "check the clock of this machine"),
    12: ("a list of revoked certificates has expired", "get the authority's present one for sslcrl or sslcrldir"),
    18: (
        "the server's certificate is signed by itself and not trusted",
        "give that certificate as sslrootcert if it is the right one",
    ),
    19: ("the server's certificate comes from an authority that is not trusted", _ASK_FOR_TRUST),
    20: ("the server's certificate comes from an authority that is not trusted", _ASK_FOR_TRUST),
    21: ("the server's certificate comes from an authority that is not trusted", _ASK_FOR_TRUST),
    23: ("the server's certificate was revoked", "do not trust this server before it has a new one"),
    62: (
        "the server's certificate is for another host name",
        "connect by a name that the certificate has, or check that this is the right server",
    ),
    64: (
        "the server's certificate is not for this IP address",
        "connect by the host name that the certificate has (hostaddr can hold the address), or check that this is the "
        "right server",
    ),
}

_REASONS: dict[str, str] = {
    "WRONG_VERSION_NUMBER": "the server answered with something that is not TLS; check host, port and sslnegotiation",
    "UNEXPECTED_EOF_WHILE_READING": "the server closed the connection without a goodbye",
    "UNSUPPORTED_PROTOCOL": (
        "the two sides have no version of TLS in common; check ssl_min_protocol_version and ssl_max_protocol_version, "
        "and the server's settings of the same names"
    ),
    "NO_PROTOCOLS_AVAILABLE": (
        "this machine's OpenSSL has no version of TLS between ssl_min_protocol_version and ssl_max_protocol_version"
    ),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "the server does not know the authority that signed this client's certificate; check sslcert, and the server's "
        "ssl_ca_file"
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the server says that this client's certificate has expired; renew sslcert",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the server says that this client's certificate was revoked; replace sslcert",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the server does not accept this client's certificate; check sslcert",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the server wants a client certificate; give sslcert and sslkey",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "the server finds nothing that both sides support; check its ssl_ciphers and the versions of TLS on both sides"
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": (
        "the server does not accept this client's versions of TLS; check ssl_max_protocol_version, and the server's "
        "ssl_min_protocol_version"
    ),
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the server's end of TLS is not PostgreSQL's; check host and port",
}
# Newer versions of OpenSSL have other names for the same alerts.
_REASONS.update(
    {name.replace("SSLV3_ALERT", "SSL/TLS_ALERT"): text for name, text in _REASONS.items() if name.startswith("SSLV3_")}
)


def explain(error: ssl.SSLError) -> str:
    """Return what went wrong, and what to check."""
    if isinstance(error, ssl.SSLCertVerificationError):
        known = _VERIFICATION.get(error.verify_code)
        if known is None:
            return f"the server's certificate cannot be verified: {error.verify_message}"
        what, advice = known
        return f"{what} ({error.verify_message}); {advice}"
    # Typed as always there, and missing where an error was made without one.
    reason = str(getattr(error, "reason", None) or "")
    text = _REASONS.get(reason)
    name = reason.lower().replace("_", " ") or str(error.strerror or error)
    return f"{text} ({name})" if text else f"TLS failed: {name}"
