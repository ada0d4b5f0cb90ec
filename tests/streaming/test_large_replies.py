"""Replies that are large, fast, slow or without an end: what is a reply comes through byte for byte, what is none ends
honestly, and neither costs more memory than it may."""

from __future__ import annotations

import json
import tracemalloc

import pytest

from conversations.models import Message
from tests.conftest import Chat
from tests.scripts import Chunk, Data, Raw, Reason, Script, Stall, Step, Wait
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

#: For a machine that has other things to do.
SECONDS = 60.0
#: What a line of 50 MB may cost, most of which is the largest event that is read.
MEGABYTES = 48
TWO_MEGABYTES = 2 * 1024 * 1024


def two_megabytes() -> str:
    """All of it different, with characters of each length."""
    text = "".join(f"{number} é 漢 🙂\n" for number in range(140_000))
    return text.encode()[:TWO_MEGABYTES].decode("utf-8", "ignore")


async def is_kept_as(tab: Tab, reply: str, text: str) -> None:
    await tab.until_ended(reply, SECONDS)
    kept = await Message.objects.aget(pk=reply)
    assert (kept.status, kept.text) == ("done", text)
    assert tab.texts[reply] == text


@pytest.mark.parametrize("size", [200, 4000], ids=["many deltas", "large deltas"])
async def test_two_megabytes_come_through_byte_for_byte(alice_tab: Tab, upstream: Upstream, size: int) -> None:
    text = two_megabytes()
    upstream.answer(Script([text[start : start + size] for start in range(0, len(text), size)]))
    asked = await alice_tab.ask("Talk")
    await is_kept_as(alice_tab, asked.reply, text)


@pytest.mark.parametrize("escaped", [True, False])
async def test_two_megabytes_in_one_single_event_come_through(
    alice_tab: Tab, upstream: Upstream, escaped: bool
) -> None:
    """So do gateways in front of models that cannot stream."""
    text = two_megabytes()
    event = json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=escaped)
    upstream.answer(Script([Data(event)]))
    asked = await alice_tab.ask("Talk")
    await is_kept_as(alice_tab, asked.reply, text)


async def test_five_thousand_deltas_a_second_are_whole_in_few_frames(alice_tab: Tab, upstream: Upstream) -> None:
    count, at_once = 15_000, 100
    steps: list[Step] = []
    for number in range(count):
        steps.append(f"{number} ")
        if number % at_once == at_once - 1:
            steps.append(Wait(at_once / 5000))
    script = Script(steps)
    upstream.answer(script)
    asked = await alice_tab.ask("Talk")
    await is_kept_as(alice_tab, asked.reply, script.text)
    assert len(alice_tab.of_type("reply_delta", reply=asked.reply)) < count / 10


async def test_a_token_now_and_then_is_a_reply(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    """One in 20 s where 60 s are allowed; here a twentieth of it. All of it takes longer than one silence may."""
    chat(first_token_seconds=3, silence_seconds=3, total_seconds=SECONDS)
    steps: list[Step] = []
    for number in range(5):
        steps += [Wait(1.0), f"{number} "]
    upstream.answer(Script(steps))
    asked = await alice_tab.ask("Talk")
    await is_kept_as(alice_tab, asked.reply, "0 1 2 3 4 ")


async def test_thoughts_hold_a_reply_open_as_words_do(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(first_token_seconds=3, silence_seconds=3)
    thoughts: list[Step] = []
    for number in range(5):
        thoughts += [Wait(1.0), Reason(f"{number} ", key="reasoning" if number % 2 else "reasoning_content")]
    upstream.answer(Script([*thoughts, "Yes."]))
    asked = await alice_tab.ask("Talk")
    await is_kept_as(alice_tab, asked.reply, "Yes.")
    assert (await Message.objects.aget(pk=asked.reply)).reasoning == "0 1 2 3 4 "


async def test_empty_deltas_hold_no_reply_open(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(silence_seconds=0.5)
    nothing: list[Step] = [Wait(0.05), Chunk({"content": ""}), Data({"choices": []})] * 1000
    upstream.answer(Script(["Hello", *nothing]))
    asked = await alice_tab.ask("Talk")
    ended = await alice_tab.until_ended(asked.reply, SECONDS)
    assert (ended["status"], ended["error"]["code"]) == ("interrupted", "silent")


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b'data: {"choices": [{"delta": {"content": "', b"x" * 65_536),
        (b": ", b"x" * 65_536),
        (b"", b"data: " + b"x" * 65_536 + b"\n"),
    ],
    ids=["of a chunk", "of a comment", "in many lines"],
)
async def test_an_event_of_50_megabytes_ends_honestly_and_fills_no_memory(
    alice_tab: Tab, upstream: Upstream, beginning: bytes, piece: bytes
) -> None:
    upstream.answer(Script(["Hello", Raw(beginning), *[Raw(piece)] * 800, Raw(b'"}}]}\n\n'), Stall()]))
    tracemalloc.start()
    try:
        asked = await alice_tab.ask("Talk")
        ended = await alice_tab.until_ended(asked.reply, SECONDS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (ended["status"], ended["error"]["code"]) == ("interrupted", "garbage")
    assert alice_tab.texts[asked.reply] == "Hello"
    await upstream.posts[0].until_closed()
    assert peak < MEGABYTES * 2**20
