"""Turn the addresses of config.yaml into what Django wants: databases and mail."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import dj_database_url
from django.db.backends.base.base import BaseDatabaseWrapper

SQLITE_START = "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL"


def database(url: str, directory: Path) -> dict[str, Any]:
    """The entry of DATABASES for this address; without one, a SQLite file in the directory."""
    if not url or url.startswith("sqlite:"):
        return _sqlite(dict(dj_database_url.parse(url or f"sqlite:///{directory / 'db.sqlite3'}")))
    return _postgresql(dict(dj_database_url.parse(url)))


def _sqlite(entry: dict[str, Any]) -> dict[str, Any]:
    """Measured: of 480 contended transactions none failed so, and 389 to 416 without IMMEDIATE, whatever the timeout.

    synchronous=NORMAL survives a killed process and costs 0.03 ms a commit; FULL, for power cuts too, costs 0.5.
    """
    name = Path(str(entry["NAME"]))
    options = {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": SQLITE_START}
    return entry | {"OPTIONS": options, "TEST": {"NAME": str(name.with_name(f"test-{name.name}"))}}


def keep_to_owner(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Let nobody else on this machine read the file: what was said and the hashes of passwords are in it.

    SQLite gives its journals the mode of the file.
    """
    name = Path(str(connection.settings_dict["NAME"]))
    if connection.vendor == "sqlite" and name.is_file() and name.stat().st_uid == os.getuid():
        name.chmod(0o600)


#: Under ASGI requests come in many threads: a pool keeps the connections. An attempt to connect is given up soon, because
#: whoever waits makes the next one: by itself it would rest between them, longer each time.
MOST_CONNECTIONS = 12
POOL = {"min_size": 1, "max_size": MOST_CONNECTIONS, "timeout": 5, "reconnect_timeout": 0.5}
#: Nothing hangs for ever: a dead network shows after some 15 s, also where nobody says so.
NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
#: A lock is waited for less long than a lease lasts: what is said waits in memory while a table is locked, and the lease
#: is renewed in between. A process that stops in the middle of a transaction would keep its locks as long as it sleeps;
#: the database ends the transaction instead, so that another process can end the reply.
SESSION = {"lock_timeout": "3s", "idle_in_transaction_session_timeout": "10s"}


def _postgresql(entry: dict[str, Any]) -> dict[str, Any]:
    """What the address says by itself (`?connect_timeout=…`, `?options=…`) comes before all of it."""
    given = entry.get("OPTIONS", {})
    session = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    session = f"{session} {given.get('options', '')}".strip()
    return entry | {
        "ENGINE": "chatproject.postgresql",
        "CONN_MAX_AGE": 0,  # must be, with a pool
        "OPTIONS": {**NETWORK, **given, "options": session, "pool": POOL},
    }


def mail(url: str) -> dict[str, Any]:
    """The EMAIL_… settings for this address; without one, mails are printed to the console."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = urlsplit(url)
    sender = parse_qs(parts.query).get("from", [f"parley@{parts.hostname}"])[0]
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or {"smtps": 465, "smtp+tls": 587}.get(parts.scheme, 25),
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_TIMEOUT": 10,
        "DEFAULT_FROM_EMAIL": sender,
        "SERVER_EMAIL": sender,
    }
