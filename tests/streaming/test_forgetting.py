"""The chore of temporary conversations in a running server: who looks, what is being said, and who has just come back."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from conversations.models import Conversation, Message, Piece
from conversations.search import SearchTerms
from streaming import forgetting, process
from streaming.forgetting import Forgetting
from streaming.models import Run
from tests.conftest import LiveServer, OpenTab
from tests.scripts import Hold, Script
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = timedelta(hours=3)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is given time to come back."""
    monkeypatch.setattr(forgetting, "SECONDS_TO_COME_BACK", 0.0)


@pytest.fixture
async def passing(conversation: Conversation) -> Conversation:
    await Conversation.objects.aupdate(looked_at=timezone.now())
    return conversation


async def age() -> None:
    past = timezone.now() - LONG_AGO
    await Conversation.objects.aupdate(looked_at=past, updated_at=past)


async def chore() -> None:
    here = process.start()
    await Forgetting(here.hub, here.command).look()


async def test_it_stays_while_somebody_has_it_open_and_goes_after_that(
    server: LiveServer, open_tab: OpenTab, alice: User, passing: Conversation, at_once: None
) -> None:
    tab = await open_tab(alice, passing)
    await tab.wait_for("conversation_snapshot")
    asked = await tab.ask("Where is the teapot?")
    await tab.until_ended(asked.reply)
    assert not await SearchTerms.objects.aexists()
    assert tab.of_type("sidebar_changed") == []
    await age()
    await chore()
    found = await Conversation.objects.aget()
    assert found.looked_at is not None
    assert timezone.now() - found.looked_at < timedelta(minutes=1)
    await tab.close()
    await age()
    while process.start().hub.is_watched(str(passing.pk)):
        await asyncio.sleep(0.01)
    await chore()
    for rows in (Conversation, Message, Piece, Run):
        assert not await rows.objects.aexists()


async def test_a_reply_that_runs_is_not_cut_off_and_its_end_begins_the_time_anew(
    server: LiveServer, open_tab: OpenTab, alice: User, passing: Conversation, upstream: Upstream, at_once: None
) -> None:
    upstream.answer(Script(["In the ", Hold(), "kitchen."]))
    tab = await open_tab(alice, passing)
    asked = await tab.ask("Where is the teapot?")
    await tab.until_said(asked.reply, len("In the "))
    await tab.close()
    while process.start().hub.is_watched(str(passing.pk)):
        await asyncio.sleep(0.01)
    await age()
    await chore()
    upstream.posts[-1].go_on()
    while await Message.objects.filter(pk=asked.reply, status="streaming").aexists():
        await asyncio.sleep(0.01)
    await chore()
    assert (await Message.objects.aget(pk=asked.reply)).text == "In the kitchen."
    await age()
    await chore()
    assert not await Conversation.objects.aexists()


async def test_after_a_start_those_who_were_cut_off_have_time_to_come_back(
    server: LiveServer, passing: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    await age()
    here = process.start()
    begun = Forgetting(here.hub, here.command)
    await begun.look()
    assert await Conversation.objects.aexists()
    begun._calm_at = begun._looked_at
    await begun.look()
    assert not await Conversation.objects.aexists()


async def test_a_process_that_was_asleep_gives_the_same_time(
    server: LiveServer, passing: Conversation, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = process.start()
    begun = Forgetting(here.hub, here.command)
    await age()
    monkeypatch.setattr(forgetting, "SECONDS_TO_COME_BACK", 30.0)
    begun._looked_at -= 3 * forgetting.SECONDS_BETWEEN
    await begun.look()
    assert await Conversation.objects.aexists()


async def test_what_is_kept_meanwhile_is_listed_and_its_reply_found(
    server: LiveServer, open_tab: OpenTab, alice: User, passing: Conversation, upstream: Upstream
) -> None:
    upstream.answer(Script(["In the ", Hold(), "kitchen."]))
    tab = await open_tab(alice, passing)
    asked = await tab.ask("Where is the teapot?")
    await tab.until_said(asked.reply, len("In the "))
    await tab.command("keep_conversation")
    await tab.wait_for("sidebar_changed")
    upstream.posts[-1].go_on()
    await tab.until_ended(asked.reply)
    assert await SearchTerms.objects.acount() == 2
