"""What somebody thinks of a reply reaches her other tabs, in each process, and nobody else's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation, Message, Verdict
from tests.conftest import OpenTab
from tests.tab import Tab

Invite = Callable[..., Awaitable[None]]

pytestmark = [pytest.mark.django_db(transaction=True)]


async def test_ones_own_tabs_are_told_and_nobody_elses(
    alice_tab: Tab, open_tab: OpenTab, alice: User, bob: User, conversation: Conversation, invite: Invite
) -> None:
    await invite(bob, conversation)
    bobs = await open_tab(bob, conversation)
    other = await open_tab(alice, await database_sync_to_async(Conversation.start)(alice))
    asked = await alice_tab.ask("What is one and one?")
    await alice_tab.until_ended(asked.reply)
    reply = await Message.objects.aget(pk=asked.reply)
    for value in (Verdict.DOWN, None):
        await database_sync_to_async(conversation.judge)(alice, reply, value)
        await alice_tab.wait_for("feedback_changed", message=asked.reply, value=value)
    for tab in (bobs, other):  # what is told later is there, and nothing of this before it
        await tab.command("rename_conversation", title="Sums")
        assert tab.of_type("feedback_changed") == []
