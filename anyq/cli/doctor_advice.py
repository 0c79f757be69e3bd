"""What to do about a connection that cannot be made, in plain words.

Knows the usual mistakes, and by what they are told: the step, the class of the error, its SQLSTATE, and the function of
the server that has raised it, which is the same in every language. Must not know how anything is shown. What it says
has names and addresses in it, and no password.
"""

from __future__ import annotations

import errno
import ipaddress
import ssl
from collections.abc import Iterator, Mapping

import anyq
from anyq.conninfo import ConnectOptions
from anyq.startup.encryption import DeadEnd
from anyq.transport.failures import DialError

from .doctor_steps import Step

__all__ = ["Advisor"]

_NEIGHBOURS: Mapping[int, str] = {
    # Ports that are taken for PostgreSQL's, or given by mistake.
    22: "SSH",
    80: "a web server",
    443: "a web server",
    1433: "Microsoft SQL Server",
    1521: "Oracle",
    3306: "MySQL or MariaDB",
    6379: "Redis",
    8080: "a web server",
    27017: "MongoDB",
}

_EXPIRED, _EARLY, _NAME, _ADDRESS = 10, 9, 62, 64
_UNTRUSTED = (18, 19, 20, 21)
"""OpenSSL's numbers of what is wrong with a certificate (x509_vfy.h)."""

_OF_DATABASES = "see which there are by: psql -l, or SELECT datname FROM pg_database"


class Advisor:
    """Says what to do, each thing once.

    :param origins: where each option comes from, in words, by keyword.
    """

    def __init__(self, options: ConnectOptions, origins: Mapping[str, str]) -> None:
        self._options = options
        self._origins = origins
        self._said: set[str] = set()

    def __call__(self, step: Step, error: BaseException) -> list[str]:
        """Return what to do about the error that a step has failed with."""
        match step.kind:
            case "name":
                found = self._about_name(error)
            case "address":
                found = self._about_address(error)
            case "tls":
                found = self._about_tls(error)
            case "session":
                found = self._about_session()
            case _:
                found = self._about_login(error)
        new = [text for text in found if text not in self._said]
        self._said.update(new)
        return new

    def _from(self, keyword: str) -> str:
        return f"{keyword} comes from: {self._origins.get(keyword, 'default')}."

    # -- before PostgreSQL says anything

    def _about_name(self, error: BaseException) -> Iterator[str]:
        yield f"Check the spelling of the host name. {self._from('host')}"
        yield (
            "A name of a container or a pod is known only in its own network; a short name needs the search domain of "
            "a company's network, or its VPN."
        )
        if isinstance(error, DialError) and any(failure.timed_out for failure in error.failures):
            yield "The name servers do not answer: check the network, and /etc/resolv.conf."

    def _about_address(self, error: BaseException) -> Iterator[str]:
        code = error.errno if isinstance(error, OSError) else None
        if isinstance(error, DialError) or code == errno.ETIMEDOUT:
            yield (
                "Nothing answers, neither yes nor no: a firewall drops the packets, or the address is not the "
                "server's. A server that is merely not running would have refused at once."
            )
            yield (
                "Check the firewalls on the way (in a cloud: security groups and lists of allowed addresses), whether "
                f"a VPN is needed, and the address. {self._from('host')}"
            )
        elif code == errno.ENOENT:
            yield (
                "There is no such socket: the server is not running, or has its socket in another directory (SHOW "
                "unix_socket_directories) or by another port."
            )
            yield f"{self._from('host')} {self._from('port')} With host=localhost the connection goes by TCP."
        elif code == errno.ECONNREFUSED:
            yield "Is the server running? On its machine: pg_isready, or systemctl status postgresql."
            yield f"Is it that port? There: SHOW port. {self._from('port')}"
            yield (
                "Does it listen at that address? There: SHOW listen_addresses, which is only localhost by default. In "
                "a container, localhost is the container itself; a server in one has to publish its port."
            )
        elif code in (errno.EACCES, errno.EPERM):
            yield "Check the permissions of the socket's directory, and the server's unix_socket_permissions."
        elif code in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            yield f"There is no way to that address: check the network, and the address. {self._from('host')}"

    def _about_tls(self, error: BaseException) -> Iterator[str]:
        cause = error.__cause__
        if isinstance(error, DeadEnd):
            yield from self._about_others()
        elif isinstance(error, anyq.errors.ConnectionTimeout) or _timed_out(error):
            yield from self._about_silence()
        elif isinstance(cause, ssl.SSLCertVerificationError):
            yield from self._about_certificate(cause.verify_code)
        elif "does not support TLS" in str(error):
            yield (
                "Have the server's administrator turn on ssl (postgresql.conf: ssl = on, ssl_cert_file, ssl_key_file), "
                f"or give up TLS by another sslmode, on a network where nobody else is. {self._from('sslmode')}"
            )
        else:
            yield f"The options of TLS are told in docs/connecting.md. {self._from('sslmode')}"

    def _about_certificate(self, code: int) -> Iterator[str]:
        if code == _EXPIRED:
            yield (
                "Have the certificate renewed on the server (ssl_cert_file, then SELECT pg_reload_conf()), and check "
                "this machine's clock."
            )
            yield "Until then sslmode=require connects without knowing to whom, if no sslrootcert is given or there."
        elif code == _EARLY:
            yield "Check the clocks of both machines."
        elif code in _UNTRUSTED:
            yield (
                "Give the certificate of the authority that has signed the server's as sslrootcert; of a certificate "
                "that is signed by itself, that one. Get it from the server's administrator, not over this connection."
            )
            yield f"{self._from('sslrootcert')}"
        elif code in (_NAME, _ADDRESS):
            yield (
                "Connect by a name that is in the certificate (openssl s_client -starttls postgres -connect ... shows "
                "it); with hostaddr= the address can be given beside the name."
            )

    def _about_others(self) -> Iterator[str]:
        guess = self._guess()
        yield f"Something listens there that is not PostgreSQL: check host and port.{guess} {self._from('port')}"

    def _guess(self) -> str:
        guesses = {_NEIGHBOURS[host.port] for host in self._options.hosts if host.port in _NEIGHBOURS}
        return f" It is the usual port of {' or '.join(sorted(guesses))}." if guesses else ""

    def _about_silence(self) -> Iterator[str]:
        yield f"Check host and port.{self._guess()} {self._from('port')}"
        yield (
            "Something accepts connections there and says nothing: another kind of server, a proxy or tunnel whose "
            "other end is gone, or a server that is overloaded, or stopped by a debugger."
        )

    # -- what PostgreSQL says

    def _about_login(self, error: BaseException) -> Iterator[str]:
        state = error.sqlstate if isinstance(error, anyq.Error) else None
        user = self._options.user
        match state:
            case "28P01":
                yield from self._about_password()
            case "28000":
                assert isinstance(error, anyq.Error)
                yield from self._about_refusal(error)
            case "3D000":
                yield (
                    f"There is no database {self._options.dbname!r}: {_OF_DATABASES}. "
                    f"{self._from('dbname')} Without dbname the user's name is taken."
                )
            case "42501":
                yield f"The user may not connect to that database: GRANT CONNECT ON DATABASE ... TO {user}."
            case "53300":
                yield (
                    "All connections that the server allows are taken (max_connections, or the CONNECTION LIMIT of the "
                    "role or the database). Who has them: SELECT usename, application_name, state FROM "
                    "pg_stat_activity, as a superuser, for whom a few are reserved."
                )
                yield "Use a pool (docs/pool.md), or a smaller one in each process, or a pooler before the server."
            case "57P03":
                yield "The server is starting, stopping or recovering: try again soon; its log tells how far it is."
            case "08P01" if "startup parameter" in str(error):
                yield "That is PgBouncer: leave the option out, or name it in its ignore_startup_parameters."
            case _:
                yield from self._about_loss(error)

    def _about_loss(self, error: BaseException) -> Iterator[str]:
        user = self._options.user
        if isinstance(error, anyq.errors.RemoteProtocolError):
            yield from self._about_others()
        elif isinstance(error, anyq.errors.ConnectionTimeout):
            yield from self._about_silence()
        elif "asks for a password" in str(error):
            hosts = ",".join(host.host for host in self._options.hosts)
            port = self._options.hosts[0].port
            yield (
                "Give a password: password= in the connection string, the environment variable PGPASSWORD, or a line "
                f"in the password file, {hosts}:{port}:{self._options.dbname}:{user}:PASSWORD (mode 0600)."
            )
        elif isinstance(error, anyq.Error) and error.sqlstate is None and "closed the connection" in str(error):
            yield from self._about_others()
            yield "If it is PostgreSQL, its log tells why it has closed the connection."

    def _about_password(self) -> Iterator[str]:
        yield f"{self._from('password')} Check that it is that of the user {self._options.user!r}, on this server."
        yield (
            "The server says the same where the user has no password, where it has expired (VALID UNTIL), and where "
            "there is no such user; its log tells which. A new one: ALTER ROLE ... PASSWORD, or psql's \\password."
        )

    def _about_refusal(self, error: anyq.Error) -> Iterator[str]:
        user, dbname = self._options.user, self._options.dbname
        match error.diag.source_function:
            case "InitializeSessionUserId":
                yield f"Have the user made, by CREATE ROLE ... LOGIN, or give another one. {self._from('user')}"
            case "ClientAuthentication":
                yield (
                    "The server's pg_hba.conf lets this user, database and address not in. The line that would, for "
                    f"this address: host {_quoted(dbname)} {_quoted(user)} {self._own_address(error)} scram-sha-256"
                )
                yield (
                    "Lines count from the top, and the first that matches decides. Afterwards: SELECT "
                    "pg_reload_conf(). SHOW hba_file tells where the file is; in a cloud that is a setting of the "
                    "service."
                )
                if "no encryption" in str(error) or "SSL off" in str(error):
                    yield (
                        "It was without TLS: lines that begin with hostssl do not match then. Try sslmode=require. "
                        f"{self._from('sslmode')}"
                    )
            case _:
                yield (
                    "The server has looked who you are without a password (peer, ident or cert in its pg_hba.conf): "
                    f"run this as the operating system's user that may be {user!r}, or, with a password, give "
                    "host=localhost."
                )

    def _own_address(self, error: anyq.Error) -> str:
        """Return this client's address, as the server has told it, in the form of pg_hba.conf."""
        for word in str(error).split('"'):
            try:
                address = ipaddress.ip_address(word.partition("%")[0])
            except ValueError:
                continue
            return f"{address}/{address.max_prefixlen}"
        return "ADDRESS/32"

    def _about_session(self) -> Iterator[str]:
        yield (
            f"No host has a session for target_session_attrs={self._options.target_session_attrs}: name all of the "
            f"servers in host. {self._from('target_session_attrs')}"
        )


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, DialError) and any(failure.timed_out for failure in error.failures)


def _quoted(name: str) -> str:
    """Return a name as pg_hba.conf has it: quoted, unless it is as plain as can be."""
    return name if name.isidentifier() and name.islower() else '"' + name.replace('"', '""') + '"'
