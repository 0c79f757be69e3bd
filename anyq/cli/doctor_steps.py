"""The steps of an examination: what was done, how long it took, what came of it, and what there is to say about that.

Knows the watcher of connecting, which becomes steps here. Must not know how steps are shown, nor what to do about a
failure: that is in `doctor_advice`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import NamedTuple

from anyq.conninfo import ConnectOptions, HostSpec
from anyq.protocol.constants import show_version
from anyq.transport.channel import TlsState
from anyq.transport.failures import DialError, explain, numeric_address, show_address
from anyq.transport.socket import Address

from .doctor_certificate import read_certificate
from .doctor_protection import protection

__all__ = ["FAILED", "OK", "UNUSED", "WARNING", "Fact", "Recorder", "Step", "text_of"]

OK, WARNING, FAILED, UNUSED = "ok", "warning", "failed", "unused"
"""What comes of a step; "unused" is one that was given up, as another was faster."""

_EXPIRES_SOON = 30
"""Days before its end from which on a certificate is warned of."""


class Fact(NamedTuple):
    """Something to know."""

    name: str
    value: str | int | float | bool | list[str]
    origin: str = ""
    """Where it comes from, if it was given."""


@dataclass(slots=True)
class Step:
    """Something that was done."""

    kind: str
    """For programs: options, name, address, tls, login, session, server, pooler, round-trips."""
    title: str
    status: str = OK
    seconds: float = 0.0
    facts: list[Fact] = field(default_factory=list[Fact])
    error: str = ""
    notes: list[str] = field(default_factory=list[str])
    """What it means, and what is better."""
    advice: list[str] = field(default_factory=list[str])
    """What to do about a failure."""

    def add(self, name: str, value: str | int | float | bool | list[str], origin: str = "") -> None:
        """Add a fact."""
        self.facts.append(Fact(name, value, origin))

    def warn(self, note: str) -> None:
        """Add a note that asks for attention."""
        self.notes.append(note)
        if self.status == OK:
            self.status = WARNING


def text_of(error: BaseException) -> str:
    """Return what an error says, without saying again which server it is about."""
    if isinstance(error, DialError) and error.failures:
        return "\n".join(dict.fromkeys(failure.reason for failure in error.failures))
    return str(error) or type(error).__name__


class Recorder:
    """A :class:`ConnectWatcher` that makes steps of what it is told.

    :param tell: is called with each step when it is over.
    :param advise: says what to do about an error.
    """

    def __init__(
        self,
        options: ConnectOptions,
        tell: Callable[[Step], None],
        advise: Callable[[Step, BaseException], list[str]],
    ) -> None:
        self._options = options
        self._tell = tell
        self._advise = advise
        self._begun: dict[object, tuple[Step, float]] = {}
        self._last: Step | None = None
        self._peer: Address | None = None
        self._secured = False  # whether there is something to say about TLS already
        self._readable = False  # whether others may read what is sent
        self.methods: list[str] = []
        """By which methods the server has asked for a proof, the last time."""
        self._asked: int | None = None  # the version of the protocol that was asked for at this address
        self.refused_versions: list[int] = []
        """Versions of the protocol for which an older one had to be asked for."""

    def begin(self, kind: str, title: str, key: object = None) -> Step:
        """Begin a step."""
        step = Step(kind, title)
        self._begun[kind if key is None else key] = (step, time.perf_counter())
        return step

    def end(self, key: object, error: BaseException | None = None) -> Step | None:
        """End a step, if it has begun; return it."""
        step, started = self._begun.pop(key, (None, 0.0))
        if step is None:
            return None
        step.seconds = time.perf_counter() - started
        if error is not None:
            step.status = FAILED
            step.error = step.error or text_of(error)
            step.advice = self._advise(step, error)
        self.tell(step)
        return step

    def tell(self, step: Step) -> None:
        """Hand on a step that is over."""
        self._last = step
        self._tell(step)

    def _end_others(self) -> None:
        """End attempts that nobody waits for any more: another address has accepted."""
        for key in list(self._begun):
            self._begun[key][0].status = UNUSED
            self.end(key)

    # -- as a watcher

    def resolving(self, host: HostSpec) -> None:
        self.begin("name", f"name {host.host}", "name")

    def resolved(self, host: HostSpec, addresses: Sequence[Address]) -> None:
        step, _ = self._begun["name"]
        found = [numeric_address(address) for address in addresses]
        if found in ([None], [host.hostaddr or host.host]):
            # Nothing was looked up.
            del self._begun["name"]
            return
        step.add("addresses", [address for address in found if address is not None])
        self.end("name")

    def dialing(self, address: Address) -> None:
        self._secured, self._asked = False, None
        self.begin("address", show_address(address), address)

    def dialed(self, address: Address, error: OSError | None) -> None:
        step, _ = self._begun[address]
        if error is None:
            self._peer = address
        else:
            step.error = explain(error, address[0])
        self.end(address, error)

    def securing(self) -> None:
        self._end_others()
        self._secured = True
        self.begin("tls", "TLS")

    def secured(self, tls: TlsState | None) -> None:
        step, _ = self._begun["tls"]
        assert self._peer is not None
        self._readable = tls is None and isinstance(self._peer[1], tuple)
        self._describe_tls(step, tls, self._peer)
        self.end("tls")

    def _describe_tls(self, step: Step, tls: TlsState | None, peer: Address) -> None:
        options = self._options.tls
        step.add("sslmode", options.mode)
        if tls is None:
            step.add("in use", False)
        else:
            step.add("in use", True)
            for name in ("protocol", "cipher", "key_bits", "alpn"):
                if tls.attributes.get(name):
                    step.add(name, tls.attributes[name])
            step.add("certificate verified", tls.verified)
            step.add("client certificate", "sent" if tls.certificate_sent else "none sent")
            _describe_certificate(step, tls.certificate)
        calm, text = protection(options, tls, peer)
        if calm:
            step.notes.append(text)
        else:
            step.warn(text)

    def logging_in(self, version: int) -> None:
        self._end_others()
        if not self._secured and self._peer is not None:
            # Nobody has asked for it, and that is to be told as well.
            self.begin("tls", "TLS")
            self.secured(None)
            self._secured = True
        self.methods = []
        step = self.begin("login", "login")
        step.add("user", self._options.user)
        step.add("database", self._options.dbname)
        step.add("protocol asked for", show_version(version))
        if self._asked is not None and version < self._asked:
            self.refused_versions.append(self._asked)
            step.notes.append(
                f"An older version of the protocol, as {show_version(self._asked)} was refused: "
                f"max_protocol_version={show_version(version)} saves that attempt."
            )
        self._asked = version

    def authenticating(self, method: str) -> None:
        self.methods.append(method)
        step, _ = self._begun["login"]
        step.add("authentication", method)
        if method.startswith("a password in clear") and self._readable:
            step.warn(
                "The password goes to the server as it is, and without TLS whoever listens has it: have scram-sha-256 "
                "in its pg_hba.conf."
            )
        elif "MD5" in method:
            step.notes.append("MD5 is outdated: set password_encryption to scram-sha-256, and the password anew.")

    def logged_in(self) -> None:
        step, _ = self._begun["login"]
        if not self.methods:
            step.add("authentication", "none was asked for (trust, peer, ident, or the client's certificate)")
        elif self.methods[-1].endswith("-PLUS"):
            step.notes.append("The login is bound to the server's certificate: nobody in between has passed it on.")
        self.end("login")

    def failed(self, error: Exception) -> None:
        if not self._begun:
            if self._last is None or self._last.status != FAILED:
                # Such as a session that does not suit, which had begun without a failure.
                self.begin("session", "session")
                self.end("session", error)
            return
        for key in list(self._begun):
            self.end(key, error)


def _describe_certificate(step: Step, der: bytes | None) -> None:
    found = None if der is None else read_certificate(der)
    if found is None:
        step.warn("The server's certificate cannot be read.")
        return
    step.add("certificate of", found.subject or "(no name)")
    step.add("certificate for", list(found.names))
    step.add("signed by", found.issuer or "(no name)")
    step.add("valid from", f"{found.not_before:%Y-%m-%d %H:%M} UTC")
    step.add("valid until", f"{found.not_after:%Y-%m-%d %H:%M} UTC")
    left = (found.not_after - datetime.now(timezone.utc)).days
    if left < 0:
        step.warn("The certificate has expired: sslmode verify-ca and verify-full will refuse it.")
    elif left < _EXPIRES_SOON:
        step.warn(f"The certificate expires in {left} days.")
