"""Codecs of the server's client encodings, where Python's read or write something else, or where Python has none.

Knows in which characters they differ, and registers a codec for each with Python's own registry: so that whoever has
the name of a connection's codec can use it as any other. Must not know connections or what text is for.

PostgreSQL converts by tables of its own (src/backend/utils/mb/Unicode). Bytes that Python writes for one character and
the server reads as another would be stored as what nobody has sent: a yen sign as a backslash, for example. Such
characters are refused, as if the encoding did not have them. `tests/adapt/test_server_codecs.py` asks a server for each
character of each encoding.
"""

from __future__ import annotations

import codecs
from functools import lru_cache
from typing import NamedTuple

from typing_extensions import Buffer

from ..errors import NotSupportedError

Table = dict[int, str]


class _Differences(NamedTuple):
    """How the server's encoding differs from the codec of Python's that is nearest to it."""

    base: str
    refused: str
    """Characters that Python has bytes for, which are another character or none for the server."""
    pairs: dict[str, str]
    """By a character of the server's, the one that Python has the same bytes for."""


# The signs of JIS X 0208 that Unicode has twice, and the two places of ASCII where JIS X 0201 has a yen sign and an
# overline.
_CODECS = {
    "anyq_big5": _Differences("big5", "\u02cd\u2574\uffe3", {}),
    "anyq_euc_jis_2004": _Differences(
        "euc_jis_2004",
        "\u2015\u2985\u2986\uffe3\uffe5",
        {"\u2014": "\u2015", "\uff5f": "\u2985", "\uff60": "\u2986", "\u203e": "\uffe3", "\xa5": "\uffe5"},
    ),
    "anyq_euc_jp": _Differences(
        "euc_jp",
        "\xa2\xa3\xa5\xa6\xac\u2016\u203e\u2212\u301c",
        {
            **{"\uffe0": "\xa2", "\uffe1": "\xa3", "\uffe2": "\xac", "\uffe4": "\xa6"},
            **{"\u2225": "\u2016", "\uff0d": "\u2212", "\uff5e": "\u301c"},
        },
    ),
    "anyq_euc_kr": _Differences("cp949", "", {}),
    "anyq_shift_jis_2004": _Differences(
        "shift_jis_2004",
        "\xa5\u2015\u203e\u2985\u2986",
        {"\\": "\xa5", "~": "\u203e", "\u2014": "\u2015", "\uff5f": "\u2985", "\uff60": "\u2986"},
    ),
    "anyq_sjis": _Differences("cp932", "\x80\xa0\xa2\xa3\xac\u2016\u2212\u301c\uf8f0\uf8f1\uf8f2\uf8f3", {}),
}

UNKNOWN = "anyq_unknown"
"""The codec of an encoding that is none of PostgreSQL's; one for all of them, as Python keeps what it has found."""

NO_CODEC = {"anyq_euc_tw": "EUC_TW", "anyq_mule_internal": "MULE_INTERNAL", UNKNOWN: "that the server has set"}
"""Codecs that know ASCII alone, and the encodings that they stand for."""

# A lone surrogate: no encoding has it.
_REFUSED = "\ud800"


@lru_cache
def _encode_table(name: str, strict: bool) -> Table:
    base, refused, pairs = _CODECS[name]
    table = {ord(server): python for server, python in pairs.items()}
    if not strict:
        return table
    table |= dict.fromkeys(map(ord, refused), _REFUSED)
    if name == "anyq_euc_kr":
        # The server knows no syllables in four parts, as Python's euc_kr writes them, and none of cp949's own.
        table |= {code: _REFUSED for code in range(0xAC00, 0xD7A4) if min(chr(code).encode(base)) < 0xA1}
    return table


@lru_cache
def _decode_table(name: str) -> Table:
    return {ord(python): server for server, python in _CODECS[name].pairs.items()}


def _codec_of(name: str) -> codecs.CodecInfo:
    base = _CODECS[name].base

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        if text.isascii():
            return text.encode("ascii"), len(text)
        try:
            # Whoever has another way with errors has bytes that may be wrong, and wants them back as they were.
            return text.translate(_encode_table(name, errors == "strict")).encode(base, errors), len(text)
        except UnicodeEncodeError as ex:
            # Each character was replaced by one, so they are where they were.
            raise UnicodeEncodeError(name, text, ex.start, ex.end, "the server has no such character") from None

    def decode(data: Buffer, errors: str = "strict") -> tuple[str, int]:
        given = bytes(data)
        if given.isascii():
            return given.decode("ascii"), len(given)
        return given.decode(base, errors).translate(_decode_table(name)), len(given)

    return codecs.CodecInfo(encode, decode, name=name)


def _no_codec(name: str) -> codecs.CodecInfo:
    def refuse() -> NotSupportedError:
        return NotSupportedError(
            f"Python has no codec for the client encoding {NO_CODEC[name]}, and this text is not ASCII:"
            " SET client_encoding TO 'UTF8'"
        )

    def encode(text: str, errors: str = "strict") -> tuple[bytes, int]:
        if errors == "strict" and not text.isascii():
            raise refuse()
        return text.encode("ascii", errors), len(text)

    def decode(data: Buffer, errors: str = "strict") -> tuple[str, int]:
        given = bytes(data)
        if errors == "strict" and not given.isascii():
            raise refuse()
        return given.decode("ascii", errors), len(given)

    return codecs.CodecInfo(encode, decode, name=name)


def _find(name: str) -> codecs.CodecInfo | None:
    if name in _CODECS:
        return _codec_of(name)
    return _no_codec(name) if name in NO_CODEC else None


codecs.register(_find)
