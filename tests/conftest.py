"""People, conversations, an upstream, and the product served in the loop of the test."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import httpx2
import pytest
import uvicorn
from channels.db import database_sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client, TransactionTestCase
from django.utils import translation
from pytest_django.fixtures import Settings
from servestatic.middleware import ServeStaticMiddleware

from conversations.models import Conversation, Membership, Role
from tests.processes import Kind, ServerProcess
from tests.tab import Tab
from tests.tables import empty_tables
from tests.upstream import Upstream

#: Bounds of time in which everything is tried at the size of a test.
FAST = {
    "connect_seconds": 2.0,
    "first_token_seconds": 5.0,
    "silence_seconds": 5.0,
    "retry_seconds": 0.05,
    "retry_max_seconds": 5.0,
    "running_per_user": 1000,
    "sockets_per_user": 1000,
    "frames_per_minute": 100_000,
    "drain_seconds": 0.2,
    # They are asked for by POSTs, which many tests count.
    "titles": False,
}

#: What a busy machine may be late, behind a second that is promised. What is not done at all is later than that.
SLACK_SECONDS = 3.0


@pytest.fixture(scope="session", autouse=True)
def quick_parts() -> Iterator[None]:
    """What each test would pay for, and none is about."""
    with pytest.MonkeyPatch.context() as patch:
        # What a test has committed goes the quick way.
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: empty_tables())
        # Each client of Django's has middleware of its own, which would look for all static files anew.
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", finding_once())
        yield


@pytest.fixture(autouse=True)
def language() -> Iterator[None]:
    """A request in another language leaves its thread in that language; the next test begins in that of the settings."""
    translation.deactivate()
    yield
    translation.deactivate()


def finding_once() -> Callable[[ServeStaticMiddleware], None]:
    found: list[ServeStaticMiddleware] = []
    find = ServeStaticMiddleware.add_files_from_finders

    def add_files(middleware: ServeStaticMiddleware) -> None:
        if not found:
            find(middleware)
            found.append(middleware)
        middleware.files, middleware.directories = found[0].files, found[0].directories

    return add_files


@pytest.fixture
def admin_user(db: None) -> User:
    """Signed in without a password: to hash one that nobody enters takes 0.3 s of a processor."""
    return User.objects.create_superuser("admin", "admin@example.org")


# People: alice owns, bob is invited, charlie is a stranger.


@pytest.fixture
def make_user(db: None) -> Callable[[str], User]:
    def make(name: str) -> User:
        user: User = get_user_model().objects.create_user(name, f"{name}@example.org")
        return user

    return make


@pytest.fixture
def alice(make_user: Callable[[str], User]) -> User:
    return make_user("alice")


@pytest.fixture
def bob(make_user: Callable[[str], User]) -> User:
    return make_user("bob")


@pytest.fixture
def charlie(make_user: Callable[[str], User]) -> User:
    return make_user("charlie")


def session_of(user: User) -> str:
    """Signs in, and returns the key of the session."""
    client = Client()
    client.force_login(user)
    return client.cookies[django_settings.SESSION_COOKIE_NAME].value


asession_of = database_sync_to_async(session_of)


@pytest.fixture
def conversation(alice: User) -> Conversation:
    """Owned by alice, and empty."""
    return Conversation.start(alice)


@pytest.fixture
def invite() -> Callable[[User, Conversation, str], Awaitable[None]]:
    async def invite(user: User, conversation: Conversation, role: str = Role.WRITER) -> None:
        await Membership.objects.acreate(user=user, conversation=conversation, role=role)

    return invite


# Settings


class Chat(Protocol):
    def __call__(self, **fields: Any) -> None: ...


@pytest.fixture
def chat(settings: Settings) -> Chat:
    """Sets fields of `settings.CHAT` for this test: `chat(silence_seconds=0.2)`."""

    def chat(**fields: Any) -> None:
        settings.CHAT = settings.CHAT.model_copy(update=fields)

    return chat


@contextlib.asynccontextmanager
async def providing(chat: Chat, **fields: Any) -> AsyncIterator[Upstream]:
    async with Upstream(key="sk-test-of-the-installation") as upstream:
        chat(base_url=upstream.base_url, app_key=upstream.key, models=("small", "large"), **{**FAST, **fields})
        yield upstream


@pytest.fixture
async def upstream(chat: Chat) -> AsyncIterator[Upstream]:
    """The provider of the installation."""
    async with providing(chat) as upstream:
        yield upstream


# The product, served


@dataclass
class LiveServer:
    """An address at which the product is served, here or in a process of its own."""

    url: str

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def client(self, user: User | None) -> httpx2.AsyncClient:
        """An HTTP client, signed in."""
        cookies = {}
        if user is not None:
            cookies[django_settings.SESSION_COOKIE_NAME] = await asession_of(user)
        # A connection is kept as long as the test takes, as a proxy would.
        limits = httpx2.Limits(keepalive_expiry=120)
        return httpx2.AsyncClient(base_url=self.url, cookies=cookies, trust_env=False, limits=limits)

    async def tab(self, user: User | None, conversation: Conversation | str, **options: Any) -> Tab:
        """A tab of somebody, not opened yet."""
        if user is not None:
            options.setdefault("cookie", f"{django_settings.SESSION_COOKIE_NAME}={await asession_of(user)}")
        pk = conversation.pk if isinstance(conversation, Conversation) else conversation
        options.setdefault("origin", self.url)
        return Tab(f"{self.socket_url}/ws/conversations/{pk}/", **options)


@contextlib.asynccontextmanager
async def csrf_client(server: LiveServer, user: User | None) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client with what a page has: the session and the CSRF token."""
    token = "t" * 32
    async with await server.client(user) as client:
        client.cookies["csrftoken"] = token
        client.headers.update({"X-CSRFToken": token, "Origin": server.url, "Referer": server.url})
        yield client


class InLoop(uvicorn.Server):
    """uvicorn in the loop of the test: it leaves the signals alone, and hears at once that it is to end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.asked_to_end = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.asked_to_end.wait()


async def until_ended(running: asyncio.Task[None]) -> None:
    """Wait for a server that was asked to end; one that does not tells what it waits for."""
    _, hanging = await asyncio.wait({running}, timeout=20)
    if hanging:
        for task in asyncio.all_tasks():
            task.print_stack()
        running.cancel()
        raise AssertionError("the server did not end; what it waits for stands above")


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[LiveServer]:
    from chatproject.asgi import application

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        application,
        http="httptools",
        ws_per_message_deflate=False,
        log_config=None,
        log_level="warning",
        access_log=False,
    )
    server = InLoop(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        yield LiveServer(f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.asked_to_end.set()
        await until_ended(running)
        # Threads that the ORM used keep their connections, and PostgreSQL its database, otherwise.
        await database_sync_to_async(connections.close_all)()


@pytest.fixture
async def server(transactional_db: None, upstream: Upstream) -> AsyncIterator[LiveServer]:
    """The product in the loop of the test, answering with `upstream`."""
    async with serving() as live_server:
        yield live_server


class OpenTab(Protocol):
    async def __call__(self, user: User | None, conversation: Conversation | str, **options: Any) -> Tab: ...


@contextlib.asynccontextmanager
async def opening_tabs(server: LiveServer) -> AsyncIterator[OpenTab]:
    tabs: list[Tab] = []

    async def open_tab(user: User | None, conversation: Conversation | str, **options: Any) -> Tab:
        tab = await server.tab(user, conversation, **options)
        tabs.append(tab)
        return await tab.open()

    yield open_tab
    for tab in tabs:
        await tab.close()
    assert [wrong for tab in tabs for wrong in tab.wrongs] == []


@pytest.fixture
async def open_tab(server: LiveServer) -> AsyncIterator[OpenTab]:
    """Opens a tab; at the end all of them are closed, and none may have been told anything wrong."""
    async with opening_tabs(server) as open_tab:
        yield open_tab


@pytest.fixture
async def alice_tab(open_tab: OpenTab, alice: User, conversation: Conversation) -> Tab:
    """Alice looks at her conversation, and sees it."""
    tab = await open_tab(alice, conversation)
    await tab.wait_for("conversation_snapshot")
    return tab


class StartProcess(Protocol):
    async def __call__(self, kind: Kind = "uvicorn", **env: str) -> ServerProcess: ...


@contextlib.asynccontextmanager
async def starting_processes(upstream: Upstream) -> AsyncIterator[StartProcess]:
    processes: list[ServerProcess] = []

    async def start_process(kind: Kind = "uvicorn", **env: str) -> ServerProcess:
        known = {
            "OPENAI_BASE_URL": upstream.base_url,
            "OPENAI_API_KEY": str(upstream.key),
            "CHAT_MODELS": "small,large",
            **{f"CHAT_{name.upper()}": str(value) for name, value in FAST.items()},
        }
        process = ServerProcess(kind, known | env, forked=True)
        processes.append(process)
        await process.astart()
        return process

    yield start_process
    for process in processes:
        process.remove()
    await database_sync_to_async(connections.close_all)()


@pytest.fixture
async def start_process(transactional_db: None, upstream: Upstream) -> AsyncIterator[StartProcess]:
    """Starts the product as a process of its own, on the database of the test: `await start_process("daphne")`."""
    async with starting_processes(upstream) as start_process:
        yield start_process
