"""Decoders of server messages: round trips, and payloads made to break them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyq.errors import RemoteProtocolError
from anyq.protocol import messages as be
from anyq.protocol.backend import decode
from anyq.protocol.constants import (
    PROTOCOL_3_0,
    PROTOCOL_3_2,
    AuthenticationCode,
    BackendCode,
    Format,
    TransactionStatus,
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
ascii_name = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
data = st.binary(max_size=40)
uint16 = st.integers(0, 2**16 - 1)
int16 = st.integers(-(2**15), 2**15 - 1)
uint32 = st.integers(0, 2**32 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
formats = st.sampled_from(Format)
fields = st.dictionaries(st.characters(min_codepoint=1, max_codepoint=255), text, max_size=6)
field_descriptions = st.builds(be.FieldDescription, text, uint32, int16, uint32, int16, int32, formats)
values = st.none() | data


def tuples(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=6).map(tuple)


MESSAGES: dict[type[be.BackendMessage], st.SearchStrategy[be.BackendMessage]] = {
    be.AuthenticationCleartextPassword: st.builds(be.AuthenticationCleartextPassword),
    be.AuthenticationGSS: st.builds(be.AuthenticationGSS),
    be.AuthenticationGSSContinue: st.builds(be.AuthenticationGSSContinue, data),
    be.AuthenticationKerberosV5: st.builds(be.AuthenticationKerberosV5),
    be.AuthenticationMD5Password: st.builds(be.AuthenticationMD5Password, st.binary(min_size=4, max_size=4)),
    be.AuthenticationOk: st.builds(be.AuthenticationOk),
    be.AuthenticationSASL: st.builds(be.AuthenticationSASL, tuples(ascii_name)),
    be.AuthenticationSASLContinue: st.builds(be.AuthenticationSASLContinue, data),
    be.AuthenticationSASLFinal: st.builds(be.AuthenticationSASLFinal, data),
    be.AuthenticationSCMCredential: st.builds(be.AuthenticationSCMCredential),
    be.AuthenticationSSPI: st.builds(be.AuthenticationSSPI),
    be.BackendKeyData: st.builds(be.BackendKeyData, int32, st.binary(min_size=4, max_size=256)),
    be.BindComplete: st.builds(be.BindComplete),
    be.CloseComplete: st.builds(be.CloseComplete),
    be.CommandComplete: st.builds(be.CommandComplete, text),
    be.CopyBothResponse: st.builds(be.CopyBothResponse, formats, tuples(formats)),
    be.CopyData: st.builds(be.CopyData, data),
    be.CopyDone: st.builds(be.CopyDone),
    be.CopyInResponse: st.builds(be.CopyInResponse, formats, tuples(formats)),
    be.CopyOutResponse: st.builds(be.CopyOutResponse, formats, tuples(formats)),
    be.DataRow: st.builds(be.DataRow, tuples(values)),
    be.EmptyQueryResponse: st.builds(be.EmptyQueryResponse),
    be.ErrorResponse: st.builds(be.ErrorResponse, fields),
    be.FunctionCallResponse: st.builds(be.FunctionCallResponse, values),
    be.NegotiateProtocolVersion: st.builds(be.NegotiateProtocolVersion, uint32, tuples(text)),
    be.NoData: st.builds(be.NoData),
    be.NoticeResponse: st.builds(be.NoticeResponse, fields),
    be.NotificationResponse: st.builds(be.NotificationResponse, int32, text, text),
    be.ParameterDescription: st.builds(be.ParameterDescription, tuples(uint32)),
    be.ParameterStatus: st.builds(be.ParameterStatus, text, text),
    be.ParseComplete: st.builds(be.ParseComplete),
    be.PortalSuspended: st.builds(be.PortalSuspended),
    be.ReadyForQuery: st.builds(
        be.ReadyForQuery,
        st.sampled_from([TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR]),
    ),
    be.RowDescription: st.builds(be.RowDescription, tuples(field_descriptions)),
}

any_message = st.one_of(*MESSAGES.values())


def decode_whole(message: bytes) -> be.BackendMessage:
    """Decode one message as it is on the wire."""
    (length,) = struct.unpack_from(">I", message, 1)
    assert length == len(message) - 1
    return decode(message[0], message[5:])


def test_every_message_is_tested() -> None:
    kinds = {cls for cls in vars(be).values() if isinstance(cls, type) and issubclass(cls, be.BackendMessage)}
    bases = {base for cls in kinds for base in cls.__mro__[1:]}
    assert kinds - bases == set(MESSAGES)
    assert {cls.code for cls in MESSAGES} == set(BackendCode)
    assert {cls.request for cls in MESSAGES if issubclass(cls, be.Authentication)} == set(AuthenticationCode)


@pytest.mark.parametrize("kind", list(MESSAGES), ids=lambda kind: kind.__name__)
@given(source=st.data())
def test_round_trip(kind: type[be.BackendMessage], source: st.DataObject) -> None:
    message = source.draw(MESSAGES[kind])
    decoded = decode_whole(message.encode())
    assert type(decoded) is kind
    assert decoded == message


@given(any_message)
def test_any_buffer_can_be_decoded(message: be.BackendMessage) -> None:
    payload = message.encode()[5:]
    assert decode(message.code, bytearray(payload)) == message
    assert decode(message.code, memoryview(payload)) == message


@given(any_message)
def test_messages_are_values(message: be.BackendMessage) -> None:
    assert copy.copy(message) == message
    assert pickle.loads(pickle.dumps(message)) == message
    assert not hasattr(message, "__dict__")
    for field in dataclasses.fields(message):
        other = copy.copy(message)
        setattr(other, field.name, object())
        assert other != message


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (be.AuthenticationOk(), b"R\0\0\0\x08\0\0\0\0"),
        (be.AuthenticationMD5Password(b"salt"), b"R\0\0\0\x0c\0\0\0\5salt"),
        (be.AuthenticationSASL(("SCRAM-SHA-256",)), b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        (be.BackendKeyData(258, b"key!"), b"K\0\0\0\x0c\0\0\1\2key!"),
        (be.ReadyForQuery(TransactionStatus.INERROR), b"Z\0\0\0\5E"),
        (be.CommandComplete("SELECT 1"), b"C\0\0\0\rSELECT 1\0"),
        (be.DataRow((b"a", None, b"")), b"D\0\0\0\x13\0\3\0\0\0\1a\xff\xff\xff\xff\0\0\0\0"),
        (
            be.RowDescription((be.FieldDescription("n", 5, 1, 23, 4, -1, 1),)),
            b"T\0\0\0\x1a\0\1n\0\0\0\0\5\0\1\0\0\0\x17\0\4\xff\xff\xff\xff\0\1",
        ),
        (
            be.ErrorResponse({"S": "ERROR", "C": "42601"}),
            b"E\0\0\0\x13SERROR\0C42601\0\0",
        ),
        (be.NotificationResponse(7, "c", ""), b"A\0\0\0\x0b\0\0\0\7c\0\0"),
        (be.CopyInResponse(Format.BINARY, (Format.BINARY,)), b"G\0\0\0\x09\1\0\1\0\1"),
        (be.NegotiateProtocolVersion(PROTOCOL_3_0, ("_pq_.x",)), b"v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.x\0"),
        (be.FunctionCallResponse(None), b"V\0\0\0\x08\xff\xff\xff\xff"),
    ],
)
def test_known_bytes(message: be.BackendMessage, wire: bytes) -> None:
    # Written by hand from the manual, so that encoder and decoder cannot be wrong together.
    assert message.encode() == wire
    assert decode_whole(wire) == message


# --- Hostile payloads


@settings(max_examples=300)
@given(st.sampled_from(BackendCode), st.binary(max_size=80))
def test_random_payloads_decode_or_are_refused(code: int, payload: bytes) -> None:
    try:
        message = decode(code, payload)
    except RemoteProtocolError:
        return
    assert isinstance(message, be.BackendMessage)
    assert message.code == code


@settings(max_examples=300)
@given(any_message, st.data())
def test_damaged_messages_decode_or_are_refused(message: be.BackendMessage, source: st.DataObject) -> None:
    payload = bytearray(message.encode()[5:])
    for _ in range(source.draw(st.integers(1, 3))):
        at = source.draw(st.integers(0, len(payload)))
        match source.draw(st.sampled_from(["cut", "insert", "overwrite"])):
            case "cut":
                del payload[at:]
            case "insert":
                payload[at:at] = source.draw(st.binary(min_size=1, max_size=4))
            case _:
                piece = source.draw(st.sampled_from([b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]))
                payload[at : at + len(piece)] = piece
    try:
        decode(message.code, payload)
    except RemoteProtocolError as ex:
        assert message.code.name in str(ex)


@pytest.mark.parametrize("kind", list(MESSAGES), ids=lambda kind: kind.__name__)
@given(source=st.data())
def test_every_cut_is_refused_or_another_message(kind: type[be.BackendMessage], source: st.DataObject) -> None:
    message = source.draw(MESSAGES[kind])
    payload = message.encode()[5:]
    for end in range(len(payload)):
        try:
            decoded = decode(message.code, payload[:end])
        except RemoteProtocolError:
            continue
        # Only what is nothing but data, or a shorter list of data, can be cut and still be a message.
        assert decoded != message


@pytest.mark.parametrize("code", sorted(set(range(256)) - set(BackendCode)) + [-1, 256])
def test_unknown_messages_are_refused(code: int) -> None:
    with pytest.raises(RemoteProtocolError, match="unknown type"):
        decode(code, b"")


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (BackendCode.AUTHENTICATION, b"\0\0\0\x01"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\x0d"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\0extra"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\x05salt!"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\x0a"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\x0aSCRAM-SHA-256\0"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\x0aSCRAM-SHA-256\0\0PLAIN\0\0"),
        (BackendCode.AUTHENTICATION, b"\0\0\0\x0a\0\0"),
        (BackendCode.BACKEND_KEY_DATA, b"\0\0\0\1abc"),
        (BackendCode.BACKEND_KEY_DATA, b"\0\0\0\1" + bytes(257)),
        (BackendCode.COMMAND_COMPLETE, b"SELECT 1"),
        (BackendCode.COMMAND_COMPLETE, b"SELECT 1\0\0"),
        (BackendCode.COPY_IN_RESPONSE, b"\2\0\0"),
        (BackendCode.COPY_IN_RESPONSE, b"\0\0\1\0\2"),
        (BackendCode.COPY_OUT_RESPONSE, b"\0\0\2\0\0"),
        (BackendCode.COPY_BOTH_RESPONSE, b""),
        (BackendCode.DATA_ROW, b"\0\1\xff\xff\xff\xfe"),
        (BackendCode.DATA_ROW, b"\0\1\0\0\0\5abcd"),
        (BackendCode.DATA_ROW, b"\0\1\x7f\xff\xff\xff"),
        (BackendCode.DATA_ROW, b"\0\0more"),
        (BackendCode.ERROR_RESPONSE, b""),
        (BackendCode.ERROR_RESPONSE, b"SERROR\0"),
        (BackendCode.ERROR_RESPONSE, b"SERROR"),
        (BackendCode.NOTICE_RESPONSE, b"SERROR\0\0C42601\0\0"),
        (BackendCode.FUNCTION_CALL_RESPONSE, b""),
        (BackendCode.NEGOTIATE_PROTOCOL_VERSION, b"\0\3\0\0\0\0\0\2one\0"),
        (BackendCode.NEGOTIATE_PROTOCOL_VERSION, b"\0\3\0\0\xff\xff\xff\xff"),
        (BackendCode.NEGOTIATE_PROTOCOL_VERSION, b"\0\3\0\0\0\0\0\1one"),
        (BackendCode.NOTIFICATION_RESPONSE, b"\0\0\0\1channel\0payload"),
        (BackendCode.PARAMETER_DESCRIPTION, b"\xff\xff\0\0\0\1"),
        (BackendCode.PARAMETER_STATUS, b"name\0value"),
        (BackendCode.READY_FOR_QUERY, b"X"),
        (BackendCode.READY_FOR_QUERY, b""),
        (BackendCode.READY_FOR_QUERY, b"II"),
        (BackendCode.PARSE_COMPLETE, b"\0"),
        (BackendCode.ROW_DESCRIPTION, b"\xff\xff"),
        (BackendCode.ROW_DESCRIPTION, b"\0\1name\0" + bytes(17)),
        (BackendCode.ROW_DESCRIPTION, b"\0\1name\0" + bytes(17) + b"\2"),
    ],
)
def test_malformed_payloads_are_refused(code: BackendCode, payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=code.name):
        decode(code, payload)


@pytest.mark.parametrize(
    ("code", "payload"),
    [
        (BackendCode.AUTHENTICATION, b"\0\0\0\x0a" + b"\xff" * 60),
        (BackendCode.COPY_IN_RESPONSE, b"\0\xff\xff"),
        (BackendCode.DATA_ROW, b"\xff\xff"),
        (BackendCode.DATA_ROW, b"\0\1\x7f\xff\xff\xff"),
        (BackendCode.FUNCTION_CALL_RESPONSE, b"\x7f\xff\xff\xff"),
        (BackendCode.NEGOTIATE_PROTOCOL_VERSION, b"\0\3\0\0\x7f\xff\xff\xff"),
        (BackendCode.PARAMETER_DESCRIPTION, b"\xff\xff"),
        (BackendCode.ROW_DESCRIPTION, b"\xff\xff"),
    ],
)
def test_memory_is_not_given_for_a_claim(code: BackendCode, payload: bytes) -> None:
    def refuse() -> None:
        with pytest.raises(RemoteProtocolError):
            decode(code, payload)

    refuse()  # what is made once, such as compiled struct formats, is made now
    tracemalloc.start()
    try:
        refuse()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 65,535 pointers alone would be 512 KiB; an exception with its traceback is a few.
    assert peak < 64 * 1024


# --- Meaning


@pytest.mark.parametrize(
    ("tag", "rows"),
    [
        ("SELECT 5", 5),
        ("INSERT 0 12", 12),
        ("COPY 9223372036854775807", 9223372036854775807),
        ("CREATE TABLE", None),
        ("BEGIN", None),
        ("", None),
        ("SELECT ²", None),
        ("SELECT -1", None),
        ("SELECT " + "9" * 5000, None),
    ],
)
def test_rows_of_a_command_tag(tag: str, rows: int | None) -> None:
    assert be.CommandComplete(tag).rows == rows


@pytest.mark.parametrize(
    ("newest", "version"),
    [
        (0, PROTOCOL_3_0),
        (2, PROTOCOL_3_2),
        (PROTOCOL_3_0, PROTOCOL_3_0),
        (PROTOCOL_3_2, PROTOCOL_3_2),
    ],
)
def test_negotiated_version_in_both_forms(newest: int, version: int) -> None:
    assert be.NegotiateProtocolVersion(newest).version == version


def test_text_is_read_in_the_client_encoding() -> None:
    payload = b"\0\0\0\1caf\xe9\0\xa4\0"
    assert decode(BackendCode.NOTIFICATION_RESPONSE, payload, "iso8859-15") == be.NotificationResponse(1, "café", "€")


def test_text_that_cannot_be_read_is_replaced() -> None:
    assert decode(BackendCode.COMMAND_COMPLETE, b"caf\xe9\0") == be.CommandComplete("caf\ufffd")
    assert decode(BackendCode.ERROR_RESPONSE, b"M\xff\0\0") == be.ErrorResponse({"M": "\ufffd"})


def test_the_cancellation_key_is_not_in_the_repr() -> None:
    assert "s3cr3t!!" not in repr(be.BackendKeyData(1, b"s3cr3t!!"))


def test_messages_without_content_are_made_once() -> None:
    assert decode(BackendCode.PARSE_COMPLETE, b"") is decode(BackendCode.PARSE_COMPLETE, b"")
    assert decode(BackendCode.READY_FOR_QUERY, b"I") is decode(BackendCode.READY_FOR_QUERY, b"I")


def test_text_with_nul_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="NUL"):
        be.CommandComplete("a\0b").encode()
