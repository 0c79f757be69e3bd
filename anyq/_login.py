"""The start-up of a session on an open stream: who we are, and whatever the server asks to believe it.

Knows the order of authentication messages and which answers there are. Must not know how the stream was opened.
"""

from __future__ import annotations

import anyio
import anyio.to_thread

from ._binding import ChannelBinding
from .conninfo import ConnectOptions
from .errors import NotSupportedError, OperationalError, RemoteProtocolError
from .protocol import auth, backend, frontend
from .protocol.constants import PROTOCOL_3_0
from .wire import Wire

_UNSUPPORTED: dict[type[backend.Authentication], str] = {
    backend.AuthenticationGSS: "GSSAPI",
    backend.AuthenticationSSPI: "SSPI",
    backend.AuthenticationKerberosV5: "Kerberos V5",
    backend.AuthenticationSCMCredential: "SCM credentials",
}


async def log_in(wire: Wire, options: ConnectOptions) -> None:
    """Bring a new session to the point where it takes requests.

    :raises OperationalError: the server refuses, or wants what we do not have.
    :raises RemoteProtocolError: the server breaks the protocol, or cannot prove that it knows the password.

    A cancellation leaves a session that has to be closed. Manual: "Start-up" (protocol-flow).
    """
    session = wire.session
    session.start(options.startup_parameters(), PROTOCOL_3_0)
    scram: auth.ScramClient | None = None
    binding = ChannelBinding(wire.channel, options.tls.channel_binding, options.tls.certmode)
    while True:
        message = await wire.next_authentication()
        if message is not None:
            binding.check(message)
        match message:
            case None:
                return
            case backend.AuthenticationOk():
                if scram is not None and not scram.verified:
                    raise RemoteProtocolError("the server let us in without proving that it knows the password")
                binding.check_in(scram)
                # From here on the server only reports, until it is ready.
                continue
            case backend.AuthenticationCleartextPassword():
                frontend.password(session.outgoing, auth.password_bytes(_password(options)))
            case backend.AuthenticationMD5Password():
                answer = auth.md5_password(options.user, _password(options), message.salt)
                frontend.password(session.outgoing, answer)
            case backend.AuthenticationSASL():
                mechanism, data = binding.choose(message.mechanisms)
                scram = auth.ScramClient(_password(options), mechanism, data)
                frontend.sasl_initial_response(session.outgoing, mechanism, scram.first_message())
            case backend.AuthenticationSASLContinue() if scram is not None:
                frontend.sasl_response(session.outgoing, await _answer(scram, options, message.data))
            case backend.AuthenticationSASLFinal() if scram is not None:
                scram.verify_final(message.data)
            case _:
                name = _UNSUPPORTED.get(type(message))
                if name is None:
                    raise RemoteProtocolError(f"the server sent {type(message).__name__} out of turn")
                raise NotSupportedError(f"the server asks for authentication by {name}, which anyq does not support")


async def _answer(scram: auth.ScramClient, options: ConnectOptions, server_first: bytes) -> bytes:
    challenge = scram.parse_first(server_first)
    salted: bytes | None = None
    if scram.needs_thread(challenge.iterations):
        # Above this the hash takes longer than an event loop should be kept waiting.
        salted = await anyio.to_thread.run_sync(
            scram.salted_password, _password(options), challenge.salt, challenge.iterations, abandon_on_cancel=True
        )
    return scram.process_first(server_first, salted)


def _password(options: ConnectOptions) -> str:
    if options.password is None:
        raise OperationalError(
            f'the server asks for a password for user "{options.user}", and none was given; pass password=, or set '
            "PGPASSWORD"
        )
    return options.password
