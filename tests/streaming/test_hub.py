"""The seat of a process: whom it helps, and what it holds on to."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from streaming import catching_up
from streaming.bell import Bell
from streaming.consumers import TabConsumer
from streaming.cursors import CatchUp, Reader, Window
from streaming.events import Close, Hint
from streaming.hub import Hub
from streaming.readings import Found, News, StoredPiece
from streaming.rooms import LONGEST_DELTA, Beginning, Entry, Have, LiveReply

PK = uuid4()


class Threads:
    """A database that answers when it is told to."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: Counter[str] = Counter()
        self.may_answer = asyncio.Event()

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        self.asked[work.__name__] += 1
        await self.may_answer.wait()
        answer = self.answers.get(work.__name__)
        if isinstance(answer, Exception):
            raise answer
        return answer


def snapshot(version: int, *begun: Beginning) -> Found:
    entry = Entry(version, f"the snapshot of {version}", begun=begun)
    return Found(version, CatchUp(version, [entry], {}, []), {})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def moments(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Tab:
    """A reader, and the frames it was sent."""

    def __init__(self, hub: Hub, pk: UUID = PK) -> None:
        self.woken = Bell()
        self.reader = Reader(self.woken.set, user_id=1, session_key="", max_unacked=10**6)
        hub.seat(self.reader, pk)
        self.frames: list[str] = []
        self.task = asyncio.create_task(self._listen(hub.frames(self.reader, self.woken)))

    async def _listen(self, frames: AsyncIterator[str]) -> None:
        async for frame in frames:
            self.frames.append(frame)

    async def close(self, hub: Hub) -> None:
        hub.unseat(self.reader)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
def threads() -> Threads:
    return Threads(load_catch_up=snapshot(9))


@pytest.fixture
def hub(threads: Threads) -> Hub:
    return Hub(mock.Mock(), threads)  # type: ignore[arg-type]


async def behind(hub: Hub) -> Tab:
    """A reader who stands behind what its room remembers."""
    tab = Tab(hub)
    tab.reader.receive_catch_up(CatchUp(3, [], {}, []))
    assert tab.reader.room is not None
    tab.reader.room.forget(9)
    tab.reader.wake()
    await moments()
    return tab


async def test_who_has_fallen_behind_is_given_one_snapshot_however_often_woken(hub: Hub, threads: Threads) -> None:
    tab = await behind(hub)
    for _ in range(20):
        tab.reader.wake()
        await moments()
    threads.may_answer.set()
    await moments(20)
    assert threads.asked["load_catch_up"] == 1
    assert tab.frames == ["the snapshot of 9"]
    assert tab.reader.room is not None
    tab.reader.room.remember(Entry(10, "the next change"))
    tab.reader.room.wake()
    await moments()
    assert tab.frames[-1] == "the next change"
    await tab.close(hub)


async def test_help_that_fails_is_given_again(hub: Hub, threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "REST_SECONDS", 0.01)
    threads.answers["load_catch_up"] = OSError("the database is away")
    threads.may_answer.set()
    tab = await behind(hub)
    assert tab.frames == []
    threads.answers["load_catch_up"] = snapshot(9)
    await until(lambda: tab.frames)
    assert tab.frames == ["the snapshot of 9"]
    await tab.close(hub)


async def test_who_may_not_see_it_any_more_is_closed(hub: Hub, threads: Threads) -> None:
    threads.answers["load_catch_up"] = None
    threads.may_answer.set()
    tab = await behind(hub)
    await until(tab.task.done)
    assert tab.reader.close_code == Close.NOT_FOUND
    await tab.close(hub)


async def test_however_often_a_snapshot_is_asked_for_one_is_read_at_a_time(hub: Hub, threads: Threads) -> None:
    tab = Tab(hub)
    for _ in range(100):
        tab.reader.ask()
        await moments()
    threads.may_answer.set()
    await moments(20)
    assert threads.asked["load_catch_up"] == 2
    assert tab.frames == ["the snapshot of 9"] * 2
    await tab.close(hub)


async def test_those_who_read_the_same_long_text_share_what_is_read_of_it(hub: Hub, threads: Threads) -> None:
    text = "a" * 2 * LONGEST_DELTA
    begun = Beginning(7, {"text": 100, "reasoning": 0}, {"text": len(text), "reasoning": 0})
    threads.answers["load_catch_up"] = snapshot(9, begun)
    threads.answers["load_window"] = "a" * LONGEST_DELTA
    threads.may_answer.set()
    tabs = [Tab(hub) for _ in range(5)]
    for tab in tabs:
        tab.reader.ask()
        await until(lambda tab=tab: len(tab.frames) == 3)  # type: ignore[misc]
    assert threads.asked["load_window"] == 2
    for tab in tabs:
        said = [json.loads(frame) for frame in tab.frames[1:]]
        assert [(delta["start"], delta["end"]) for delta in said] == [(100, LONGEST_DELTA), (LONGEST_DELTA, len(text))]
        await tab.close(hub)


async def test_windows_that_are_kept_are_few(hub: Hub, threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catching_up, "MOST_WINDOWS", 3)
    threads.answers["load_window"] = "a" * LONGEST_DELTA
    threads.may_answer.set()
    for number in range(10):
        await hub._catching_up._window(Window(7, "text", number * LONGEST_DELTA))
    assert len(hub._catching_up._windows) == 3


async def test_a_room_that_skips_lets_go_of_the_replies_that_have_ended_meanwhile(hub: Hub, threads: Threads) -> None:
    tab = Tab(hub)
    room = tab.reader.room
    assert room is not None
    room.replies = {pk: LiveReply.mirror(pk, "said") for pk in (1, 2)}
    threads.answers["load_news"] = News(300, None, {}, {2: {}})
    threads.may_answer.set()
    hub.receive_hint({"type": Hint.VERSION, "conversation": str(PK), "version": 300})
    await moments(20)
    assert (room.version, list(room.replies)) == (300, [2])
    await tab.close(hub)


async def test_a_hint_for_a_room_that_was_left_leaves_nothing_behind(hub: Hub, threads: Threads) -> None:
    tab = Tab(hub)
    hub.conversation_changed(str(PK), 1)
    await tab.close(hub)
    await moments()
    assert not hub._catching_up._loads
    assert not threads.asked["load_news"]


# What was committed here


def news(*versions: int, ended: int | None = None) -> News:
    ends: Have = {} if ended is None else {"text": 3, "reasoning": 0}
    entries = [Entry(version, f"change {version}", reply=ended, ends=ends) for version in versions]
    return News(versions[-1], entries, {} if ended is None else {ended: {"text": "all", "reasoning": ""}}, {})


async def up_to_date(hub: Hub, version: int) -> Tab:
    tab = Tab(hub)
    assert tab.reader.room is not None
    tab.reader.room.forget(version)
    tab.reader.receive_catch_up(CatchUp(version, [], {}, []))
    tab.reader.told = version
    await moments()
    return tab


async def test_what_was_committed_here_is_told_without_reading_it(hub: Hub, threads: Threads) -> None:
    tab = await up_to_date(hub, 3)
    hub.conversation_changed(str(PK), 5, news(4, 5))
    await moments()
    assert tab.frames == ["change 4", "change 5"]
    assert not threads.asked["load_news"]
    await tab.close(hub)


async def test_who_saw_an_empty_conversation_is_told_what_comes_one_by_one(hub: Hub, threads: Threads) -> None:
    """Also where somebody else comes who is told the newest at once."""
    tab = Tab(hub)
    threads.answers["load_catch_up"] = snapshot(0)
    threads.may_answer.set()
    tab.reader.ask()
    await moments(20)
    threads.answers["load_catch_up"] = snapshot(2)
    late = Tab(hub)
    late.reader.ask()
    threads.answers["load_news"] = news(1, 2)
    await moments(20)
    hub.conversation_changed(str(PK), 2, news(1, 2))
    await moments(20)
    assert tab.frames == ["the snapshot of 0", "change 1", "change 2"]
    assert late.frames == ["the snapshot of 2"]
    for each in (tab, late):
        await each.close(hub)


async def test_what_does_not_follow_on_what_was_told_is_read(hub: Hub, threads: Threads) -> None:
    """Two commands were committed by two threads, and the second told of it first."""
    tab = await up_to_date(hub, 3)
    threads.answers["load_news"] = news(4, 5)
    threads.may_answer.set()
    hub.conversation_changed(str(PK), 5, news(5))
    await moments(20)
    assert (tab.frames, threads.asked["load_news"]) == (["change 4", "change 5"], 1)
    hub.conversation_changed(str(PK), 4, news(4))
    await moments(20)
    assert (tab.frames, threads.asked["load_news"]) == (["change 4", "change 5"], 1)
    await tab.close(hub)


async def test_what_is_read_and_older_than_what_was_told_brings_no_reply_back_to_life(
    hub: Hub, threads: Threads
) -> None:
    tab = await up_to_date(hub, 3)
    threads.answers["load_news"] = News(4, news(4).entries, {}, {7: {"text": "al", "reasoning": ""}})
    hub.receive_hint({"type": Hint.VERSION, "conversation": str(PK), "version": 4})
    await moments()
    hub.conversation_changed(str(PK), 4, news(4))
    hub.conversation_changed(str(PK), 5, news(5, ended=7))
    threads.may_answer.set()
    await moments(20)
    room = tab.reader.room
    assert room is not None
    assert (room.version, room.replies) == (5, {})
    assert [frame for frame in tab.frames if "change" in frame] == ["change 4", "change 5"]
    await tab.close(hub)


# The safety net


def a_mirror(hub: Hub, reply: int) -> Tab:
    tab = Tab(hub, uuid4())
    tab.reader.receive_catch_up(CatchUp(0, [], {}, []))
    assert tab.reader.room is not None
    tab.reader.room.replies[reply] = LiveReply.mirror(reply, "Hello")
    return tab


async def test_the_safety_net_asks_once_for_all_that_is_watched(hub: Hub, threads: Threads) -> None:
    tabs = [a_mirror(hub, reply) for reply in range(1, 31)]
    threads.answers["load_newest"] = ({}, [StoredPiece(reply, "text", 5, f", {reply}") for reply in range(1, 31)])
    threads.may_answer.set()
    await hub.catch_up()
    await moments(20)
    assert dict(threads.asked) == {"load_newest": 1}
    for reply, tab in enumerate(tabs, 1):
        assert "".join(json.loads(frame)["text"] for frame in tab.frames) == f"Hello, {reply}"
        await tab.close(hub)


async def test_the_safety_net_costs_nothing_where_nobody_looks(hub: Hub, threads: Threads) -> None:
    await hub.catch_up()
    assert not threads.asked


async def test_many_hints_with_a_gap_are_one_question(hub: Hub, threads: Threads) -> None:
    tab = a_mirror(hub, 7)
    assert tab.reader.room is not None
    threads.answers["load_pieces"] = [StoredPiece(7, "text", 5, ", world")]
    for start in range(20, 40):
        hint = {"type": Hint.GAIN, "reply": 7, "part": "text", "start": start, "text": "a"}
        hub.receive_hint(hint | {"conversation": tab.reader.room.pk})
        await moments()
    threads.may_answer.set()
    await moments(20)
    assert threads.asked["load_pieces"] == 1
    assert "".join(json.loads(frame)["text"] for frame in tab.frames) == "Hello, world"
    await tab.close(hub)


@pytest.mark.parametrize("error", [ClientDisconnected, ConnectionResetError, RuntimeError("after websocket.close")])
async def test_a_socket_that_is_gone_is_no_error(hub: Hub, error: Exception) -> None:
    """Nobody asks the task that sends how it ended, so what it raised would fill the log."""
    consumer = TabConsumer()
    consumer.hub, consumer.woken = hub, Bell()
    consumer.reader = Reader(consumer.woken.set, user_id=1, session_key="", max_unacked=10**6)
    consumer.reader.tell("a frame")
    with mock.patch.object(consumer, "send", side_effect=error) as send:
        await consumer.send_frames()
    send.assert_awaited_once()
