"""The TLS part of the connection options: what the keywords mean, and which do not go together.

Knows libpq's keywords for TLS and channel binding, and where their default files are (PostgreSQL manual, "Parameter
Key Words", "SSL Support"). Must not know what is in a file, nor whether there is one: it opens nothing.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProgrammingError
from .userfiles import user_file

__all__ = ["TLS_KEYWORDS", "TlsOptions", "resolve_tls"]

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_STRONG_MODES = _MODES[3:]
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "sslmode": _MODES,
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "sslcompression": ("0", "1"),
    "sslsni": ("0", "1"),
    "channel_binding": ("disable", "prefer", "require"),
}
_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

_DECIDED_BY_CONTEXT = (
    *("sslcert", "sslkey", "sslpassword", "sslcertmode", "sslrootcert", "sslcrl", "sslcrldir"),
    *("sslkeylogfile", "ssl_min_protocol_version", "ssl_max_protocol_version"),
)
"""Keywords that say what a ready `SSLContext` has decided."""

TLS_KEYWORDS = frozenset({*_CHOICES, *_DECIDED_BY_CONTEXT})
"""Every keyword that is read here."""


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Say whether to use TLS, how, and with which files. A path that is None stands for the default file."""

    mode: str = "prefer"
    """One of libpq's `sslmode` values."""
    direct: bool = False
    """Begin with the handshake at once, without asking whether the server has TLS."""
    cert: str | None = None
    key: str | None = None
    password: str | None = field(default=None, repr=False)
    """The pass phrase of the key."""
    certmode: str = "allow"
    rootcert: str | None = None
    """A file of trusted certificates, or "system" for the operating system's."""
    crl: str | None = None
    crldir: str | None = None
    sni: bool = True
    """Whether to tell the server its name, in clear."""
    min_version: str = "TLSv1.2"
    max_version: str | None = None
    keylogfile: str | None = None
    channel_binding: str = "prefer"
    folder: str | None = None
    """Where the default files are, if it is known."""
    context: ssl.SSLContext | None = None
    """The caller's own, which then decides about certificates and versions."""

    @property
    def verifies(self) -> bool:
        """Whether TLS without a verified certificate is not good enough."""
        return self.mode in ("verify-ca", "verify-full")

    def keywords(self) -> dict[str, str]:
        """Return what differs from the defaults as keywords and values, without the pass phrase."""
        values: dict[str, str | None] = {
            "sslmode": None if self.mode == "prefer" else self.mode,
            "sslnegotiation": "direct" if self.direct else None,
            "sslcert": self.cert,
            "sslkey": self.key,
            "sslcertmode": None if self.certmode == "allow" else self.certmode,
            "sslrootcert": self.rootcert,
            "sslcrl": self.crl,
            "sslcrldir": self.crldir,
            "sslsni": None if self.sni else "0",
            "ssl_min_protocol_version": None if self.min_version == "TLSv1.2" else self.min_version,
            "ssl_max_protocol_version": self.max_version,
            "sslkeylogfile": self.keylogfile,
            "channel_binding": None if self.channel_binding == "prefer" else self.channel_binding,
        }
        return {keyword: value for keyword, value in values.items() if value is not None}

    def default_file(self, name: str) -> str | None:
        """Return the path of one of the files that libpq takes if none is given."""
        return None if self.folder is None else os.path.join(self.folder, name)


def resolve_tls(
    values: Mapping[str, str],
    sources: Mapping[str, str],
    environ: Mapping[str, str],
    context: ssl.SSLContext | None = None,
) -> TlsOptions:
    """Return the options that keywords ask for.

    :param values: what was given by keyword, empty values left out; other keywords than those of TLS are passed over.
    :param sources: how to name where a value comes from, by keyword.
    :param context: the caller's own; keywords that contradict it are refused, the environment's are passed over.
    :raises ProgrammingError: a value is none of its keyword's, or two of them contradict each other.
    """
    if context is not None:
        values = _without_overridden(values, sources)
    for keyword, choices in _CHOICES.items():
        if keyword in values and values[keyword] not in choices:
            raise ProgrammingError(f"{sources[keyword]} must be one of {', '.join(choices)}, not {values[keyword]!r}")
    mode = values.get("sslmode")
    if context is not None:
        mode = _check_context(context, mode, values, sources)
    rootcert = values.get("sslrootcert")
    if rootcert == "system":
        mode = mode or "verify-full"
        if mode != "verify-full":
            raise ProgrammingError(
                f"{sources['sslrootcert']}: with the system's certificates, which vouch for anybody, only sslmode "
                f"verify-full protects, and sslmode is {mode!r}"
            )
    mode = mode or "prefer"
    direct = values.get("sslnegotiation") == "direct"
    if direct and mode not in _STRONG_MODES:
        raise ProgrammingError(
            f"{sources['sslnegotiation']}: 'direct' has no way back to a connection in clear, so it needs sslmode "
            f"require, verify-ca or verify-full, and sslmode is {mode!r}"
        )
    min_version = _version(values, sources, "ssl_min_protocol_version") or "TLSv1.2"
    max_version = _version(values, sources, "ssl_max_protocol_version")
    if max_version is not None and _VERSIONS.index(max_version) < _VERSIONS.index(min_version):
        raise ProgrammingError(
            f"ssl_max_protocol_version ({max_version}) is below ssl_min_protocol_version ({min_version})"
        )
    return TlsOptions(
        mode=mode,
        direct=direct,
        cert=values.get("sslcert"),
        key=values.get("sslkey"),
        password=values.get("sslpassword"),
        certmode=values.get("sslcertmode", "allow"),
        rootcert=rootcert,
        crl=values.get("sslcrl"),
        crldir=values.get("sslcrldir"),
        sni=values.get("sslsni") != "0",
        min_version=min_version,
        max_version=max_version,
        keylogfile=values.get("sslkeylogfile"),
        channel_binding=values.get("channel_binding", "prefer"),
        folder=user_file(".postgresql", "", environ),
        context=context,
    )


def _without_overridden(values: Mapping[str, str], sources: Mapping[str, str]) -> dict[str, str]:
    """Leave out what a context given by keyword overrides: the environment, and a service."""
    overridden = {"sslmode", *_DECIDED_BY_CONTEXT}
    return {
        keyword: value
        for keyword, value in values.items()
        if keyword not in overridden or sources[keyword].startswith("connection option")
    }


def _check_context(context: Any, mode: str | None, values: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """Return the sslmode of a connection with the caller's own context."""
    if not isinstance(context, ssl.SSLContext):
        raise ProgrammingError(f"ssl_context must be an ssl.SSLContext, not {type(context).__qualname__}")
    for keyword in _DECIDED_BY_CONTEXT:
        if keyword in values:
            raise ProgrammingError(f"{sources[keyword]} does nothing beside ssl_context: make it a part of the context")
    if mode is None:
        return "require"
    if mode not in _STRONG_MODES:
        raise ProgrammingError(
            f"{sources['sslmode']}: {mode!r} contradicts ssl_context, which is for connections that must use TLS"
        )
    if mode != "require" and context.verify_mode != ssl.CERT_REQUIRED:
        raise ProgrammingError(f"{sources['sslmode']}: {mode!r} needs an ssl_context with verify_mode CERT_REQUIRED")
    if mode == "verify-full" and not context.check_hostname:
        raise ProgrammingError(f"{sources['sslmode']}: 'verify-full' needs an ssl_context with check_hostname")
    return mode


def _version(values: Mapping[str, str], sources: Mapping[str, str], keyword: str) -> str | None:
    if keyword not in values:
        return None
    for version in _VERSIONS:
        if version.lower() == values[keyword].lower():
            return version
    raise ProgrammingError(f"{sources[keyword]} must be one of {', '.join(_VERSIONS)}, not {values[keyword]!r}")
