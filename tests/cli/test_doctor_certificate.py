"""What a certificate says, compared with what `cryptography` reads in it."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st

from anyq.cli.doctor_certificate import read_certificate
from tests.support.certificates import Certificates


@pytest.mark.parametrize(
    "name", ["right", "wrong-host", "wildcard", "expired", "early", "self-signed", "rsa-pss-sha256"]
)
def test_a_certificate(certificates: Certificates, name: str) -> None:
    der = certificates.der(name)
    theirs = x509.load_der_x509_certificate(der)
    ours = read_certificate(der)
    assert ours is not None
    assert (ours.not_before, ours.not_after) == (theirs.not_valid_before_utc, theirs.not_valid_after_utc)
    alternative = theirs.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert ours.names == tuple(str(each.value) for each in alternative)
    for text, theirs_name in ((ours.subject, theirs.subject), (ours.issuer, theirs.issuer)):
        parts = text.split(", ")
        assert parts
        assert {str(attribute.value) for attribute in theirs_name} >= set(parts)


def test_a_name_without_alternatives(certificates: Certificates) -> None:
    found = read_certificate(certificates.der("common-name"))
    assert found is not None
    assert (found.subject, found.names) == ("localhost", ("localhost",))


def test_a_time_of_two_digits() -> None:
    from anyq.cli.doctor_certificate import _time

    utc = datetime.timezone.utc
    assert _time(0x17, b"491231235959Z") == datetime.datetime(2049, 12, 31, 23, 59, 59, tzinfo=utc)
    assert _time(0x17, b"500101000000Z") == datetime.datetime(1950, 1, 1, tzinfo=utc)
    assert _time(0x18, b"20500101000000Z") == datetime.datetime(2050, 1, 1, tzinfo=utc)
    with pytest.raises(ValueError):
        _time(0x04, b"20500101000000Z")


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x30\x02\x30\x00")
def test_what_is_no_certificate(data: bytes) -> None:
    assert read_certificate(data) is None


@given(st.data())
def test_a_damaged_certificate(certificates: Certificates, data: st.DataObject) -> None:
    der = bytearray(certificates.der("right"))
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    read_certificate(bytes(der[: data.draw(st.integers(0, len(der)))]))
