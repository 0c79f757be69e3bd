"""Connection options: strings, URIs, the environment, service and password files to one `ConnectOptions`.

Knows libpq's keywords. Must not know sockets, DNS, TLS or the protocol.

Begin with `options`.
"""

from .hosts import HostSpec
from .keywords import KEYWORDS, Keyword
from .options import ConnectOptions, PasswordSource, resolve
from .strings import conninfo_to_dict, make_conninfo, parse_conninfo
from .tls import TlsOptions

__all__ = [
    "KEYWORDS",
    "ConnectOptions",
    "HostSpec",
    "Keyword",
    "PasswordSource",
    "TlsOptions",
    "conninfo_to_dict",
    "make_conninfo",
    "parse_conninfo",
    "resolve",
]
