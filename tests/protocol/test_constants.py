"""Numbers that others know as well."""

from __future__ import annotations

import pytest

from anyq.protocol.constants import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    AuthenticationCode,
    BackendCode,
    Format,
    FrontendCode,
    TransactionStatus,
    show_version,
)


@pytest.mark.parametrize(("version", "shown"), [(PROTOCOL_3_0, "3.0"), (PROTOCOL_3_2, "3.2"), (2 << 16, "2.0")])
def test_a_version_is_shown_as_people_write_it(version: int, shown: str) -> None:
    assert show_version(version) == shown


def test_the_enumerations_are_those_of_libpq() -> None:
    """PGTransactionStatusType, and the format codes of PQexecParams."""
    assert [status.name for status in sorted(TransactionStatus)] == ["IDLE", "ACTIVE", "INTRANS", "INERROR", "UNKNOWN"]
    assert list(TransactionStatus) == [0, 1, 2, 3, 4]
    assert (Format.TEXT, Format.BINARY) == (0, 1)


def test_every_message_of_the_server_has_a_code_of_its_own() -> None:
    """Manual, "Message Formats": 24 of them."""
    assert bytes(sorted(BackendCode)) == b"123ACDEGHIKNRSTVWZcdnstv"
    assert len(BackendCode.__members__) == len(BackendCode)


def test_one_code_answers_all_requests_for_authentication() -> None:
    """Manual, "Message Formats"."""
    assert bytes(sorted(FrontendCode)) == b"BCDEFHPQSXcdfp"
    assert len({FrontendCode[name] for name in ("PASSWORD", "SASL_RESPONSE", "GSS_RESPONSE")}) == 1
    assert sorted(AuthenticationCode) == [0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]
