"""Hints between processes: they never raise, and they come back when the layer does."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from streaming import layer as layers
from streaming.events import PROCESSES_GROUP
from streaming.layer import LONGEST_QUEUE, Layer

Hint = dict[str, Any]


class Switchboard:
    """A channel layer between processes that can go down; what it knew is gone then."""

    def __init__(self) -> None:
        self.is_down = False
        self.is_stuck = False
        self.is_silent = False
        self.groups: dict[str, set[str]] = defaultdict(set)
        self.channels: dict[str, asyncio.Queue[Hint | None]] = {}
        self.named = 0

    async def answer(self) -> None:
        if self.is_stuck:
            await asyncio.Event().wait()
        if self.is_down:
            raise ConnectionError("nobody is there")

    def put(self, channel: str, hint: Hint) -> None:
        if not self.is_silent and channel in self.channels:
            self.channels[channel].put_nowait(hint)

    def go_down(self) -> None:
        self.is_down = True
        self.groups.clear()
        for queue in self.channels.values():
            queue.put_nowait(None)

    def come_back(self) -> None:
        self.is_down = False


class Line:
    """The layer as one process has it."""

    def __init__(self, board: Switchboard) -> None:
        self.board = board
        self.mine: set[str] = set()

    async def new_channel(self, prefix: str) -> str:
        self.board.named += 1
        name = f"{prefix}.{self.board.named}"
        # As that of Redis does, before it knows whether anybody answers.
        self.board.channels[name] = asyncio.Queue()
        self.mine.add(name)
        await self.board.answer()
        return name

    async def receive(self, channel: str) -> Hint:
        hint = await self.board.channels[channel].get()
        if hint is None:
            raise ConnectionError("it went away")
        return hint

    async def group_add(self, group: str, channel: str) -> None:
        await self.board.answer()
        self.board.groups[group].add(channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self.board.answer()
        self.board.groups[group].discard(channel)

    async def group_send(self, group: str, hint: Hint) -> None:
        await self.board.answer()
        for channel in self.board.groups[group]:
            self.board.put(channel, hint)

    async def send(self, channel: str, hint: Hint) -> None:
        await self.board.answer()
        self.board.put(channel, hint)

    async def flush(self) -> None:
        for name in self.mine:
            del self.board.channels[name]
            for members in self.board.groups.values():
                members.discard(name)
        self.mine.clear()


@pytest.fixture
def switchboard(monkeypatch: pytest.MonkeyPatch) -> Switchboard:
    board = Switchboard()
    monkeypatch.setattr(layers, "get_channel_layer", lambda: Line(board))
    monkeypatch.setattr(layers, "RETRY_SECONDS", 0.001)
    return board


@pytest.fixture
def quick_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "ECHO_SECONDS", 0.1)


class Process:
    """One seat, and what was heard there."""

    def __init__(self, name: str) -> None:
        self.layer = Layer(name)
        self.heard: list[Any] = []
        self.listening = asyncio.create_task(self.layer.listen(lambda hint: self.heard.append(hint["words"])))

    async def close(self) -> None:
        self.listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.listening
        await self.layer.close()


@pytest.fixture
async def here(switchboard: Switchboard) -> AsyncIterator[Process]:
    process = Process("here")
    yield process
    await process.close()


@pytest.fixture
async def there(switchboard: Switchboard) -> AsyncIterator[Process]:
    process = Process("there")
    yield process
    await process.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def until_heard(process: Process, group: str, say: Callable[[str, Hint], None], words: str) -> None:
    """Said again and again: any of them may be lost, while somebody takes a seat."""
    async with asyncio.timeout(5):
        while words not in process.heard:
            say(group, {"words": words})
            await asyncio.sleep(0.001)


async def test_a_hint_reaches_the_other_process_and_not_our_own(here: Process, there: Process) -> None:
    for process in (here, there):
        process.layer.join("g")
    await until_heard(there, "g", here.layer.say, "hello")
    await until_heard(here, "g", there.layer.say, "and you")
    assert "hello" not in here.heard


async def test_every_process_listens_to_what_concerns_all(here: Process, there: Process) -> None:
    await until_heard(there, PROCESSES_GROUP, here.layer.say, "stop")


async def test_who_has_left_a_group_hears_no_more_of_it(
    here: Process, there: Process, switchboard: Switchboard
) -> None:
    there.layer.join("g")
    await until(lambda: bool(switchboard.groups["g"]))
    there.layer.leave("g")
    await until(lambda: not switchboard.groups["g"])


async def test_who_leaves_and_joins_at_once_is_there(there: Process, switchboard: Switchboard) -> None:
    there.layer.join("g")
    await until(lambda: bool(switchboard.groups["g"]))
    there.layer.leave("g")
    there.layer.join("g")
    there.layer.join("another")
    await until(lambda: bool(switchboard.groups["another"]))
    assert switchboard.groups["g"]


async def test_a_layer_that_is_down_harms_nobody_and_is_asked_again(
    here: Process, there: Process, switchboard: Switchboard
) -> None:
    there.layer.join("g")
    await until_heard(there, "g", here.layer.say, "before")
    switchboard.go_down()
    here.layer.say("g", {"words": "into the void"})
    there.layer.join("joined meanwhile")
    await asyncio.sleep(0.01)
    switchboard.come_back()
    await until_heard(there, "g", here.layer.say, "after")
    await until_heard(there, "joined meanwhile", here.layer.say, "also here")


async def test_a_layer_that_goes_down_again_and_again_holds_one_channel_of_each_process(
    here: Process, there: Process, switchboard: Switchboard
) -> None:
    there.layer.join("g")
    for words in ("first", "second", "third"):
        await until_heard(there, "g", here.layer.say, words)
        switchboard.go_down()
        await asyncio.sleep(0.01)
        switchboard.come_back()
    await until_heard(there, "g", here.layer.say, "last")
    assert len(switchboard.channels) == 2


async def test_a_layer_that_is_not_there_at_the_start_costs_nothing_until_it_is(switchboard: Switchboard) -> None:
    switchboard.is_down = True
    process = Process("here")
    await until(lambda: switchboard.named > 20)
    assert len(switchboard.channels) <= 1
    switchboard.come_back()
    await until(lambda: bool(switchboard.groups[PROCESSES_GROUP]))
    await process.close()


async def test_a_seat_on_which_nothing_is_heard_any_more_is_taken_anew(
    quick_echo: None, here: Process, there: Process, switchboard: Switchboard
) -> None:
    """A connection that is dead without knowing it: nothing fails, and nothing comes."""
    there.layer.join("g")
    await until_heard(there, "g", here.layer.say, "before")
    switchboard.is_silent = True
    seats = switchboard.named
    await until(lambda: switchboard.named > seats)
    switchboard.is_silent = False
    await until_heard(there, "g", here.layer.say, "after")


async def test_a_seat_on_which_only_its_own_echo_is_heard_is_kept(
    quick_echo: None, here: Process, switchboard: Switchboard
) -> None:
    await until(lambda: bool(switchboard.groups[PROCESSES_GROUP]))
    await until(lambda: here.layer._heard > 5)
    assert (switchboard.named, here.heard) == (1, [])


async def test_a_layer_that_does_not_answer_holds_up_neither_the_next_hint_nor_the_end(
    here: Process, there: Process, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "ANSWER_SECONDS", 0.01)
    there.layer.join("g")
    await until_heard(there, "g", here.layer.say, "before")
    switchboard.is_stuck = True
    here.layer.say("g", {"words": "never answered"})
    await asyncio.sleep(0.02)
    switchboard.is_stuck = False
    await until_heard(there, "g", here.layer.say, "after")
    switchboard.is_stuck = True
    here.layer.say("g", {"words": "never answered"})
    async with asyncio.timeout(5):
        await here.close()


async def test_a_hint_that_cannot_be_followed_does_not_end_the_listening(
    here: Process, there: Process, switchboard: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.layer.join("g")
    await until_heard(there, "g", here.layer.say, "before")
    monkeypatch.setattr(layers, "RETRY_SECONDS", 60)
    here.layer.say("g", {"of": "another version"})
    await until_heard(there, "g", here.layer.say, "after")


async def test_a_layer_that_is_down_is_left_without_an_error(switchboard: Switchboard) -> None:
    process = Process("here")
    await until(lambda: bool(switchboard.channels))
    switchboard.go_down()
    process.layer.say("g", {"words": "hello"})
    await process.close()


async def test_hints_that_wait_are_bounded_and_the_oldest_go_first(switchboard: Switchboard) -> None:
    layer = Layer("here")
    for number in range(LONGEST_QUEUE + 1):
        layer.say("g", {"words": number})
    assert len(layer._outbox) == LONGEST_QUEUE
    switchboard.channels["x"] = asyncio.Queue()
    switchboard.groups["g"].add("x")
    await layer._outbox.popleft()()
    oldest = switchboard.channels["x"].get_nowait()
    assert oldest is not None
    assert oldest["words"] == 1


async def test_in_memory_there_is_nobody_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "get_channel_layer", InMemoryChannelLayer)
    layer = Layer("here")
    layer.join("g")
    layer.say("g", {"words": "hello"})
    await layer.listen(lambda hint: None)
    assert (layer.reaches_others, len(layer._outbox)) == (False, 0)
    await layer.close()
