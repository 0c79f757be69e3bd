"""What the keywords of TLS mean, and which do not go together."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from anyq.conninfo import KEYWORDS, conninfo_to_dict, resolve
from anyq.conninfo.tls import TLS_KEYWORDS, TlsOptions, resolve_tls
from anyq.errors import ProgrammingError

NOWHERE = {"user": "me", "host": "h"}
HOME = {"HOME": "/home/me"}


def tls(text: str = "", environ: dict[str, str] | None = None, context: ssl.SSLContext | None = None) -> TlsOptions:
    return resolve(text, NOWHERE, {**HOME, **(environ or {})}, context).tls


def client_context(*, verify: bool = True, names: bool = True) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify and names
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    return context


def test_keywords_are_known() -> None:
    assert set(KEYWORDS) >= TLS_KEYWORDS
    assert all(KEYWORDS[keyword].implemented for keyword in TLS_KEYWORDS)
    assert {keyword for keyword in KEYWORDS if keyword.startswith("ssl")} <= TLS_KEYWORDS


def test_defaults() -> None:
    options = tls()
    assert options == TlsOptions(folder=str(Path("/home/me/.postgresql")))
    assert (options.mode, options.direct, options.sni, options.channel_binding) == ("prefer", False, True, "prefer")
    assert (options.min_version, options.max_version, options.certmode) == ("TLSv1.2", None, "allow")
    assert options.default_file("root.crt") == str(Path("/home/me/.postgresql/root.crt"))
    assert TlsOptions().default_file("root.crt") is None


def test_every_keyword() -> None:
    options = tls(
        "sslmode=verify-ca sslnegotiation=direct sslcert=c sslkey=k sslpassword=p sslcertmode=require sslrootcert=r "
        "sslcrl=l sslcrldir=d sslsni=0 ssl_min_protocol_version=TLSV1.3 ssl_max_protocol_version=tlsv1.3 "
        "sslkeylogfile=f sslcompression=1 channel_binding=require"
    )
    assert options == TlsOptions(
        mode="verify-ca",
        direct=True,
        cert="c",
        key="k",
        password="p",
        certmode="require",
        rootcert="r",
        crl="l",
        crldir="d",
        sni=False,
        min_version="TLSv1.3",
        max_version="TLSv1.3",
        keylogfile="f",
        channel_binding="require",
        folder=str(Path("/home/me/.postgresql")),
    )


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("PGSSLMODE", "require", "mode", "require"),
        ("PGSSLCERT", "c", "cert", "c"),
        ("PGSSLKEY", "k", "key", "k"),
        ("PGSSLCERTMODE", "disable", "certmode", "disable"),
        ("PGSSLROOTCERT", "r", "rootcert", "r"),
        ("PGSSLCRL", "l", "crl", "l"),
        ("PGSSLCRLDIR", "d", "crldir", "d"),
        ("PGSSLSNI", "0", "sni", False),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3", "min_version", "TLSv1.3"),
        ("PGSSLMAXPROTOCOLVERSION", "TLSv1.2", "max_version", "TLSv1.2"),
        ("PGCHANNELBINDING", "disable", "channel_binding", "disable"),
    ],
)
def test_environment(variable: str, value: str, field: str, expected: object) -> None:
    assert getattr(tls(environ={variable: value}), field) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sslmode=on", "'sslmode' must be one of disable, allow, prefer, require, verify-ca, verify-full, not 'on'"),
        ("sslmode=Require", "'sslmode' must be one of"),
        ("sslnegotiation=requiredirect", "'sslnegotiation' must be one of postgres, direct"),
        ("sslcertmode=maybe", "'sslcertmode' must be one of disable, allow, require"),
        ("sslsni=yes", "'sslsni' must be one of 0, 1"),
        ("sslcompression=yes", "'sslcompression' must be one of 0, 1"),
        ("channel_binding=on", "'channel_binding' must be one of disable, prefer, require"),
        ("ssl_min_protocol_version=1.2", "'ssl_min_protocol_version' must be one of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"),
        ("ssl_max_protocol_version=SSLv3", "'ssl_max_protocol_version' must be one of"),
        ("ssl_max_protocol_version=TLSv1.1", r"ssl_max_protocol_version \(TLSv1.1\) is below ssl_min"),
        ("sslnegotiation=direct", "needs sslmode require, verify-ca or verify-full, and sslmode is 'prefer'"),
        ("sslnegotiation=direct sslmode=allow", "and sslmode is 'allow'"),
        ("sslrootcert=system sslmode=verify-ca", "only sslmode verify-full protects, and sslmode is 'verify-ca'"),
    ],
)
def test_bad_values(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        tls(text)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_direct(mode: str) -> None:
    assert tls(f"sslnegotiation=direct sslmode={mode}").direct


def test_system_certificates_mean_verification() -> None:
    assert tls("sslrootcert=system").mode == "verify-full"
    assert tls("sslrootcert=system sslnegotiation=direct").direct
    with pytest.raises(ProgrammingError, match="sslmode is 'require'"):
        tls("sslrootcert=system", {"PGSSLMODE": "require"})


def test_back_to_keywords() -> None:
    """What conn.info.dsn has of it."""
    text = (
        "sslmode=verify-full sslnegotiation=direct sslcert=c sslkey=k sslcertmode=require sslrootcert=r sslcrl=l "
        "sslcrldir=d sslsni=0 ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.3 sslkeylogfile=f "
        "channel_binding=require"
    )
    assert tls(text + " sslpassword=s3cr3t sslcompression=1").keywords() == conninfo_to_dict(text)
    assert tls().keywords() == {}


def test_spellings_of_require() -> None:
    assert tls("requiressl=1").mode == "require"
    assert resolve("postgresql://me@h?ssl=true", {}, HOME).tls.mode == "require"


def test_without_a_home() -> None:
    assert resolve("", NOWHERE, {}).tls.folder is not None  # from the user database


def test_context() -> None:
    context = client_context()
    options = tls(context=context)
    assert options.context is context
    # Whoever brings one does not want to go without TLS.
    assert options.mode == "require"
    for mode in ("require", "verify-ca", "verify-full"):
        assert tls(f"sslmode={mode}", context=context).mode == mode
    assert tls("sslnegotiation=direct channel_binding=require", context=context).direct


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sslmode=disable", "'disable' contradicts ssl_context"),
        ("sslmode=allow", "'allow' contradicts ssl_context"),
        ("sslmode=prefer", "'prefer' contradicts ssl_context"),
        ("sslcert=c", "'sslcert' does nothing beside ssl_context"),
        ("sslkey=c", "'sslkey' does nothing"),
        ("sslpassword=c", "'sslpassword' does nothing"),
        ("sslcertmode=require", "'sslcertmode' does nothing"),
        ("sslrootcert=system", "'sslrootcert' does nothing"),
        ("sslcrl=l", "'sslcrl' does nothing"),
        ("sslcrldir=l", "'sslcrldir' does nothing"),
        ("sslkeylogfile=l", "'sslkeylogfile' does nothing"),
        ("ssl_min_protocol_version=TLSv1.3", "'ssl_min_protocol_version' does nothing"),
    ],
)
def test_context_and_what_contradicts_it(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        tls(text, context=client_context())


def test_context_that_verifies_less_than_sslmode() -> None:
    with pytest.raises(ProgrammingError, match="'verify-ca' needs an ssl_context with verify_mode CERT_REQUIRED"):
        tls("sslmode=verify-ca", context=client_context(verify=False))
    with pytest.raises(ProgrammingError, match="'verify-full' needs an ssl_context with check_hostname"):
        tls("sslmode=verify-full", context=client_context(names=False))
    assert tls("sslmode=require", context=client_context(verify=False)).mode == "require"


def test_context_overrides_the_environment() -> None:
    environ = {"PGSSLMODE": "disable", "PGSSLROOTCERT": "r", "PGSSLCERT": "c", "PGCHANNELBINDING": "require"}
    options = tls(environ=environ, context=client_context())
    assert (options.mode, options.rootcert, options.cert) == ("require", None, None)
    assert options.channel_binding == "require"


def test_context_that_is_none() -> None:
    wrong: Any = "/etc/ssl"
    with pytest.raises(ProgrammingError, match="ssl_context must be an ssl.SSLContext, not str"):
        tls(context=wrong)


def test_pass_phrase_is_a_secret() -> None:
    assert "s3cr3t" not in repr(resolve("sslpassword=s3cr3t", NOWHERE, HOME))
    assert conninfo_to_dict("sslpassword=s3cr3t") == {"sslpassword": "s3cr3t"}
    values = {"sslpassword": "s3cr3t", "sslmode": "x"}
    with pytest.raises(ProgrammingError) as caught:
        resolve_tls(values, dict.fromkeys(values, "x"), HOME)
    assert "s3cr3t" not in str(caught.value)
