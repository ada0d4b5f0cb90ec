"""Django's settings, as they follow from config.yaml."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError
from django.db import connection
from django.test import Client
from django.urls import reverse

from chatproject import databases
from chatproject.config import BASE_DIR
from chatproject.management.commands import runserver
from tests.services import free_port

# Databases and mail


def test_without_an_address_the_database_is_a_file_here(tmp_path: Path) -> None:
    assert databases.database("", tmp_path)["NAME"] == str(tmp_path / "db.sqlite3")


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
def test_sqlite_waits_for_others_and_writes_ahead() -> None:
    with connection.cursor() as cursor:
        modes = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert modes == ["wal", 1]
    assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_postgresql_has_a_pool_and_keeps_the_options_of_the_address() -> None:
    entry = databases.database("postgresql://a:b%40c@h:5433/d?sslmode=require", Path())
    assert (entry["PASSWORD"], entry["PORT"], entry["CONN_MAX_AGE"]) == ("b@c", 5433, 0)
    assert entry["OPTIONS"]["sslmode"] == "require"
    assert entry["OPTIONS"]["pool"]["max_size"] > 1


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtps://a:b@h?from=chat@example.org", {"EMAIL_PORT": 465, "EMAIL_USE_SSL": True, "DEFAULT_FROM_EMAIL": "chat@example.org"}),
        ("smtp+tls://a%40x:b@h", {"EMAIL_PORT": 587, "EMAIL_USE_TLS": True, "EMAIL_HOST_USER": "a@x"}),
        ("smtp://h:2525", {"EMAIL_PORT": 2525, "EMAIL_USE_SSL": False, "DEFAULT_FROM_EMAIL": "parley@h"}),
        ("", {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}),
    ],
)  # fmt: skip
def test_mail_goes_where_the_address_says(url: str, expected: dict[str, Any]) -> None:
    assert expected.items() <= databases.mail(url).items()


# In production


def shown_settings(*names: str, **environ: str) -> dict[str, Any]:
    """The settings of a process of its own with these variables."""
    program = "import json; from chatproject import settings; "
    program += f"print(json.dumps({{name: getattr(settings, name) for name in {names!r}}}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=BASE_DIR,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=True,
    )
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_behind_https_no_cookie_travels_by_http() -> None:
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT")
    assert all(shown_settings(*names, CHAT_SECURE_COOKIES="true").values())
    assert not any(shown_settings(*names).values())


def test_allowed_origins_are_trusted_by_forms() -> None:
    shown = shown_settings("CSRF_TRUSTED_ORIGINS", CHAT_ALLOWED_ORIGINS="https://a.example.org,https://b.example.org")
    assert shown == {"CSRF_TRUSTED_ORIGINS": ["https://a.example.org", "https://b.example.org"]}


def test_with_redis_the_layer_waits_for_messages_without_end() -> None:
    layer = shown_settings("CHANNEL_LAYERS", REDIS_URL="redis://h:6379/0")["CHANNEL_LAYERS"]["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert layer["CONFIG"]["hosts"] == [{"address": "redis://h:6379/0", "socket_timeout": None}]


def test_the_longest_message_fits_through_a_form() -> None:
    shown = shown_settings("DATA_UPLOAD_MAX_MEMORY_SIZE", CHAT_MESSAGE_CHARACTERS="1000000")
    assert shown["DATA_UPLOAD_MAX_MEMORY_SIZE"] > 12_000_000


# Headers


@pytest.mark.django_db
def test_the_policy_of_a_page_lets_in_nothing_from_elsewhere(client: Client) -> None:
    policy = client.get(reverse("account_login")).headers["Content-Security-Policy"]
    directives = {words.split()[0]: words.split()[1:] for words in policy.split(";")}
    assert directives["default-src"] == ["'none'"]
    assert directives["require-trusted-types-for"] == ["'script'"]
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "https:"} & {
        word for words in directives.values() for word in words
    }


def test_the_admin_has_the_same_policy_without_trusted_types(admin_client: Client) -> None:
    policy = admin_client.get(reverse("admin:index")).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "trusted-types" not in policy


@pytest.mark.django_db
def test_a_static_file_is_served_and_asked_for_anew(client: Client) -> None:
    answer = client.get("/static/npm/morphdom/morphdom-esm.js")
    assert answer.status_code == 200
    assert "public" in answer.headers["Cache-Control"]
    assert "max-age=0" in answer.headers["Cache-Control"]


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["npm/morphdom/package.json", "npm/../../manage.py", "../config.yaml", "%2e%2e/.env"])
def test_nothing_beside_the_static_files_is_served(client: Client, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


# The address


@pytest.mark.parametrize(
    ("host", "address", "shown"),
    [
        ("127.0.0.1", "127.0.0.1:3000", "localhost"),
        ("0.0.0.0", "0.0.0.0:3000", "localhost"),
        ("::1", "[::1]:3000", "localhost"),
        ("192.168.1.5", "192.168.1.5:3000", "192.168.1.5"),
        ("fe80::1", "[fe80::1]:3000", "[fe80::1]"),
    ],
)
def test_runserver_takes_its_address_from_the_config(chat: Any, host: str, address: str, shown: str) -> None:
    chat(host=host, port=3000)
    assert runserver.configured_address() == address
    assert runserver.shown_host(host) == shown


def test_a_taken_port_is_told_with_another_one(chat: Any) -> None:
    port = free_port()
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(CommandError, match=f"PORT={port + 1} make run"),
    ):
        runserver.refuse_taken_port(f"127.0.0.1:{port}")
    runserver.refuse_taken_port(f"127.0.0.1:{port}")


def test_daphne_takes_larger_frames_than_we_do_so_that_ours_is_the_answer() -> None:
    assert settings.CHAT.frame_bytes < 1024 * 1024
