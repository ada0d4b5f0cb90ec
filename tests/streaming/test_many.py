"""The main job at its full width: many replies at once, each to several tabs, none of it lost, none of it doubled."""

from __future__ import annotations

import asyncio
import hashlib

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation, Message, Piece
from tests.conftest import OpenTab
from tests.scripts import Script, many
from tests.tab import Tab
from tests.upstream import Request, Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

REPLIES = 50
DELTAS = 300
TABS = 2


def own_script(request: Request) -> Script:
    """Every reply says something else, so that a delta in the wrong place is seen."""
    return many(DELTAS, pace=0.01, seed=request.asked)


async def two_tabs(open_tab: OpenTab, user: User) -> list[Tab]:
    conversation = await database_sync_to_async(Conversation.start)(user)
    return [await open_tab(user, conversation) for _ in range(TABS)]


async def ask_and_read(number: int, tabs: list[Tab]) -> str:
    asked = await tabs[0].ask(f"reply-{number}")
    for tab in tabs:
        await tab.until_ended(asked.reply, seconds=90)
    return asked.reply


@pytest.mark.quiet
async def test_fifty_replies_to_two_tabs_each_are_whole(open_tab: OpenTab, alice: User, upstream: Upstream) -> None:
    upstream.always(own_script)
    rooms = [await two_tabs(open_tab, alice) for _ in range(REPLIES)]
    replies = await asyncio.gather(*(ask_and_read(number, tabs) for number, tabs in enumerate(rooms)))

    assert len(upstream.posts) == REPLIES
    said = {request.asked: request.text for request in upstream.posts}
    for number, (reply, tabs) in enumerate(zip(replies, rooms, strict=True)):
        kept = await Message.objects.aget(pk=reply)
        assert kept.status == "done"
        assert kept.text == said[f"reply-{number}"] == many(DELTAS, seed=f"reply-{number}").text
        for tab in tabs:
            assert tab.texts[reply] == kept.text
            assert tab.endings[reply][0]["sha256"] == hashlib.sha256(kept.text.encode()).hexdigest()
            assert tab.repairs == 0
            # No delta came twice: their lengths add up to that of the text.
            assert sum(len(event["text"]) for event in tab.of_type("reply_delta")) == len(kept.text)
    assert not await Piece.objects.aexists()


async def test_one_reply_to_thirty_tabs_is_whole(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.always(own_script)
    tabs = [await open_tab(alice, conversation) for _ in range(30)]
    reply = await ask_and_read(1, tabs)
    assert {tab.texts[reply] for tab in tabs} == {upstream.posts[0].text}
