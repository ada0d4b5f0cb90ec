"""The event stream: what it tells, how it goes on, how it ends, and who may not cost more than others."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import DatabaseError

from conversations.models import Conversation, Membership, Message
from streaming import event_stream, line, process, readings
from streaming.events import Close
from tests.conftest import Chat, LiveServer, StartProcess, asession_of, csrf_client
from tests.event_reader import EventReader
from tests.processes import ServerProcess
from tests.scripts import Hold, Reason, Script, Stall, many
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

Invite = Callable[..., Awaitable[None]]

#: A right that has gone is felt within this; the rest is for a busy machine.
SECOND = 1.0
SLACK = 2.0


def address(conversation: Conversation, door: str = "events") -> str:
    return f"/conversations/{conversation.pk}/{door}/"


@pytest.fixture
async def client(server: LiveServer, alice: User) -> AsyncIterator[httpx2.AsyncClient]:
    async with csrf_client(server, alice) as client:
        yield client


@pytest.fixture
def reader(client: httpx2.AsyncClient, conversation: Conversation) -> EventReader:
    return EventReader(client, address(conversation))


# What it is


async def test_it_tells_the_same_as_the_socket(reader: EventReader, alice_tab: Tab) -> None:
    async with reader.open() as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert (await reader.next())["type"] == "conversation_snapshot"
        asked = await alice_tab.ask("Hello")
        await reader.until("reply_ended", reply=asked.reply)
    assert reader.texts[asked.reply] == "You said: Hello"
    assert reader.wrongs == []


async def test_no_proxy_is_to_keep_change_or_gather_it(reader: EventReader) -> None:
    async with reader.open(**{"Accept-Encoding": "gzip, br"}) as response:
        await reader.next()
    assert response.headers["X-Accel-Buffering"] == "no"
    assert {"no-store", "no-transform"} <= set(response.headers["Cache-Control"].split(", "))
    assert "Content-Encoding" not in response.headers
    assert len(reader.comments[0]) >= 2000
    assert reader.retry is not None
    assert 1000 <= reader.retry <= 3000


async def test_a_quiet_stream_says_that_it_is_there(reader: EventReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.05)
    async with reader.open() as response:
        await reader.next()
        assert reader.lines is not None
        async for line in reader.lines:
            if line == ": still here":
                break
    assert response.status_code == 200


async def test_the_sidebar_has_a_stream_of_its_own(client: httpx2.AsyncClient, alice_tab: Tab) -> None:
    reader = EventReader(client, "/events/")
    async with reader.open():
        await alice_tab.command("rename_conversation", title="A title")
        event = await reader.until("sidebar_changed")
    assert event["conversation"]["title"] == "A title"
    assert {event["type"] for event in reader.events} == {"sidebar_changed"}
    assert reader.last_id == ""


# Going on


async def test_cut_at_any_event_it_loses_and_doubles_nothing(
    reader: EventReader, alice_tab: Tab, upstream: Upstream
) -> None:
    script = many(40, pace=0.01)
    upstream.answer(script)
    async with reader.open():
        await reader.next()
    asked = await alice_tab.ask("Talk")
    opened = 0
    while asked.reply not in reader.endings:
        async with reader.open():
            opened += 1
            # One more event each time, so that it is cut at every kind of them.
            for _ in range(opened % 3 + 1):
                if asked.reply not in reader.endings:
                    await reader.next()
    assert reader.texts[asked.reply] == script.text
    assert reader.wrongs == []
    assert opened > 3
    versions = [event["version"] for event in reader.events if "version" in event]
    assert versions == list(range(versions[0], versions[0] + len(versions)))
    # It went on by positions: no text was told from the beginning once some of it was held.
    assert sum(1 for event in reader.of_type("reply_snapshot") if event["text"]) <= 1


async def test_a_reply_that_ended_meanwhile_is_told_to_its_end_first(
    reader: EventReader, alice_tab: Tab, upstream: Upstream
) -> None:
    upstream.answer(Script([Reason("Hm. "), "One, ", Hold(), "two."]))
    async with reader.open():
        await reader.next()
        asked = await alice_tab.ask("Count")
        await reader.until("reply_delta", part="text")
    upstream.posts[0].go_on()
    await alice_tab.until_ended(asked.reply)
    seen = len(reader.events)
    async with reader.open():
        await reader.until("reply_ended")
    assert [event["type"] for event in reader.events[seen:]] == ["reply_delta", "reply_ended"]
    assert reader.texts[asked.reply] == "One, two."
    assert reader.wrongs == []


async def test_a_bare_version_brings_the_whole_text_before_the_end(
    reader: EventReader, alice_tab: Tab, upstream: Upstream
) -> None:
    upstream.answer(Script(["One, ", Hold(), "two."]))
    asked = await alice_tab.ask("Count")
    await alice_tab.until_said(asked.reply, 5)
    version = alice_tab.version
    upstream.posts[0].go_on()
    await alice_tab.until_ended(asked.reply)
    async with reader.open(f"?version={version}"):
        event = await reader.until("reply_delta")
        assert (event["start"], event["text"]) == (0, "One, two.")
        await reader.until("reply_ended")
    assert reader.wrongs == []


async def test_a_text_may_be_asked_for_again_from_any_position(reader: EventReader, alice_tab: Tab) -> None:
    asked = await alice_tab.ask("Hello")
    await alice_tab.until_ended(asked.reply)
    async with reader.open(f"?version={alice_tab.version},{asked.reply}.9.0"):
        event = await reader.until("reply_delta")
    assert (event["start"], event["text"]) == (9, " Hello")


async def test_a_running_reply_goes_on_from_the_position(
    reader: EventReader, alice_tab: Tab, upstream: Upstream
) -> None:
    upstream.answer(Script(["One, two, ", Stall()]))
    asked = await alice_tab.ask("Count")
    await alice_tab.until_said(asked.reply, 10)
    async with reader.open(f"?version={alice_tab.version},{asked.reply}.5.0"):
        event = await reader.until("reply_delta")
    assert (event["start"], event["text"]) == (5, "two, ")


async def test_positions_in_somebody_elses_conversation_show_nothing(
    client: httpx2.AsyncClient, alice: User, alice_tab: Tab
) -> None:
    asked = await alice_tab.ask("A secret")
    await alice_tab.until_ended(asked.reply)
    other = await database_sync_to_async(Conversation.start)(alice)
    reader = EventReader(client, address(other))
    async with reader.open(f"?version=0,{asked.reply}.0.0"):
        await database_sync_to_async(other.rename)(alice, "Other")
        await reader.until("conversation_changed")
    assert not reader.of_type("reply_delta")
    assert not reader.of_type("reply_snapshot")


@pytest.mark.parametrize("mark", ["x", "9999", "3,1", "7,99999999.5.5"])
async def test_a_mark_of_nobody_is_answered_by_a_snapshot(reader: EventReader, alice_tab: Tab, mark: str) -> None:
    await alice_tab.until_ended((await alice_tab.ask("Hello")).reply)
    reader.last_id = mark
    async with reader.open():
        assert (await reader.next())["type"] == "conversation_snapshot"


# Ends


async def alice_leaves(conversation: Conversation) -> None:
    await Session.objects.all().adelete()


async def alice_is_removed(conversation: Conversation) -> None:
    await (await Membership.objects.aget(user__username="alice")).adelete()


async def all_is_deleted(conversation: Conversation) -> None:
    owner = await User.objects.aget(username="alice")
    await database_sync_to_async(conversation.remove)(owner)


@pytest.mark.parametrize(
    ("happens", "code", "status"),
    [(alice_leaves, 4401, 401), (alice_is_removed, 4404, 404), (all_is_deleted, 4404, 404)],
)
async def test_who_may_not_stay_is_told_so_and_let_in_no_more(
    reader: EventReader,
    conversation: Conversation,
    happens: Callable[[Conversation], Awaitable[None]],
    code: int,
    status: int,
) -> None:
    async with reader.open():
        await reader.next()
        await happens(conversation)
        async with asyncio.timeout(SECOND + SLACK):
            last = (await reader.until_end())[-1]
    assert (last["type"], last["code"]) == ("bye", code)
    async with reader.open() as response:
        assert response.status_code == status


async def test_signing_out_ends_it(server: LiveServer, alice: User, conversation: Conversation) -> None:
    async with csrf_client(server, alice) as client:
        reader = EventReader(client, address(conversation))
        sidebar = EventReader(client, "/events/")
        async with reader.open(), sidebar.open():
            await reader.next()
            assert (await client.post("/accounts/logout/")).status_code == 302
            async with asyncio.timeout(SECOND + SLACK):
                ends = [(await stream.until_end())[-1]["code"] for stream in (reader, sidebar)]
    assert ends == [4401, 4401]


async def test_nothing_that_waited_is_told_to_who_was_removed(
    reader: EventReader, conversation: Conversation, alice_tab: Tab
) -> None:
    hub = process.start().hub
    async with reader.open():
        await reader.next()
        before = set(hub._all_readers())
    async with reader.open():
        while not (new := set(hub._all_readers()) - before):
            await asyncio.sleep(0.01)
        (mine,) = new
        mine.tell('{"type":"message_created"}')
        mine.close(Close.NOT_FOUND)
        told = await reader.until_end()
    assert "message_created" not in [event["type"] for event in told]
    assert told[-1]["code"] == 4404


async def test_a_server_that_stops_says_bye_and_then_503(
    start_process: StartProcess, alice: User, conversation: Conversation
) -> None:
    process = await start_process()
    async with await LiveServer(process.url).client(alice) as client:
        reader = EventReader(client, address(conversation))
        async with reader.open():
            await reader.next()
            process.terminate()
            last = (await reader.until_end())[-1]
        assert (last["type"], last["code"]) == ("bye", 1012)
        assert last["after_ms"] > 0
    await process.until_gone()


async def test_a_stopping_server_sends_readers_elsewhere(reader: EventReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.start(), "is_stopping", True)
    async with reader.open() as response:
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) >= 1


async def test_there_are_no_more_of_them_than_sockets(reader: EventReader, chat: Chat) -> None:
    chat(sockets_per_user=1)
    async with reader.open():
        await reader.next()
        async with reader.client.stream("GET", reader.url) as second:
            assert second.status_code == 429
            assert int(second.headers["Retry-After"]) >= 1


async def test_a_reader_who_left_takes_up_no_seat(reader: EventReader, alice: User) -> None:
    hub = process.start().hub
    async with reader.open():
        await reader.next()
        assert hub.readers_of(alice.pk) == 1
    async with asyncio.timeout(10):
        while hub.readers_of(alice.pk):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("door", ["events", "commands"])
async def test_a_database_that_is_away_is_told_as_such(
    client: httpx2.AsyncClient, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    def away(*args: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr("conversations.models.ConversationQuerySet.visible_to", away)
    url = address(conversation, door)
    response = await (client.get(url) if door == "events" else client.post(url, json={"type": "ping"}))
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json()["code"] == "unavailable"


async def test_a_database_that_goes_away_later_ends_it_with_bye(
    reader: EventReader, alice_tab: Tab, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.answer(Script([Hold(), "One"]))
    asked = await alice_tab.ask("Count")
    await alice_tab.wait_for("message_created", version=2)
    version = alice_tab.version
    await upstream.until(lambda: len(upstream.posts) > 0)
    upstream.posts[0].go_on()
    await alice_tab.until_ended(asked.reply)

    def away(*args: Any) -> None:
        raise DatabaseError("away")

    monkeypatch.setattr(readings, "load_window", away)
    async with reader.open(f"?version={version}") as response:
        *_, bye = await reader.until_end()
    assert response.status_code == 200
    assert (bye["type"], bye["code"]) == ("bye", 1013)
    assert bye["after_ms"] > 0


# Which protocol


@pytest.mark.parametrize(
    ("said", "status"), [("", 200), ("?protocol=1", 200), ("?protocol=2", 400), ("?protocol=", 200)]
)
async def test_a_page_of_another_protocol_is_sent_to_reload(
    reader: EventReader, conversation: Conversation, said: str, status: int
) -> None:
    async with reader.open(said) as response:
        assert response.status_code == status
        if status == 400:
            await response.aread()
            assert response.json()["code"] == "not_spoken"
    answer = await reader.client.post(address(conversation, "commands") + said, json={"type": "ping"})
    assert answer.status_code == status


# Commands by POST


async def test_a_ping_is_answered(client: httpx2.AsyncClient, conversation: Conversation) -> None:
    answer = await client.post(address(conversation, "commands"), json={"type": "ping", "ref": 7})
    assert answer.json() == {"type": "pong", "ref": 7}


async def test_a_refusal_says_what_it_answers(client: httpx2.AsyncClient, conversation: Conversation) -> None:
    command = {"type": "stop_reply", "reply": "999999", "ref": "r"}
    answer = await client.post(address(conversation, "commands"), json=command)
    assert (answer.status_code, answer.json()["ref"]) == (404, "r")


async def test_commands_have_a_pace(
    server: LiveServer, client: httpx2.AsyncClient, conversation: Conversation, bob: User, invite: Invite, chat: Chat
) -> None:
    chat(frames_per_minute=3)
    await invite(bob, conversation)
    url = address(conversation, "commands")
    statuses = [(await client.post(url, json={"type": "ping"})).status_code for _ in range(3)]
    refused = await client.post(url, json={"type": "send_message", "client_id": "c", "text": "Hello"})
    assert statuses == [200, 200, 200]
    assert refused.status_code == 429
    assert refused.json()["code"] == "too_fast"
    assert 1 <= refused.json()["retry_after"] == int(refused.headers["Retry-After"]) <= 20
    assert await Message.objects.acount() == 0
    async with csrf_client(server, bob) as bobs:
        assert (await bobs.post(url, json={"type": "ping"})).status_code == 200


# Who does not read


class Deaf:
    """Asks for an event stream and reads nothing."""

    def __init__(self, server: LiveServer, cookie: str, path: str) -> None:
        host, _, port = server.url.removeprefix("http://").partition(":")
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(20)
        self.socket.connect((host, int(port)))
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n"
        self.socket.sendall(request.encode())

    def close(self) -> None:
        self.socket.close()

    def until_cut(self) -> bool:
        """Reads what had been sent. Was it cut off, instead of ended?"""
        received = b""
        try:
            while data := self.socket.recv(65536):
                received = received[-10:] + data
        except ConnectionResetError:
            return True
        return not received.endswith(b"0\r\n\r\n")


OpenDeaf = Callable[..., Awaitable[Deaf]]


@pytest.fixture
async def open_deaf(server: LiveServer, alice: User) -> AsyncIterator[OpenDeaf]:
    opened: list[Deaf] = []

    async def open_deaf(conversation: Conversation, at: LiveServer = server, query: str = "") -> Deaf:
        cookie = f"parley_session={await asession_of(alice)}"
        opened.append(await asyncio.to_thread(Deaf, at, cookie, address(conversation) + query))
        return opened[-1]

    yield open_deaf
    for deaf in opened:
        deaf.close()


LONG = "long " * 200_000


@pytest.fixture
async def long_reply(alice_tab: Tab, upstream: Upstream, chat: Chat) -> str:
    """A reply that is longer than what a kernel keeps for a connection; nobody has been told of it."""
    chat(reply_characters=10_000_000)
    upstream.answer(Script([LONG] * 5))
    asked = await alice_tab.ask("Talk")
    await alice_tab.until_ended(asked.reply, seconds=60)
    return asked.reply


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


#: As much as uvicorn holds for a connection before it makes the application wait.
FULL = 65_536


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[line.UvicornLine]:
    """The lines under the answers of the server, in the order in which they were asked for."""
    known: list[line.UvicornLine] = []

    class Noted(line.UvicornLine):
        def __init__(self, transport: asyncio.Transport) -> None:
            super().__init__(transport)
            known.append(self)

    monkeypatch.setattr(line, "UvicornLine", Noted)
    return known


OpenStuck = Callable[[], Awaitable[Deaf]]


@pytest.fixture
async def open_stuck(
    conversation: Conversation, long_reply: str, open_deaf: OpenDeaf, lines: list[line.UvicornLine]
) -> OpenStuck:
    """Opens a reader that does not read, and waits until the server waits for it."""

    async def open_stuck() -> Deaf:
        deaf = await open_deaf(conversation, query="?version=0")
        await until(lambda: any(line.held > FULL for line in lines), seconds=60)
        return deaf

    return open_stuck


async def test_a_reader_that_does_not_read_is_cut_and_costs_little(
    alice: User, open_stuck: OpenStuck, lines: list[line.UvicornLine], chat: Chat
) -> None:
    chat(ack_seconds=1.0)
    hub = process.start().hub
    others = hub.readers_of(alice.pk)
    deaf = await open_stuck()
    assert max(line.held for line in lines) < 256 * 1024
    await until(lambda: hub.readers_of(alice.pk) == others)
    assert await asyncio.to_thread(deaf.until_cut)


async def test_a_reader_that_reads_slowly_is_not_cut(alice: User, open_stuck: OpenStuck, chat: Chat) -> None:
    chat(ack_seconds=1.0)
    hub = process.start().hub
    others = hub.readers_of(alice.pk)
    slow = await open_stuck()
    loop = asyncio.get_running_loop()
    started = loop.time()
    while loop.time() < started + 5:
        await asyncio.to_thread(slow.socket.recv, 4096)
        await asyncio.sleep(0.1)
    assert hub.readers_of(alice.pk) > others


async def test_who_may_not_stay_is_cut_also_when_it_does_not_read(alice: User, open_stuck: OpenStuck) -> None:
    await open_stuck()
    await Session.objects.all().adelete()
    await until(lambda: not process.start().hub.readers_of(alice.pk), seconds=SECOND + SLACK)


def memory_of(server: ServerProcess) -> int:
    """Bytes that a process has in memory."""
    assert server.process is not None
    with open(f"/proc/{server.process.pid}/statm") as pages:
        return int(pages.read().split()[1]) * 4096


MANY = 12
#: What a process has let go of is seen at once to be free.
FRUGAL = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@pytest.mark.quiet
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_readers_that_do_not_read_fill_no_memory(
    start_process: StartProcess,
    kind: Any,
    alice: User,
    conversation: Conversation,
    long_reply: str,
    open_deaf: OpenDeaf,
) -> None:
    running = await start_process(kind, **FRUGAL)
    there = LiveServer(running.url)
    query = "?version=0"

    async def read_all() -> None:
        """Whoever came before and is not waited for has been told all of it by then, too."""
        async with await there.client(alice) as client:
            reader = EventReader(client, address(conversation))
            async with reader.open(query):
                await reader.until("reply_ended", reply=long_reply)
        assert reader.wrongs == []

    await read_all()
    before = memory_of(running)
    for _ in range(MANY):
        await open_deaf(conversation, there, query)
    await read_all()

    def grown() -> float:
        return (memory_of(running) - before) / MANY

    # Each of them is owed 5 MB. What the database's threads take to read such a text is in the figure, too, while they do.
    with contextlib.suppress(TimeoutError):
        await until(lambda: grown() < 2_500_000)
    assert grown() < 2_500_000, f"{grown():.0f} bytes each"


async def test_daphne_is_waited_for_while_its_buffer_is_full() -> None:
    request = SimpleNamespace(producer=None, channel=object())
    request.registerProducer = lambda producer, streaming: setattr(request, "producer", producer)
    under = line.line_under(partial(asyncio.sleep, request))
    async with asyncio.timeout(5):
        await under.room()
    request.producer.pauseProducing()
    waiting = asyncio.ensure_future(under.room())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    request.producer.resumeProducing()
    async with asyncio.timeout(5):
        await waiting
