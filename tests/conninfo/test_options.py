"""What connect() is to do, from keywords, strings and the environment."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle
import sys

import pytest

from anyq.conninfo import ConnectOptions, HostSpec, TlsOptions, resolve
from anyq.errors import ProgrammingError

SECRET = "s3cr3t"

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="Unix-domain sockets in /")

NOWHERE = {"user": "me", "host": "h"}


def test_precedence() -> None:
    environ = {"PGHOST": "environment", "PGUSER": "environment", "PGDATABASE": "environment", "PGPORT": "1"}
    options = resolve("host=string user=string dbname=string", {"host": "keyword", "user": None}, environ)
    assert options.hosts == (HostSpec("keyword", None, 1),)
    assert options.user == "string"
    assert options.dbname == "string"
    assert resolve("", {}, environ).dbname == "environment"


def test_the_obsolete_variable_for_tls() -> None:
    unix = {"user": "u", "host": "@x"}
    assert resolve("", unix, {"PGREQUIRESSL": "1"}).tls.mode == "require"
    assert resolve("", unix, {"PGREQUIRESSL": "0"}).tls.mode == "prefer"
    assert resolve("", unix, {"PGREQUIRESSL": "1", "PGSSLMODE": "disable"}).tls.mode == "disable"
    assert resolve("sslmode=allow", unix, {"PGREQUIRESSL": "1"}).tls.mode == "allow"


def test_every_environment_variable() -> None:
    options = resolve(
        "",
        {},
        {
            "PGHOST": "a,b",
            "PGHOSTADDR": "127.0.0.1,::1",
            "PGPORT": "1,2",
            "PGDATABASE": "d",
            "PGUSER": "u",
            "PGPASSWORD": "p",
            "PGCONNECT_TIMEOUT": "3",
            "PGCLIENTENCODING": "LATIN1",
            "PGOPTIONS": "-c x.y=z",
            "PGAPPNAME": "app",
            "PGSSLMODE": "allow",
            "PGREQUIREPEER": "postgres",
            "PGMINPROTOCOLVERSION": "3.0",
            "PGMAXPROTOCOLVERSION": "3.2",
            "PGTARGETSESSIONATTRS": "primary",
            "PGLOADBALANCEHOSTS": "random",
            "PGTZ": "Europe/Rome",
            "PGDATESTYLE": "default",
            "PGGEQO": "off",
        },
    )
    assert options == ConnectOptions(
        hosts=(HostSpec("a", "127.0.0.1", 1), HostSpec("b", "::1", 2)),
        user="u",
        dbname="d",
        password="p",
        connect_timeout=3,
        options="-c x.y=z",
        application_name="app",
        client_encoding="LATIN1",
        tls=TlsOptions(mode="allow", folder=options.tls.folder),
        requirepeer="postgres",
        min_protocol_version=0x30000,
        max_protocol_version=0x30002,
        target_session_attrs="primary",
        load_balance_hosts=True,
        session_settings=(("timezone", "Europe/Rome"), ("geqo", "off")),
    )
    assert options.startup_parameters() == {
        "user": "u",
        "database": "d",
        "client_encoding": "LATIN1",
        "options": "-c x.y=z",
        "application_name": "app",
        "timezone": "Europe/Rome",
        "geqo": "off",
    }


def test_defaults() -> None:
    options = resolve("", NOWHERE, {})
    # Where the default files for TLS are depends on whose home directory it is.
    tls = TlsOptions(folder=options.tls.folder)
    assert options == ConnectOptions(hosts=(HostSpec("h", None, 5432),), user="me", dbname="me", tls=tls)
    assert options.connect_timeout is None
    assert options.startup_parameters() == {"user": "me", "database": "me", "client_encoding": "UTF8"}


@unix_only
def test_default_user_is_the_effective_user() -> None:
    import pwd

    expected = pwd.getpwuid(os.geteuid()).pw_name
    assert resolve("host=h", {}, {"USER": "no", "LOGNAME": "no", "USERNAME": "no"}).user == expected
    assert resolve("host=h user=''", {}, {"PGUSER": "no"}).user == expected


@unix_only
def test_default_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    with pytest.raises(ProgrammingError, match="give user="):
        resolve("host=h", {}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("connect_timeout=soon", "'connect_timeout' must be a number of seconds, not 'soon'"),
        ("connect_timeout=nan", "must be a number of seconds"),
        ("connect_timeout=1_0", "must be a number of seconds"),
        ("keepalives=yes", "'keepalives' must be an integer"),
        ("tcp_user_timeout=1.5", "'tcp_user_timeout' must be an integer"),
        ("keepalives_idle=9999999999", "'keepalives_idle' must be an integer of 32 bits"),
        ("sslmode=on", "must be one of disable, allow, prefer, require"),
        ("target_session_attrs=master", "must be one of any, read-write, read-only, primary, standby, prefer-standby"),
        ("load_balance_hosts=1", "'load_balance_hosts' must be one of disable, random, not '1'"),
        ("min_protocol_version=3.1", "'min_protocol_version' must be one of 3.0, 3.2, latest, not '3.1'"),
        ("max_protocol_version=4", "must be one of 3.0, 3.2, latest"),
        ("min_protocol_version=latest max_protocol_version=3.0", "'min_protocol_version' must not be greater"),
        ("dbname='\udcff'", "'dbname' cannot be encoded as UTF-8"),
    ],
)
def test_bad_values(text: str, message: str) -> None:
    with pytest.raises(ProgrammingError, match=message):
        resolve(text, NOWHERE, {})


def test_bad_value_of_the_environment_names_the_variable() -> None:
    with pytest.raises(ProgrammingError, match="environment variable PGCONNECT_TIMEOUT must be"):
        resolve("", NOWHERE, {"PGCONNECT_TIMEOUT": "x"})
    with pytest.raises(ProgrammingError, match="environment variable PGTZ cannot be encoded"):
        resolve("", NOWHERE, {"PGTZ": "\udcff"})


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(3, 3.0), (0.25, 0.25), ("1.5", 1.5), (" 2 ", 2.0), (0, None), (-1, None), ("", None), ("inf", None)],
)
def test_connect_timeout(value: object, seconds: float | None) -> None:
    assert resolve("", {**NOWHERE, "connect_timeout": value}, {}).connect_timeout == seconds


def test_keepalives() -> None:
    assert resolve("", NOWHERE, {}).keepalives is True
    options = resolve(
        "keepalives=0 keepalives_idle=1 keepalives_interval=2 keepalives_count=3 tcp_user_timeout=4",
        NOWHERE,
        {},
    )
    assert options.keepalives is False
    assert (options.keepalives_idle, options.keepalives_interval, options.keepalives_count) == (1, 2, 3)
    assert options.tcp_user_timeout == 4
    assert resolve("keepalives_idle=0 tcp_user_timeout=-1", {**NOWHERE, "keepalives": True}, {}) == resolve(
        "", NOWHERE, {}
    )


def test_application_name() -> None:
    assert resolve("fallback_application_name=f", NOWHERE, {}).application_name == "f"
    assert resolve("fallback_application_name=f", NOWHERE, {"PGAPPNAME": "e"}).application_name == "e"


def test_client_encoding() -> None:
    assert resolve("client_encoding=auto", NOWHERE, {}).client_encoding == "UTF8"
    assert resolve("client_encoding=SQL_ASCII", NOWHERE, {}).client_encoding == "SQL_ASCII"


def test_options_are_values() -> None:
    options = resolve("password=" + SECRET, NOWHERE, {})
    assert SECRET not in repr(options)
    assert options.password == SECRET
    assert hash(options) == hash(copy.copy(options))
    assert pickle.loads(pickle.dumps(options)) == options
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.user = "x"  # type: ignore[misc]
