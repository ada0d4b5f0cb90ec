"""What a reader may cost: bounded frames, one snapshot at a time, 256 KiB on the way, whoever reads or does not."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Literal

import psutil
import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from pytest_django import DjangoAssertNumQueries

from conversations.models import Change, Conversation, Message, Piece, record_change
from streaming import events, process, readings
from streaming.cursors import LARGEST_CATCH_UP, Reader, Wanted, size_of
from streaming.rooms import LONGEST_DELTA, Have
from tests.conftest import Chat, LiveServer, OpenTab, StartProcess, asession_of
from tests.processes import ServerProcess
from tests.scripts import Hold, Reason, Script
from tests.slow_reader import SlowTab, on_the_way
from tests.tab import Tab
from tests.upstream import Upstream

BOUND = 256 * 1024
#: A frame that tells of one message, or leads on in a text.
LARGEST_EVENT = 72 * 1024
#: Texts as they come: of one, two, three, four bytes, and of six as JSON.
KINDS = {
    "latin": "The quick brown fox. ",
    "greek": "αβγ ",
    "chinese": "你好，世界",
    "astral": "😀𠮷",
    "controls": "\x01\x02",
}

every_kind = pytest.mark.parametrize("kind", KINDS)


def long_text(kind: str, length: int) -> str:
    """Different everywhere, so that a piece in the wrong place is seen."""
    some = KINDS[kind]
    parts = (f"{number}{some * 40}" for number in range(length // (40 * len(some)) + 1))
    return "".join(parts)[:length]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# What is read for a reader, in frames


@pytest.fixture
def full(conversation: Conversation, alice: User) -> Conversation:
    """A conversation of long messages, in which many replies run."""
    parent = None
    for number in range(30):
        text = long_text(list(KINDS)[number % len(KINDS)], 60_000)
        parent = Message.objects.create(
            conversation=conversation,
            parent=parent,
            role=[Message.Role.USER, Message.Role.ASSISTANT][number % 2],
            author=alice,
            text=text,
            reasoning=text if number % 2 else "",
            status="done",
        )
        record_change(conversation.pk, Change.Kind.MESSAGE_CREATED, message_id=parent.pk, head_id=parent.pk)
        if number % 2:
            record_change(conversation.pk, Change.Kind.REPLY_ENDED, message_id=parent.pk)
    for _ in range(20):
        reply = Message.objects.create(conversation=conversation, parent=parent, role="assistant", status="streaming")
        for part in ("text", "reasoning"):
            Piece.objects.create(reply=reply, part=part, start=0, text=long_text("controls", 40_000))
    conversation.refresh_from_db()
    return conversation


def catch_up(conversation: Conversation, user: User, **wanted: Any) -> readings.Found:
    found = readings.load_catch_up(str(conversation.pk), user.pk, Wanted(True, **wanted), ())
    assert found is not None
    return found


@pytest.mark.parametrize("back", [None, 0, 1, 3, 10, 45])
def test_what_is_read_for_a_reader_at_once_is_bounded(full: Conversation, alice: User, back: int | None) -> None:
    version = None if back is None else full.version - back
    found = catch_up(full, alice, version=version)
    frames = [entry.frame for entry in found.catch_up.entries]
    assert sum(map(size_of, frames)) <= LARGEST_CATCH_UP
    assert found.catch_up.version == full.version
    assert len(found.mirrors) == 20
    if back is None:
        (snapshot,) = map(json.loads, frames)
        assert len(snapshot["replies"]) == 20
        assert snapshot["more"]


def test_many_changes_are_told_by_a_snapshot_where_that_is_less(full: Conversation, alice: User) -> None:
    few, many = (catch_up(full, alice, version=full.version - back).catch_up.entries for back in (1, 45))
    assert [json.loads(entry.frame)["type"] for entry in few] == ["reply_ended", *["reply_snapshot"] * 20]
    assert [json.loads(entry.frame)["type"] for entry in many] == ["conversation_snapshot"]


def test_a_message_that_is_cut_says_how_long_it_is(full: Conversation, alice: User) -> None:
    (entry,) = catch_up(full, alice).catch_up.entries
    message = json.loads(entry.frame)["messages"][-1]
    assert (message["length"], message["reasoning_length"]) == (60_000, 60_000)
    assert 0 < message["text_end"] == len(message["text"]) < 60_000
    whole = Message.objects.get(pk=message["id"]).text
    assert whole.startswith(message["text"])
    begun = {beginning.pk: beginning for beginning in entry.begun}[int(message["id"])]
    assert begun.have == {"text": message["text_end"], "reasoning": message["reasoning_end"]}
    assert begun.ends == {"text": 60_000, "reasoning": 60_000}


def test_a_short_message_is_told_whole_and_without_more_fields(conversation: Conversation, alice: User) -> None:
    conversation.post(alice, "Hello", "c1")
    for version in (None, 0):
        for entry in catch_up(conversation, alice, version=version).catch_up.entries:
            assert entry.begun == ()
            assert "reasoning_length" not in entry.frame


def test_the_news_of_a_room_are_bounded_frames(full: Conversation) -> None:
    news = readings.load_news(str(full.pk), 0, ())
    assert news is not None
    assert news.entries is not None
    assert max(size_of(entry.frame) for entry in news.entries) <= LARGEST_EVENT
    assert len(news.entries) == full.version


@every_kind
def test_the_windows_of_a_text_are_the_text(kind: str, conversation: Conversation) -> None:
    text = long_text(kind, 4 * LONGEST_DELTA + 7)
    message = Message.objects.create(conversation=conversation, role="assistant", status="done", text=text)
    windows = [
        readings.load_window(message.pk, "text", start, LONGEST_DELTA) for start in range(0, 99_000, LONGEST_DELTA)
    ]
    assert "".join(windows) == text
    assert readings.load_window(message.pk, "reasoning", 0, 100) == ""
    assert readings.load_window(message.pk + 1, "text", 0, 100) == ""


def test_a_reader_is_told_nothing_of_a_reply_of_another_conversation(
    conversation: Conversation, alice: User, bob: User
) -> None:
    foreign = Conversation.start(bob)
    ended = Message.objects.create(conversation=foreign, role="assistant", status="done", text="secret")
    running = Message.objects.create(conversation=foreign, role="assistant", status="streaming")
    asked: dict[int, Have] = {pk: {"text": 0, "reasoning": 0} for pk in (ended.pk, running.pk)}
    found = readings.load_catch_up(str(conversation.pk), alice.pk, Wanted(replies=asked), ())
    assert found is not None
    assert found.catch_up == (None, [], {}, [])


# The safety net


def test_the_safety_net_looks_at_thirty_mirrors_in_two_queries(
    conversation: Conversation, alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    ends: dict[int, Have] = {}
    for number in range(30):
        reply = Message.objects.create(conversation=conversation, role="assistant", status="streaming")
        for start, text in ((0, "Hello"), (5, ", "), (7, str(number))):
            Piece.objects.create(reply=reply, part="text", start=start, text=text)
        Piece.objects.create(reply=reply, part="reasoning", start=0, text="Hm")
        ends[reply.pk] = {"text": 5, "reasoning": 2 * (number % 2)}
    with django_assert_num_queries(2):
        versions, pieces = readings.load_newest([str(conversation.pk)], ends)
    assert versions == {str(conversation.pk): 0}
    for number, (pk, have) in enumerate(ends.items()):
        found = {(piece.part, piece.start, piece.text) for piece in pieces if piece.reply == pk}
        thoughts = set() if have["reasoning"] else {("reasoning", 0, "Hm")}
        assert found == {("text", 5, ", "), ("text", 7, str(number))} | thoughts


def test_more_mirrors_than_a_statement_can_name_are_looked_at(
    conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "ROWS_PER_SELECT", 3)
    reply = Message.objects.create(conversation=conversation, role="assistant", status="streaming")
    Piece.objects.create(reply=reply, part="text", start=0, text="Hello")
    ends: dict[int, Have] = {pk: {"text": 0, "reasoning": 0} for pk in range(reply.pk - 5, reply.pk + 5)}
    assert readings.load_pieces(ends) == [(reply.pk, "text", 0, "Hello")]
    assert readings.load_pieces({}) == []


async def cookie_of(user: User) -> str:
    return f"{settings.SESSION_COOKIE_NAME}={await asession_of(user)}"


# Long texts, on sockets


def largest(tab: Tab) -> int:
    return max(event.size for event in tab.events)


@every_kind
async def test_a_long_question_reaches_everybody_whole_in_small_frames(
    kind: str, open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream, server: LiveServer
) -> None:
    upstream.answer(Script(["Yes."]))
    tabs = [await open_tab(alice, conversation) for _ in range(2)]
    text = long_text(kind, 200_000 if kind != "controls" else 40_000).replace("\x00", "")
    await database_sync_to_async(conversation.post)(alice, text, "c1")
    await tabs[0].until(lambda: tabs[0].endings)
    tabs.append(await open_tab(alice, conversation))
    for tab in tabs:
        await tab.wait_for("conversation_snapshot")
        await tab.until(lambda tab=tab: not tab.messages or text in tab.texts.values())  # type: ignore[misc]
        assert largest(tab) <= LARGEST_EVENT if tab is not tabs[-1] else LARGEST_CATCH_UP


async def test_a_long_reply_reaches_who_comes_late_and_who_comes_back_whole(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    text, thoughts = long_text("chinese", 700_000), long_text("latin", 300_000)
    size = 5000
    steps: list[Any] = [Reason(thoughts[start : start + size]) for start in range(0, len(thoughts), size)]
    steps += [text[start : start + size] for start in range(0, len(text), size)]
    steps.insert(len(steps) // 2, Hold())
    upstream.answer(Script(steps))
    first = await open_tab(alice, conversation)
    asked = await first.ask("Write a book")
    await first.until_said(asked.reply, 200_000)
    amid = await open_tab(alice, conversation)
    await amid.until_said(asked.reply, 100_000)
    await amid.close()
    upstream.posts[0].go_on()
    await first.until_ended(asked.reply, 60)
    late = await open_tab(alice, conversation)
    await amid.resume()
    await late.until(lambda: late.texts.get(asked.reply) == text and late.reasonings[asked.reply] == thoughts, 60)
    await amid.until_ended(asked.reply, 60)
    for tab in (first, amid, late):
        assert digest(tab.texts[asked.reply]) == digest(text)
        assert tab.reasonings[asked.reply] == thoughts
        assert largest(tab) <= LARGEST_CATCH_UP
    # It was told on from where it stood, not anew.
    told = sum(len(event["text"]) for event in amid.of_type("reply_delta"))
    assert told < 1.2 * (len(text) + len(thoughts))


# Readers who take nothing in


def readers() -> list[Reader]:
    here = process.current()
    assert here is not None
    return here.hub._all_readers()


async def sampled(seconds: float) -> int:
    """The most that any reader of this process has cost for a while."""
    loop, most = asyncio.get_running_loop(), 0
    end = loop.time() + seconds
    while loop.time() < end:
        most = max([most, *(reader.size for reader in readers())])
        await asyncio.sleep(0.002)
    return most


@pytest.fixture
def few_acks(chat: Chat) -> None:
    chat(ack_seconds=3600.0)


async def test_a_reader_who_asks_for_snapshots_and_takes_none_in_costs_no_more(
    open_tab: OpenTab, alice: User, conversation: Conversation, few_acks: None
) -> None:
    for _ in range(3):
        await database_sync_to_async(Message.objects.create)(
            conversation=conversation, role="user", author=alice, status="done", text=long_text("chinese", 30_000)
        )
    newest = await Message.objects.alatest("pk")
    await Conversation.objects.filter(pk=conversation.pk).aupdate(head=newest)
    tab = await open_tab(alice, conversation, acks=False)
    sampling = asyncio.create_task(sampled(2.0))
    for _ in range(300):
        await tab.send("sync")
        await tab.send("sync", version=0, replies={str(newest.pk): {"text": 0, "reasoning": 0}})
    most = await sampling
    assert 0 < most <= BOUND
    assert 1 <= len(tab.of_type("conversation_snapshot")) < 10
    # And who takes them in after all is told one more, not six hundred.
    before, tab.acks = len(tab.of_type("conversation_snapshot")), True
    await tab.send("sync")
    await tab.until(lambda: len(tab.of_type("conversation_snapshot")) > before)
    await tab.command("ping")
    assert len(tab.of_type("conversation_snapshot")) <= before + 4


async def test_a_reader_of_the_sidebar_who_takes_nothing_in_is_closed(
    server: LiveServer, alice: User, chat: Chat
) -> None:
    chat(ack_seconds=0.5, buffer_bytes=20_000, title_characters=200)
    cookie = await cookie_of(alice)
    async with Tab(f"{server.socket_url}/ws/me/", cookie=cookie, origin=server.url, acks=False) as tab:
        hub = process.start().hub
        while not readers():
            await asyncio.sleep(0.01)
        for number in range(1000):
            hub._tell_user(
                alice.pk, f"conversation-{number % 7}", events.encode({"type": "sidebar_changed", "n": number})
            )
            assert readers()[0].size <= 20_000
            if number % 10 == 0:
                await asyncio.sleep(0)
        assert await tab.until_closed() == 4408
        told = [event["n"] for event in tab.of_type("sidebar_changed")]
        assert 100 < len(told) < 1000


async def test_a_reader_of_the_sidebar_is_told_the_newest_of_each_conversation_when_it_goes_on(
    server: LiveServer, alice: User, chat: Chat
) -> None:
    chat(ack_seconds=3600.0, buffer_bytes=20_000)
    cookie = await cookie_of(alice)
    async with Tab(f"{server.socket_url}/ws/me/", cookie=cookie, origin=server.url, acks=False) as tab:
        while not readers():
            await asyncio.sleep(0.01)
        hub = process.start().hub
        for number in range(3000):
            hub._tell_user(
                alice.pk, f"conversation-{number % 7}", events.encode({"type": "sidebar_changed", "n": number})
            )
            await asyncio.sleep(0)
        assert len(tab.of_type("sidebar_changed")) < 3000
        tab.acks = True
        await tab.until(lambda: set(range(2993, 3000)) <= {event["n"] for event in tab.of_type("sidebar_changed")})


# Real processes, thin lines

KILOBYTE = 1000.0
#: As long as a busy machine may take, in seconds.
LONG = 120.0
#: Twenty would be lost in the noise of an allocator.
SLOW, FAST = 60, 3


OpenSlowly = Callable[..., Awaitable[SlowTab]]


@pytest.fixture
async def open_slowly() -> AsyncIterator[OpenSlowly]:
    tabs: list[SlowTab] = []

    async def open_slowly(
        server: LiveServer, conversation: Conversation, cookie: str, rate: float, **options: Any
    ) -> SlowTab:
        url = f"{server.socket_url}/ws/conversations/{conversation.pk}/"
        tabs.append(SlowTab(url, rate=rate, cookie=cookie, origin=server.url, **options))
        return await tabs[-1].open_slowly()

    yield open_slowly
    for tab in tabs:
        await tab.close()


def book(letter: str) -> Script:
    """2 MB of reply."""
    return Script([f"{number:05d}{letter}{number * 7919:03994d}" for number in range(500)], pace=0.002)


class Cost:
    """What a server process takes while something runs: memory of its own, and of the kernel for each connection."""

    def __init__(self, server: ServerProcess) -> None:
        assert server.process is not None
        self.process = psutil.Process(server.process.pid)
        self.port = server.port
        self.resident = 0
        self.on_the_way = 0

    async def while_running(self, *tasks: asyncio.Task[Any]) -> None:
        while not all(task.done() for task in tasks):
            self.resident = max(self.resident, self.process.memory_info().rss)
            self.on_the_way = max([self.on_the_way, *on_the_way(self.port)])
            await asyncio.sleep(0.05)
        await asyncio.gather(*tasks)


async def told_to_the_end(server: ServerProcess, tabs: list[Tab]) -> tuple[str, Cost]:
    cost = Cost(server)
    asked = await tabs[0].ask("Write a book")
    await cost.while_running(*(asyncio.create_task(tab.until_ended(asked.reply, LONG)) for tab in tabs))
    return asked.reply, cost


@pytest.mark.quiet
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["uvicorn", "daphne"])
async def test_sixty_readers_of_a_kilobyte_a_second_cost_little_and_end_with_the_whole_text(
    kind: Literal["uvicorn", "daphne"],
    start_process: StartProcess,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
    open_slowly: OpenSlowly,
) -> None:
    upstream.answer(book("a"), book("b"), book("c"))
    server = await start_process(kind, MALLOC_ARENA_MAX="2", CHAT_ACK_SECONDS="15")
    live = LiveServer(server.url)
    cookie = await cookie_of(alice)

    # Sixty idle sockets, three that read: what the process needs without slow readers.
    idle = [await (await live.tab(alice, conversation, cookie=cookie)).open() for _ in range(SLOW)]
    without = 0
    for _ in range(2):
        other = await database_sync_to_async(Conversation.start)(alice)
        fast = [await (await live.tab(alice, other, cookie=cookie)).open() for _ in range(FAST)]
        _, cost = await told_to_the_end(server, fast)
        without = max(without, cost.resident)
        for tab in fast:
            await tab.close()
    for tab in idle:
        await tab.close()

    slow = [await open_slowly(live, conversation, cookie, KILOBYTE, acks=False) for _ in range(SLOW)]
    fast = [await (await live.tab(alice, conversation, cookie=cookie)).open() for _ in range(FAST)]
    reply, cost = await told_to_the_end(server, fast)
    text = book("c").text
    assert {digest(tab.texts[reply]) for tab in fast} == {digest(text)}
    assert all(len(tab.texts.get(reply, "")) < len(text) / 2 for tab in slow), "nobody was slow"
    assert cost.on_the_way > BOUND / 2, "nothing waited for anybody"
    assert cost.on_the_way <= BOUND
    assert (cost.resident - without) / SLOW < BOUND

    for tab in slow:
        tab.hurry()
    assert {await tab.until_closed(LONG) for tab in slow} == {4408}
    assert all(tab.line is not None and tab.line.taken <= BOUND for tab in slow)
    back = slow[:20]
    for tab in back:
        tab.acks = True
    await asyncio.gather(*(tab.resume() for tab in back))
    await asyncio.gather(*(until_told(tab, reply, text) for tab in back))
    for tab in [*slow, *fast]:
        await tab.close()
        assert tab.wrongs == []


async def until_told(tab: Tab, reply: str, text: str) -> None:
    await tab.until(lambda: tab.texts.get(reply) == text, LONG)


@pytest.mark.quiet
async def test_who_is_slow_and_acknowledges_is_not_closed(
    open_tab: OpenTab,
    open_slowly: OpenSlowly,
    server: LiveServer,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
    chat: Chat,
) -> None:
    """Thirty kilobytes a second where one second is allowed: as one a second where thirty are."""
    chat(ack_seconds=3.0)
    upstream.answer(Script([f"{number:05d}" + "x" * 995 for number in range(700)]))
    slow = await open_slowly(server, conversation, await cookie_of(alice), 30 * KILOBYTE)
    quick = await open_tab(alice, conversation)
    asked = await quick.ask("Write a book")
    await quick.until_ended(asked.reply)
    assert len(slow.texts.get(asked.reply, "")) < 350_000
    await slow.until_ended(asked.reply, 60)
    assert slow.close_code is None
    assert slow.wrongs == []
