"""The start-up of a session on an open stream: who we are, and whatever the server asks to believe it.

Knows the order of authentication messages, which answers there are and which of them may be given. Must not know how
the stream was opened.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..backends import Waiter
from ..conninfo import ConnectOptions, HostSpec
from ..errors import Error, NotSupportedError, OperationalError, RemoteProtocolError
from ..errors.hiding import hiding, without_frames
from ..protocol import frontend, messages
from ..protocol.auth.methods import parse_require_auth
from ..protocol.auth.passwords import md5_password, password_bytes
from ..protocol.auth.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient, ScramKeys
from ..protocol.constants import show_version
from ..protocol.phases import Phase
from ..protocol.session import ProtocolSession
from ..session.wire import Wire
from ..transport.watching import ConnectWatcher
from .channel_binding import ChannelBinding
from .password import Password

__all__ = ["LoginFailed", "check_policy", "log_in", "next_authentication"]

_METHODS: dict[type[messages.Authentication], tuple[str, str]] = {
    # What begins an exchange: its method as require_auth names it (it has no names for some), and for people.
    messages.AuthenticationCleartextPassword: ("password", "a password in clear"),
    messages.AuthenticationMD5Password: ("md5", "a password hashed by MD5"),
    messages.AuthenticationGSS: ("gss", "GSSAPI"),
    messages.AuthenticationSSPI: ("sspi", "SSPI"),
    messages.AuthenticationKerberosV5: ("", "Kerberos V5"),
    messages.AuthenticationSCMCredential: ("", "SCM credentials"),
}

_SUPPORTED = frozenset({"none", "password", "md5", "scram-sha-256"})


def check_policy(options: ConnectOptions) -> None:
    """Look at `require_auth` before there is a connection.

    :raises ProgrammingError: it names what is no method, or the same twice, or mixes the two forms.
    :raises NotSupportedError: it allows only methods that anyq does not support.
    """
    allowed = parse_require_auth(options.require_auth)
    if not allowed & _SUPPORTED:
        raise NotSupportedError(
            f"require_auth={options.require_auth!r} allows no method that anyq supports: they are "
            f"{', '.join(sorted(_SUPPORTED))}"
        )


class LoginFailed(Exception):
    """A login has failed. It stays inside this package: a user gets `error`."""

    def __init__(self, error: Error, *, final: bool, refused: bool = False, version_refused: bool = False) -> None:
        super().__init__(error)
        self.error = error
        self.final = final
        """Whether it would fail in the same way on any other host."""
        self.refused = refused
        """Whether it was the server that said no, before it had let us in."""
        self.version_refused = version_refused
        """Whether it may have been the version of the protocol that was refused."""


async def log_in(
    wire: Wire, options: ConnectOptions, host: HostSpec, version: int, watcher: ConnectWatcher | None = None
) -> None:
    """Bring a new session to the point where it takes requests.

    :param version: the version of the protocol to ask for; the server may choose an older one.
    :raises LoginFailed: the server refuses, breaks the protocol, wants what we do not have or what `require_auth`
        forbids, or cannot prove that it knows the password.

    What `options.password_source` raises is passed on. A cancellation leaves a session that has to be closed, and so
    does an error; a worker thread that hashes the password, or gets it, goes on and its result is dropped.

    Manual: "Start-up" (protocol-flow), "SASL Authentication".
    """
    try:
        await _Login(wire, options, host, watcher).run(version)
    except Error as error:
        # Those who have sent the password, down to a stream of the caller's, are among its frames.
        without_frames(error)
        raise LoginFailed(
            error,
            final=_is_final(error, wire.closed),
            refused=wire.protocol.refused,
            version_refused=_is_about_version(error, wire.closed, wire.protocol),
        ) from error
    except Exception:
        # Of a function of the caller's, which wants to know where.
        raise
    except BaseException as error:
        raise without_frames(error)  # noqa: B904  # it is the same one


class _Login:
    """One login: what the server has asked for until now, and what may be answered."""

    def __init__(self, wire: Wire, options: ConnectOptions, host: HostSpec, watcher: ConnectWatcher | None) -> None:
        self._wire = wire
        self._watcher = watcher
        self._protocol = wire.protocol
        self._options = options
        self._password = Password(options, host)
        self._policy = _Policy(options)
        self._binding = ChannelBinding(wire.channel, options.tls.channel_binding, options.tls.certmode)
        self._scram: ScramClient | None = None

    async def run(self, version: int) -> None:
        """Answer what the server asks for, until the session is ready."""
        watcher = self._watcher
        if watcher is not None:
            watcher.logging_in(version)
        self._protocol.start(self._options.startup_parameters(), version)
        while True:
            message = await next_authentication(self._wire)
            spoken = self._protocol.protocol_version
            if spoken < self._options.min_protocol_version:
                raise OperationalError(
                    f"the server speaks version {show_version(spoken)} of the protocol, which is less than "
                    "min_protocol_version"
                )
            if message is None:
                if watcher is not None:
                    watcher.logged_in()
                return
            self._binding.check(message)
            await self._answer(message)

    async def _answer(self, message: messages.Authentication) -> None:
        scram = self._scram
        match message:
            case messages.AuthenticationOk():
                self._let_in()
            case messages.AuthenticationCleartextPassword():
                self._agree_on(message)
                await self._password.use(lambda password: self._send(password_bytes(password)))
            case messages.AuthenticationMD5Password():
                self._agree_on(message)
                user, salt = self._options.user, message.salt
                await self._password.use(lambda password: self._send(md5_password(user, password, salt)))
            case messages.AuthenticationSASL():
                await self._begin_scram(message.mechanisms)
            case messages.AuthenticationSASLContinue() if scram is not None and scram.expected == "first":
                frontend.sasl_response(self._protocol.outgoing, await _prove(scram, self._password, message.data))
            case messages.AuthenticationSASLFinal() if scram is not None and scram.expected == "final":
                scram.verify_final(message.data)
            case _:
                if type(message) not in _METHODS:
                    raise RemoteProtocolError(f"the server sent {type(message).__name__} out of turn")
                method, name = _METHODS[type(message)]
                self._policy.check(method, name)
                raise NotSupportedError(f"the server asks for authentication by {name}, which anyq does not support")

    def _agree_on(self, message: messages.Authentication) -> None:
        """Raise unless the method that a message begins may be used."""
        method, name = _METHODS[type(message)]
        self._policy.check(method, name)
        if self._watcher is not None:
            self._watcher.authenticating(name)

    def _send(self, answer: bytes) -> None:
        frontend.password(self._protocol.outgoing, answer)

    def _let_in(self) -> None:
        """See that the server has done what it had to; from here on it only reports, until the session is ready."""
        if self._scram is not None and not self._scram.verified:
            raise RemoteProtocolError("the server let us in without proving that it knows the password")
        self._policy.check_end()
        self._binding.check_in(self._scram)

    async def _begin_scram(self, mechanisms: Sequence[str]) -> None:
        self._policy.check_sasl(mechanisms)
        mechanism, data = self._binding.choose(mechanisms)
        if self._watcher is not None:
            self._watcher.authenticating(mechanism)
        keys = None if self._options.scram_keys is None else ScramKeys(*self._options.scram_keys)
        if keys is None:
            self._scram = await self._password.use(lambda password: ScramClient(password, mechanism, data))
        else:
            self._scram = ScramClient("", mechanism, data, keys=keys)
        frontend.sasl_initial_response(self._protocol.outgoing, mechanism, self._scram.first_message())


async def next_authentication(wire: Wire) -> messages.Authentication | None:
    """Send what there is to say, and read until the server asks for something; None when the session is ready.

    :raises OperationalError: the server refused, or went away.
    """
    protocol = wire.protocol
    wire.flush()
    await wire.backend.checkpoint()
    await wire.attend(_Asked(protocol))
    if protocol.authentications:
        return protocol.authentications.popleft()
    if protocol.phase is Phase.FAILED or protocol.fatal_error is not None:
        wire.abort("the server refused the connection")
        raise protocol.lost()
    return None


class _Asked:
    """Waits until the server wants something in the start-up or has come to its end."""

    waiter: Waiter | None = None

    def __init__(self, protocol: ProtocolSession) -> None:
        self._protocol = protocol

    def ready(self) -> bool:
        protocol = self._protocol
        return protocol.phase >= Phase.IDLE or bool(protocol.authentications) or protocol.fatal_error is not None


class _Policy:
    """What the server may ask for, by `require_auth` and by what it has asked for before."""

    def __init__(self, options: ConnectOptions) -> None:
        self._text = options.require_auth
        self._allowed = parse_require_auth(options.require_auth)
        self._asked = ""  # what it has asked for, for people

    def check(self, method: str, name: str) -> None:
        """Raise unless a method may be used; to be called before anything is sent, or the password looked for."""
        if self._asked:
            again = "once more" if self._asked == name else f"after it has asked for {self._asked}"
            raise RemoteProtocolError(f"the server asks for {name} {again}")
        self._asked = name
        # Methods without a name are allowed only where everything is.
        if method not in self._allowed and (method or self._text):
            self._refuse(f"it asks for authentication by {name}")

    def check_sasl(self, mechanisms: Sequence[str]) -> None:
        """Do the same for one of the SASL mechanisms that the server offers."""
        if not {SCRAM_SHA_256, SCRAM_SHA_256_PLUS}.isdisjoint(mechanisms):
            self.check("scram-sha-256", SCRAM_SHA_256)
        else:
            self.check("oauth" if "OAUTHBEARER" in mechanisms else "", ", ".join(mechanisms))

    def check_end(self) -> None:
        """Raise if the server lets us in without having asked, and may not."""
        if not self._asked and "none" not in self._allowed:
            self._refuse("it asks for no authentication")

    def _refuse(self, why: str) -> None:
        raise OperationalError(f"the server does not comply with require_auth={self._text!r}: {why}")


async def _prove(scram: ScramClient, password: Password, server_first: bytes) -> bytes:
    """Return the message that proves to the server that we know the password."""
    challenge = scram.parse_first(server_first)
    # Above this the hash takes longer than an event loop should be kept waiting.
    if scram.needs_thread(challenge.iterations):
        return await password.use(lambda _: scram.process_first(server_first), in_thread=True)
    return hiding(scram.process_first)(server_first)


_OTHERS_MAY_DO = ("08", "53", "57", "58", "XX")
"""Classes of SQLSTATEs that are about the state of a server. What is about us is true of the others as well."""

_VERSION_REFUSED = ("0A000", "08P01", "XX000")
"""What servers and poolers that do not know the version asked for answer, if they do not offer another.

Old servers: 0A000. PgBouncer before 1.24: 08P01. pgpool-II takes the version, and then not the longer key: XX000.
"""


def _is_final(error: Error, lost: bool) -> bool:
    """Return whether an error will be the same on another host.

    Manual, "Specifying Multiple Hosts": when authentication fails, the remaining hosts are not tried.

    :param lost: whether the connection was lost, or closed by the server.
    """
    code = error.diag.sqlstate
    # Without a code, and on a connection that stands, it is we who refuse.
    return not lost if code is None else code[:2] not in _OTHERS_MAY_DO


def _is_about_version(error: Error, lost: bool, protocol: ProtocolSession) -> bool:
    """Return whether the version of the protocol may be what a server has refused."""
    code = error.diag.sqlstate
    if code is None:
        # It went away without a word; or what it says is not PostgreSQL's, in any version.
        return lost and not protocol.startup_accepted and not isinstance(error, RemoteProtocolError)
    return code in _VERSION_REFUSED
