"""Tabs on processes of their own, and a PostgreSQL that may be harmed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import psycopg
import pytest
from asgiref.sync import SyncToAsync
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, connections

from conversations.models import Conversation
from tests.conftest import LiveServer
from tests.processes import ServerProcess
from tests.services import PostgresServer
from tests.tab import Tab


class TabOn(Protocol):
    async def __call__(self, process: ServerProcess, user: User, conversation: Conversation, **options: Any) -> Tab: ...


@pytest.fixture
async def tab_on() -> AsyncIterator[TabOn]:
    """Opens a tab at a process; at the end none may have been told anything wrong."""
    tabs: list[Tab] = []

    async def tab_on(process: ServerProcess, user: User, conversation: Conversation, **options: Any) -> Tab:
        tab = await LiveServer(process.url).tab(user, conversation, **options)
        tabs.append(tab)
        await tab.open()
        await tab.wait_for("conversation_snapshot")
        return tab

    yield tab_on
    for tab in tabs:
        with contextlib.suppress(OSError):
            await tab.close()
    assert [wrong for tab in tabs for wrong in tab.wrongs] == []


@pytest.fixture(scope="session")
def harmed_postgres() -> Iterator[PostgresServer]:
    """One for the tests that stop, kill and pause it; all others go on with theirs."""
    with PostgresServer() as server:
        with psycopg.connect(server.database_url("postgres"), autocommit=True) as client:
            client.execute("CREATE DATABASE parley")
        yield server


@pytest.fixture
def postgres(transactional_db: None, harmed_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The database of this test, which may be harmed. People and conversations are made after it."""
    if harmed_postgres.process is None:
        harmed_postgres.start()
    with moved_to(harmed_postgres):
        call_command("migrate", verbosity=0)
        yield harmed_postgres
        harmed_postgres.remove_harm()
        forget_connections()
        call_command("flush", interactive=False, verbosity=0)


@contextlib.contextmanager
def moved_to(server: PostgresServer) -> Iterator[None]:
    settings = connections.settings["default"]
    here = {name: settings[name] for name in ("NAME", "HOST", "PORT", "USER")}
    forget_connections()
    settings |= {"NAME": "parley", "HOST": "127.0.0.1", "PORT": str(server.port), "USER": "parley"}
    try:
        yield
    finally:
        forget_connections()
        settings |= here


def forget_connections() -> None:
    """Of this thread, and of the one on which async code has its queries done."""
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
    connections.close_all()
    connection.close_pool()  # type: ignore[attr-defined]
