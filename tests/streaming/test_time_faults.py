"""Time that stands still for a process, and clocks that do not agree."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation, Message
from streaming.models import Run
from tests.conftest import StartProcess
from tests.processes import ServerProcess
from tests.scripts import Script, Stall, many
from tests.streaming.conftest import TabOn
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)

HARM = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent / "harm")}
#: A minute without a word of the model is allowed: here it is the server that sleeps.
PATIENT = {"CHAT_SILENCE_SECONDS": "60", "CHAT_FIRST_TOKEN_SECONDS": "60"}
SKEW = 90
RECOVERY = 30.0


async def is_whole(tab: Tab, reply: str, text: str) -> bool:
    """Also as it is kept, and without that anybody else has had it in hand."""
    assert (await tab.until_ended(reply, RECOVERY))["status"] == "done"
    kept = await Message.objects.aget(pk=int(reply))
    run = await Run.objects.aget(pk=int(reply))
    return (tab.texts[reply], kept.text, run.epoch, tab.close_code) == (text, text, 1, None)


async def test_a_loop_that_stands_still_for_five_seconds_loses_nothing(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process("uvicorn", **HARM, **PATIENT)
    tabs = [await tab_on(process, alice, conversation) for _ in range(2)]
    script = many(200, pace=0.02)
    upstream.answer(script)
    asked = await tabs[0].ask("Talk")
    await tabs[0].until_said(asked.reply, 500)
    assert process.process is not None
    process.process.send_signal(signal.SIGUSR1)
    said = len(tabs[0].texts[asked.reply])
    await asyncio.sleep(3)
    # A proof that there was something to survive: the upstream had all said by now.
    assert len(tabs[0].texts[asked.reply]) - said < len(script.text) / 2
    for tab in tabs:
        assert await is_whole(tab, asked.reply, script.text)


async def test_a_process_alone_that_sleeps_for_twice_its_lease_goes_on(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    process = await start_process("uvicorn", CHAT_LEASE_SECONDS="2", **PATIENT)
    tab = await tab_on(process, alice, conversation)
    script = many(200, pace=0.02)
    upstream.answer(script)
    asked = await tab.ask("Talk")
    await tab.until_said(asked.reply, 500)
    process.pause()
    await asyncio.sleep(4)
    process.resume()
    assert await is_whole(tab, asked.reply, script.text)


@pytest.mark.services
async def test_a_loop_that_stands_still_for_less_than_a_lease_keeps_its_replies(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    here, elsewhere = await start_process("uvicorn", **HARM, **PATIENT), await start_process()
    tabs = [await tab_on(process, alice, conversation) for process in (here, elsewhere)]
    script = many(200, pace=0.02)
    upstream.answer(script)
    asked = await tabs[0].ask("Talk")
    await tabs[1].until_said(asked.reply, 500)
    assert here.process is not None
    here.process.send_signal(signal.SIGUSR1)
    for tab in tabs:
        assert await is_whole(tab, asked.reply, script.text)


# Clocks


@pytest.fixture
async def skewed(start_process: StartProcess) -> tuple[ServerProcess, ServerProcess]:
    """The clock of the first is ahead, that of the second behind."""
    return (
        await start_process("uvicorn", HARM_CLOCK=str(SKEW), **HARM),
        await start_process("uvicorn", HARM_CLOCK=str(-SKEW), **HARM),
    )


@pytest.mark.services
@pytest.mark.parametrize("owner", ["ahead", "behind"])
async def test_clocks_that_do_not_agree_take_no_reply_from_its_owner(
    owner: str,
    skewed: tuple[ServerProcess, ServerProcess],
    tab_on: TabOn,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
) -> None:
    tabs = [await tab_on(process, alice, conversation) for process in skewed]
    asking = tabs[owner == "behind"]
    script = many(150, pace=0.02)
    upstream.answer(script)
    asked = await asking.ask("Talk")
    for tab in tabs:
        assert await is_whole(tab, asked.reply, script.text)


@pytest.mark.services
@pytest.mark.parametrize("dies", ["ahead", "behind"])
async def test_clocks_that_do_not_agree_leave_no_reply_without_an_end(
    dies: str,
    skewed: tuple[ServerProcess, ServerProcess],
    tab_on: TabOn,
    alice: User,
    conversation: Conversation,
    upstream: Upstream,
) -> None:
    dying, living = skewed if dies == "ahead" else skewed[::-1]
    here, elsewhere = [await tab_on(process, alice, conversation) for process in (dying, living)]
    upstream.answer(Script(["Hello", Stall()]))
    asked = await here.ask("Talk")
    await elsewhere.until_said(asked.reply)
    dying.kill()
    assert (await elsewhere.until_ended(asked.reply, 15))["status"] == "interrupted"


@pytest.mark.services
async def test_the_interval_between_two_questions_does_not_depend_on_who_is_asked(
    start_process: StartProcess, tab_on: TabOn, alice: User, conversation: Conversation
) -> None:
    interval = {"CHAT_INTERVAL_SECONDS": "1"}
    ahead = await start_process("uvicorn", HARM_CLOCK=str(SKEW), **HARM, **interval)
    behind = await start_process("uvicorn", HARM_CLOCK=str(-SKEW), **HARM, **interval)
    first, second = [await tab_on(process, alice, conversation) for process in (ahead, behind)]
    for tab in (first, second, first):
        asked = await tab.ask("Hello")
        await tab.until_ended(asked.reply)
        await asyncio.sleep(1)
