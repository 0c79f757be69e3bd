"""Names of two-phase transactions: three parts, one text, and what others have called theirs."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyq import Xid

NOON = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)

parts = st.text(st.characters(exclude_categories=["Cs"]), max_size=64)


def test_it_is_a_tuple_of_three_parts() -> None:
    xid = Xid(1, "global", "branch", NOON, "owner", "db")
    format_id, gtrid, bqual = xid
    assert (format_id, gtrid, bqual) == (xid.format_id, xid.gtrid, xid.bqual) == xid[:] == (1, "global", "branch")
    assert len(xid) == 3
    assert (xid.prepared, xid.owner, xid.database) == (NOON, "owner", "db")
    # What is known of it beside makes no other of it.
    assert xid == Xid(1, "global", "branch")
    assert hash(xid) == hash(Xid(1, "global", "branch"))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda xid: pickle.loads(pickle.dumps(xid))])
def test_copies_know_everything(again: Any) -> None:
    xid = Xid(1, "global", "branch", NOON, "owner", "db")
    assert repr(again(xid)) == repr(xid)
    assert repr(xid) == (
        "Xid(format_id=1, gtrid='global', bqual='branch', "
        "prepared=datetime.datetime(2024, 2, 29, 12, 0, tzinfo=datetime.timezone.utc), owner='owner', database='db')"
    )


@given(st.integers(0, 2**31 - 1), parts, parts)
def test_any_three_parts_have_a_text(format_id: int, gtrid: str, bqual: str) -> None:
    xid = Xid.from_parts(format_id, gtrid, bqual)
    assert str(xid).isascii()
    assert Xid.from_string(str(xid)) == xid


def test_the_text_is_that_of_other_drivers(psycopg: Any) -> None:
    for given_parts in [(42, "gtrid", "bqual"), (0, "", ""), (2**31 - 1, "it's", "\\ é")]:
        assert str(Xid.from_parts(*given_parts)) == str(psycopg.Xid.from_parts(*given_parts))
    assert str(Xid(42, "gtrid", "bqual")) == "42_Z3RyaWQ=_YnF1YWw="


@pytest.mark.parametrize(
    "gid",
    [
        *("", "x", "it's", "\\", "1_2", "a_b_c", "1__", "1_2_3", "1_YQ==", "1_YQ==_Yg==_", " 1_YQ==_Yg=="),
        *("-1_YQ==_Yg==", "+1_YQ==_Yg==", "01_YQ==_Yg==", "2147483648_YQ==_Yg==", "\u0661_YQ==_Yg=="),
        # Base64 that is read as the same, and would be written in another way.
        *("1_YQ_Yg==", "1_YR==_Yg==", "1_Y Q==_Yg==", "1_YQ==\n_Yg==", "1_YQ==_Yg==\n", "1_YQ==_\u00e9"),
        # No text, and too much.
        *("1_/w==_Yg==", f"1_{'YWFh' * 30}_Yg==", f"{'9' * 5000}_YQ==_Yg=="),
    ],
)
def test_texts_of_others_are_left_as_they_are(gid: str) -> None:
    xid = Xid.from_string(gid)
    if gid == "1__":
        assert xid == (1, "", "")
    else:
        assert xid == (None, gid, None)
    assert str(xid) == gid


@given(st.text() | st.from_regex(r"\d{1,11}_[\w=/+]*_[\w=/+]*"))
def test_no_text_is_lost(gid: str) -> None:
    assert str(Xid.from_string(gid)) == gid


@pytest.mark.parametrize("given_parts", [(-1, "", ""), (2**31, "", ""), (1, "x" * 65, ""), (1, "", "x" * 65)])
def test_parts_out_of_range(given_parts: tuple[int, str, str]) -> None:
    with pytest.raises(ValueError, match="format_id must be 0 or more|of an xid"):
        Xid.from_parts(*given_parts)


@pytest.mark.parametrize(
    ("given_parts", "message"),
    [
        (("1", "", ""), "format_id must be an int, not '1'"),
        ((None, "", ""), "format_id must be an int, not None"),
        ((1.5, "", ""), "format_id must be an int"),
        ((1, 2, ""), "gtrid must be a str, not 2"),
        ((1, "", b"a"), "bqual must be a str, not b'a'"),
    ],
)
def test_parts_of_other_types(given_parts: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Xid.from_parts(*given_parts)


def test_a_gid_that_is_no_text() -> None:
    for wrong in (3, None, b"a"):
        with pytest.raises(TypeError, match="gid must be a str, not"):
            Xid.from_string(wrong)  # type: ignore[arg-type]
