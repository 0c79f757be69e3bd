"""Whether a login has to be bound to the TLS connection that it goes over, and how.

Knows libpq's channel_binding and sslcertmode, and which mechanisms can bind. Must not know how SCRAM works, nor send
anything. Binding keeps somebody in the middle from passing the messages of a login on: they speak of his certificate.

See the PostgreSQL manual, "SASL Authentication", and RFC 5929.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import NotSupportedError, OperationalError, RemoteProtocolError
from ..protocol import messages
from ..protocol.auth.channel_binding import tls_server_end_point
from ..protocol.auth.scram import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramClient
from ..transport.socket import Channel, SocketStream

__all__ = ["ChannelBinding"]

_MAY_BIND = (
    messages.AuthenticationSASL,
    messages.AuthenticationSASLContinue,
    messages.AuthenticationSASLFinal,
    messages.AuthenticationOk,
)


class ChannelBinding:
    """The rules of one login.

    :param policy: disable, prefer or require.
    :param certmode: libpq's sslcertmode.
    """

    def __init__(self, channel: Channel, policy: str, certmode: str) -> None:
        self._tls = channel.tls
        self._ours = isinstance(channel, SocketStream)
        self._policy = policy
        self._certmode = certmode

    def check(self, message: messages.Authentication) -> None:
        """Refuse a request by which the server would let us in without binding, before anything is answered.

        :raises OperationalError: channel_binding is "require", and this request leads nowhere there.
        """
        if self._policy == "require" and not isinstance(message, _MAY_BIND):
            raise OperationalError(
                "channel_binding=require: the server asks for another authentication than SCRAM, which cannot bind; "
                "check its pg_hba.conf and password_encryption, or that nobody is in between"
            )

    def choose(self, mechanisms: Sequence[str]) -> tuple[str, bytes | None]:
        """Return the mechanism to take of those that the server offers, and the data of :class:`ScramClient`.

        :raises NotSupportedError: none of them is known.
        :raises OperationalError: binding is not possible, and has to be or should be.
        :raises RemoteProtocolError: the server offers to bind to TLS that is not there.
        """
        offered = SCRAM_SHA_256_PLUS in mechanisms
        if self._tls is None:
            if self._policy == "require":
                raise OperationalError(
                    "channel_binding=require: there is nothing to bind to without TLS"
                    if self._ours
                    else "channel_binding=require: nothing is known about TLS in a stream of your own"
                )
            if offered and self._ours:
                raise RemoteProtocolError(
                    f"the server offers {SCRAM_SHA_256_PLUS} without TLS: somebody may be in between"
                )
        elif offered and self._policy != "disable":
            data = None if self._tls.certificate is None else tls_server_end_point(self._tls.certificate)
            if data is not None:
                return SCRAM_SHA_256_PLUS, data
            if self._policy == "require" or not self._tls.verified:
                # One in the middle would choose such a certificate, if that were enough to be spared.
                raise OperationalError(
                    "the signature of the server's certificate has no hash to bind to (Ed25519, for one): use another "
                    "certificate, or verify it by sslmode verify-full, or leave binding out by channel_binding=disable"
                )
            # "Cannot bind", and not "would have": the server offers it.
            return self._plain(mechanisms), None
        if self._policy == "require":
            raise OperationalError(
                f"channel_binding=require: the server does not offer {SCRAM_SHA_256_PLUS}; it may be a pooler or "
                "an old version, or somebody in between took the offer away"
            )
        # "Would have bound": a server that did offer it learns that the offer was taken away.
        could = self._tls is not None and self._policy != "disable"
        return self._plain(mechanisms), b"" if could else None

    def _plain(self, mechanisms: Sequence[str]) -> str:
        if SCRAM_SHA_256 not in mechanisms:
            raise NotSupportedError(
                f"the server asks for SASL authentication by {', '.join(mechanisms)}; anyq knows {SCRAM_SHA_256}, "
                f"and {SCRAM_SHA_256_PLUS} with TLS"
            )
        return SCRAM_SHA_256

    def check_in(self, scram: ScramClient | None) -> None:
        """Refuse a server that has let us in without what had to be.

        :raises OperationalError: it did not bind, or did not want a certificate that had to be sent.
        """
        if self._policy == "require" and not (
            scram is not None and scram.verified and scram.mechanism == SCRAM_SHA_256_PLUS
        ):
            raise OperationalError(
                "channel_binding=require: the server let us in without binding to the TLS connection; check its "
                "pg_hba.conf, or that nobody is in between"
            )
        if self._certmode == "require":
            if self._tls is None or not self._tls.certificate_requested:
                raise OperationalError("sslcertmode=require: the server did not ask for a client certificate")
            if not self._tls.certificate_sent:
                raise OperationalError("sslcertmode=require: the server let us in without a client certificate")
