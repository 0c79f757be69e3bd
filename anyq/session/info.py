"""ConnectionInfo: what is known about a connection without asking the server.

Knows the session's state and the options it was made with. Must not change either, and shows no password but in
``password``.
"""

from __future__ import annotations

import re
from datetime import tzinfo
from typing import TypeVar

from ..adapt.timezones import timezone_of
from ..conninfo import ConnectOptions, HostSpec, make_conninfo
from ..pq import ConnStatus, PipelineStatus
from ..protocol.constants import TransactionStatus
from ..protocol.phases import Phase
from ..transport.socket import SocketStream
from .session import Session

# What follows, as in "19beta1" or "15.4 (Debian 15.4-1)", says nothing that is counted.
_VERSION = r"([0-9]{1,4})(?![0-9])(?:\.([0-9]{1,2})(?![0-9]))?(?:\.([0-9]{1,2})(?![0-9]))?"


Fact = TypeVar("Fact")


def described(thing: object, text: str) -> str:
    """Return the ``repr()`` of an object that has no other: its class, a text, and which one it is."""
    return f"<{type(thing).__module__}.{type(thing).__qualname__} {text} at 0x{id(thing):x}>"


class ConnectionInfo:
    """What is known about a connection; ``conn.info``. Nothing in it waits for the server.

    Most of it cannot be read, and raises an OperationalError, once the connection was closed from this side; if it was
    lost it can be.
    """

    def __init__(self, session: Session, options: ConnectOptions, host: HostSpec) -> None:
        self._session = session
        self._options = options
        self._host = host

    @property
    def vendor(self) -> str:
        """The kind of server, as psycopg names it: "PostgreSQL"."""
        return "PostgreSQL"

    @property
    def status(self) -> ConnStatus:
        """OK, or BAD once the connection is closed, by either side."""
        return ConnStatus.BAD if self._session.closed else ConnStatus.OK

    # -- with whom. It can be read of a lost connection, but not of one that was closed.

    @property
    def host(self) -> str:
        """The server's host name, address, or directory of its Unix socket."""
        return self._known(self._host.host)

    @property
    def hostaddr(self) -> str:
        """The server's IP address; empty on a Unix socket."""
        channel = self._session.wire.channel
        if isinstance(channel, SocketStream) and isinstance(channel.peer[1], tuple):
            return self._known(str(channel.peer[1][0]))
        return self._known("")

    @property
    def port(self) -> int:
        """The server's port."""
        return self._known(self._host.port)

    @property
    def dbname(self) -> str:
        """The name of the database."""
        return self._known(self._options.dbname)

    @property
    def user(self) -> str:
        """The user's name."""
        return self._known(self._options.user)

    @property
    def password(self) -> str:
        """The password that was given; empty if none was, or a function that gives it."""
        return self._known(self._options.password or "")

    @property
    def options(self) -> str:
        """The command-line options sent with the connection request."""
        return self._known(self._options.options or "")

    @property
    def dsn(self) -> str:
        """A connection string for the same database, without the password."""
        return make_conninfo("", **self.get_parameters())

    def get_parameters(self) -> dict[str, str]:
        """Return the connection's parameters as keywords, without the password and what is so by default."""
        where = {"host": self._host.host, "port": str(self._host.port), "hostaddr": self._host.hostaddr or ""}
        return self._known({**self._options.keywords(), **{name: value for name, value in where.items() if value}})

    def _known(self, fact: Fact) -> Fact:
        """Return a fact.

        :raises OperationalError: the connection was closed.
        """
        if self._session.wire.protocol.phase is Phase.CLOSED:
            self._session.check_open()
        return fact

    def summary(self, status: str | None = None) -> str:
        """Return a line about the connection: ``[IDLE] (host=... port=... user=... dbname=...)``.

        :param status: what to say instead of the transaction's status, which is "closed" on a closed connection.
        """
        if status is None:
            status = "closed" if self._session.closed else self.transaction_status.name
        if self.pipeline_status is not PipelineStatus.OFF:
            status += f", pipeline={self.pipeline_status.name}"
        where = f"host={self._host.host} port={self._host.port} user={self._options.user} dbname={self._options.dbname}"
        return f"[{status}] ({where})"

    @property
    def transaction_status(self) -> TransactionStatus:
        """IDLE, INTRANS, INERROR; ACTIVE while a statement is under way; UNKNOWN on a closed connection."""
        return self._session.transaction_status

    @property
    def pipeline_status(self) -> PipelineStatus:
        """ON while a task is in a pipeline block of the connection, ABORTED if one is behind an error; or OFF."""
        found = {pipeline.status for pipeline in self._session.transactions.pipelines.values()}
        return max(found, default=PipelineStatus.OFF)

    @property
    def server_version(self) -> int:
        """The server's version as a number: 180004 for 18.4, 90603 for 9.6.3; 0 if it is not known."""
        match = self._known(re.match(_VERSION, self.parameter_status("server_version") or ""))
        if match is None:
            return 0
        major, minor, patch = [int(number or 0) for number in match.groups()]
        return major * 10000 + minor if major >= 10 else major * 10000 + minor * 100 + patch

    @property
    def backend_pid(self) -> int:
        """The process id of the server process of this connection."""
        return self._known(self._session.wire.protocol.backend_pid)

    @property
    def protocol_version(self) -> int:
        """The protocol's version in two digits each: 30000 for 3.0, 30002 for 3.2."""
        version = self._session.wire.protocol.protocol_version
        return self._known((version >> 16) * 10000 + (version & 0xFFFF))

    @property
    def full_protocol_version(self) -> int:
        """The same as :attr:`protocol_version`."""
        return self.protocol_version

    @property
    def ssl_in_use(self) -> bool:
        """Whether the connection uses TLS; of a stream of the caller's nothing is known, which counts as no."""
        return self._session.wire.channel.tls is not None

    @property
    def ssl_attribute_names(self) -> list[str]:
        """The names that :meth:`ssl_attribute` knows of this connection; empty without TLS."""
        tls = self._session.wire.channel.tls
        return [] if tls is None else [*tls.attributes]

    def ssl_attribute(self, name: str) -> str | None:
        """Return a fact about the TLS in use, by libpq's names (manual, PQsslAttribute); None without TLS.

        ``library`` is "OpenSSL", ``protocol`` such as "TLSv1.3", ``cipher`` OpenSSL's name, ``key_bits`` a number,
        ``compression`` "on" or "off", ``alpn`` the protocol agreed on, "postgresql" or nothing.
        """
        tls = self._session.wire.channel.tls
        return None if tls is None else tls.attributes.get(name)

    @property
    def encoding(self) -> str:
        """The Python codec of the client encoding."""
        return self._session.encoding

    @property
    def timezone(self) -> tzinfo:
        """The session's time zone as a ``tzinfo``; what timestamptz values are loaded with."""
        return self._known(timezone_of(self._session.adaptation))

    @property
    def error_message(self) -> str:
        """Why the connection is closed; empty while it is not."""
        return self._session.wire.protocol.closed_reason() if self._session.closed else ""

    def parameter_status(self, name: str) -> str | None:
        """Return the server's value of a parameter that it reports, such as ``TimeZone``; None if it does not."""
        return self._session.wire.protocol.parameters.get(name)
