"""What OpenSSL's errors mean, and what to do about them."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from anyq.transport.tls_errors import explain


def error_of(reason: str | None, text: str = "") -> ssl.SSLError:
    error = ssl.SSLError(1, text)
    if reason is not None:
        error.reason = reason
    return error


def unverified(code: int, message: str) -> ssl.SSLCertVerificationError:
    error: Any = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            unverified(10, "certificate has expired"),
            "the server's certificate has expired (certificate has expired); have it renewed on the server; check the "
            "clock of this machine",
        ),
        (unverified(99, "odd"), "the server's certificate cannot be verified: odd"),
        (
            error_of("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "the server wants a client certificate; give sslcert and sslkey (tlsv13 alert certificate required)",
        ),
        (error_of("SOMETHING_NEW"), "TLS failed: something new"),
        (error_of(None, "no reason at all"), "TLS failed: no reason at all"),
    ],
)
def test_explanations(error: ssl.SSLError, text: str) -> None:
    assert explain(error) == text


@pytest.mark.parametrize("old", ["SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"])
def test_alerts_have_other_names_in_newer_versions(old: str) -> None:
    new = old.replace("SSLV3_ALERT", "SSL/TLS_ALERT")
    assert explain(error_of(new)).partition(" (")[0] == explain(error_of(old)).partition(" (")[0]
    assert not explain(error_of(new)).startswith("TLS failed")
