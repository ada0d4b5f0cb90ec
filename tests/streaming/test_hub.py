"""The seat of a process: whom it helps, and what it holds on to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from streaming import events
from streaming.consumers import TabConsumer
from streaming.cursors import Entry, LiveReply, Reader
from streaming.events import Hint
from streaming.hub import Hub

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


def snapshot(version: int) -> dict[str, Any]:
    return {"type": "conversation_snapshot", "version": version, "replies": []}


async def moments(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Tab:
    """A reader, and the frames it was sent."""

    def __init__(self, hub: Hub, pk: UUID = PK) -> None:
        self.woken = asyncio.Event()
        self.reader = Reader(self.woken.set, user_id=1, session_key="", max_unacked=10_000)
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
    return Threads(user_of=object(), load_snapshot=snapshot(9))


@pytest.fixture
def hub(threads: Threads) -> Hub:
    return Hub(mock.Mock(), threads)  # type: ignore[arg-type]


async def behind(hub: Hub) -> Tab:
    """A reader who stands behind what its room remembers."""
    tab = Tab(hub)
    tab.reader.tell_from(3, {})
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
    assert threads.asked["load_snapshot"] == 1
    assert tab.frames == [events.encode(snapshot(9))]
    assert tab.reader.room is not None
    tab.reader.room.remember(Entry(10, "the next change"))
    tab.reader.room.wake()
    await moments()
    assert tab.frames[-1] == "the next change"
    await tab.close(hub)


async def test_help_that_fails_is_asked_for_again(hub: Hub, threads: Threads) -> None:
    threads.answers["user_of"] = OSError("the database is away")
    threads.may_answer.set()
    tab = await behind(hub)
    assert tab.frames == []
    threads.answers["user_of"] = object()
    tab.reader.wake()
    await moments(20)
    assert tab.frames == [events.encode(snapshot(9))]
    await tab.close(hub)


async def test_a_room_that_skips_lets_go_of_the_replies_that_have_ended_meanwhile(hub: Hub, threads: Threads) -> None:
    tab = Tab(hub)
    room = tab.reader.room
    assert room is not None
    room.replies = {pk: LiveReply.mirror(pk, "said") for pk in (1, 2)}
    threads.answers["load_entries"] = (300, None, {2: {"text": "said so far", "reasoning": ""}})
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
    assert not hub._loads
    assert not threads.asked["load_entries"]


@pytest.mark.parametrize("error", [ClientDisconnected, ConnectionResetError, RuntimeError("after websocket.close")])
async def test_a_socket_that_is_gone_is_no_error(hub: Hub, error: Exception) -> None:
    """Nobody asks the task that sends how it ended, so what it raised would fill the log."""
    consumer = TabConsumer()
    consumer.hub, consumer.woken = hub, asyncio.Event()
    consumer.reader = Reader(consumer.woken.set, user_id=1, session_key="", max_unacked=10_000)
    consumer.reader.tell("a frame")
    with mock.patch.object(consumer, "send", side_effect=error) as send:
        await consumer.send_frames()
    send.assert_awaited_once()
