"""From TLS options to a context of OpenSSL's: certificates, keys and lists of revoked ones, as libpq loads them.

Knows files, and what libpq makes of those that are not there (PostgreSQL manual, "SSL Support" of libpq). Must not know
sockets or the wire protocol. It reads files, so it belongs into a worker thread.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ..conninfo import TlsOptions
from ..errors import NotSupportedError, OperationalError
from .tls import watch_certificate_requests

__all__ = ["ALPN", "ClientContext", "build_context"]

logger = logging.getLogger("anyq")

ALPN = "postgresql"
"""PostgreSQL's name for its protocol inside TLS (manual, "SSL Session Encryption")."""

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}

_HASHED_CRL = r"[0-9a-f]{8}\.r[0-9]+"
"""Names of files in a directory that `openssl rehash` has prepared."""


@dataclass(frozen=True, slots=True)
class ClientContext:
    """A context, and what it does not tell itself."""

    context: ssl.SSLContext
    check_name: bool = False
    """Whether the name in the certificate is still to be checked, as OpenSSL cannot do it without sending it."""
    has_certificate: bool = False
    """Whether there is a client certificate to send."""


def build_context(options: TlsOptions) -> ClientContext:
    """Return the context for these options. Blocks: it reads files.

    :raises OperationalError: a file that has to be there is not, cannot be read, or is not what it should be.
    :raises NotSupportedError: this Python or OpenSSL cannot do it.
    """
    if options.context is not None:
        return ClientContext(options.context)
    signatures = _signatures(options)
    return _build(options) if signatures is None else _shared(options, signatures)


def _build(options: TlsOptions) -> ClientContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What is checked depends on what there is to check it with.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN])
    context.minimum_version = _VERSIONS[options.min_version]
    if options.max_version is not None:
        context.maximum_version = _VERSIONS[options.max_version]
    if options.keylogfile is not None:
        _log_keys(context, options.keylogfile)
    if _load_trusted(context, options):
        context.verify_mode = ssl.CERT_REQUIRED
        _load_revoked(context, options)
    check_name = options.mode == "verify-full"
    if check_name and options.sni:
        context.check_hostname = True
        check_name = False
    has_certificate = options.certmode != "disable" and _load_own(context, options)
    if options.certmode == "require" and not watch_certificate_requests(context):
        raise NotSupportedError("sslcertmode=require: this Python cannot tell whether the server asks for one")
    return ClientContext(context, check_name, has_certificate)


Signature = tuple[int, ...] | None
"""What changes with a file; None if there is none."""


# Making a context takes as long as a good part of a handshake.
@lru_cache(maxsize=8)
def _shared(options: TlsOptions, signatures: tuple[Signature, ...]) -> ClientContext:
    return _build(options)


def _signatures(options: TlsOptions) -> tuple[Signature, ...] | None:
    """Return what tells whether the files are still the same; None for a context that is not to be kept.

    Kept are those that hold no secrets and read nothing but files, with nothing to warn of.
    """
    special = (options.keylogfile, options.crldir, options.password, options.cert, options.key)
    if any(special) or options.rootcert == "system" or options.certmode == "require":
        return None
    names = ((options.rootcert, "root.crt"), (options.crl, "root.crl"), (None, "postgresql.crt"))
    found: list[Signature] = []
    for given, default in names:
        path = given or options.default_file(default)
        try:
            status = None if path is None else os.stat(path)
        except (OSError, ValueError):
            if given is not None:
                return None
            status = None
        if status is not None and default == "postgresql.crt" and options.certmode != "disable":
            return None
        found.append(
            None
            if status is None
            else (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        )
    return tuple(found)


def _load_trusted(context: ssl.SSLContext, options: TlsOptions) -> bool:
    """Load root certificates; return whether there are any to verify with."""
    if options.rootcert == "system":
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return True
    path = options.rootcert or options.default_file("root.crt")
    if path is None or not _exists(path, "the root certificate file"):
        if options.verifies:
            missing = "there is no home directory to look for one in" if path is None else f'"{path}" does not exist'
            raise OperationalError(
                f"sslmode {options.mode} needs a root certificate file, and {missing}; give sslrootcert, or "
                "sslrootcert=system to trust the operating system's"
            )
        if options.rootcert is not None:
            logger.warning(
                'the server\'s certificate is not verified: sslrootcert "%s" does not exist, and sslmode is %s',
                *(path, options.mode),
            )
        return False
    _load_file(context, path, "the root certificate file")
    return True


def _load_revoked(context: ssl.SSLContext, options: TlsOptions) -> None:
    paths = [*_revocation_files(options)]
    for path in paths:
        _load_file(context, path, "the file of revoked certificates")
    if paths:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _revocation_files(options: TlsOptions) -> Iterator[str]:
    """Yield the files of revoked certificates, none if none are there."""
    # libpq looks for its default file only if neither is given.
    path = options.crl or (options.default_file("root.crl") if options.crldir is None else None)
    if path is not None:
        if _exists(path, "the file of revoked certificates"):
            yield path
        elif options.crl is not None:
            _miss_revocations(options, f'sslcrl "{path}"')
    if options.crldir is not None:
        try:
            names = sorted(name for name in os.listdir(options.crldir) if re.fullmatch(_HASHED_CRL, name))
        except OSError as error:
            _miss_revocations(options, f'sslcrldir "{options.crldir}" ({error.strerror})')
            return
        # Now, and not when a certificate is checked: that would be reading files in the event loop.
        yield from (os.path.join(options.crldir, name) for name in names)


def _miss_revocations(options: TlsOptions, what: str) -> None:
    """Go on without a list of revoked certificates if nobody asked for verification."""
    if options.verifies:
        raise OperationalError(f"{what} cannot be found, so revoked certificates would be accepted")
    logger.warning("revoked certificates are not refused: %s cannot be found, and sslmode is %s", what, options.mode)


def _load_own(context: ssl.SSLContext, options: TlsOptions) -> bool:
    """Load the client certificate and its key; return whether there is one."""
    path = options.cert or options.default_file("postgresql.crt")
    if path is None or not _exists(path, "the client certificate file"):
        if options.cert is not None:
            logger.warning('no client certificate is sent: sslcert "%s" does not exist', path)
        return False
    key = options.key or options.default_file("postgresql.key")
    if key is None or not _exists(key, "the private key file"):
        raise OperationalError(
            f'there is a client certificate, "{path}", but not its private key file, "{key}": give sslkey, or '
            "sslcertmode=disable to send no certificate"
        )
    _check_key(key)
    asked = False

    def pass_phrase() -> str:
        # Without this OpenSSL would ask on the terminal.
        nonlocal asked
        asked = True
        return options.password or ""

    try:
        context.load_cert_chain(path, key, pass_phrase)
    except (OSError, ValueError) as error:
        reason = _explain_key(error, asked, options.password)
        raise OperationalError(f'client certificate "{path}" with private key "{key}": {reason}') from error
    return True


def _check_key(path: str) -> None:
    """Refuse a key that others can read, by libpq's rule."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise OperationalError(f'the private key file "{path}" is not a regular file')
    if sys.platform == "win32":
        return
    others = stat.S_IRWXG | stat.S_IRWXO if status.st_uid else stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO
    if status.st_mode & others:
        raise OperationalError(
            f'the private key file "{path}" can be read by others (its mode is {stat.S_IMODE(status.st_mode):04o}): '
            f'make it your own with "chmod 0600", or let root own it with at most 0640'
        )


def _explain_key(error: Exception, asked: bool, password: str | None) -> str:
    if asked and password is None:
        return "the private key is encrypted: give its pass phrase as sslpassword"
    if asked:
        return "sslpassword is not the pass phrase of the private key"
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return f"one of them is not in PEM format, or damaged ({(error.reason or 'no reason given').lower()})"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _load_file(context: ssl.SSLContext, path: str, what: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise OperationalError(f'{what} "{path}" has nothing in PEM format that can be read') from error
    except OSError as error:
        raise OperationalError(f'{what} "{path}" cannot be read: {error.strerror}') from error


def _exists(path: str, what: str) -> bool:
    """Return whether there is such a file; anything else that keeps us from it is an error."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise OperationalError(f'{what} "{path}" cannot be reached: {reason}') from error
    return True


def _log_keys(context: ssl.SSLContext, path: str) -> None:
    try:
        # Whoever has these keys can read the connection.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
        context.keylog_filename = path
    except OSError as error:
        raise OperationalError(f'sslkeylogfile "{path}" cannot be written: {error.strerror}') from error
