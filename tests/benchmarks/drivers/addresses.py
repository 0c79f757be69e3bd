"""Takes a connection string apart, for drivers that do not know such."""

from __future__ import annotations

import os
import ssl
from typing import NamedTuple

from anyq.conninfo import conninfo_to_dict, make_conninfo, resolve


class Address(NamedTuple):
    host: str
    port: int
    socket: str | None
    """The path of the server's Unix-domain socket, if it is one."""
    user: str
    password: str | None
    dbname: str
    tls: ssl.SSLContext | None
    sslmode: str | None
    sslrootcert: str | None


def address(dsn: str) -> Address:
    values = conninfo_to_dict(dsn)
    mode, root = values.pop("sslmode", None), values.pop("sslrootcert", None)
    options = resolve(make_conninfo("", **values), {}, os.environ)
    host = options.hosts[0]
    context = None
    if mode in ("require", "verify-ca", "verify-full"):
        context = ssl.create_default_context(cafile=root)
        context.check_hostname = mode == "verify-full"
        if mode == "require" and root is None:
            context.verify_mode = ssl.CERT_NONE
    return Address(
        *(host.host, host.port, host.socket_path, options.user, options.password, options.dbname),
        *(context, mode, root),
    )
