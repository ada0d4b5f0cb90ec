"""A better title comes behind the first reply, once, and costs nobody anything."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation, Membership, Message, TitleFrom
from streaming.models import Run
from streaming.titling import question_in
from tests.cases import together
from tests.conftest import Chat, LiveServer, OpenTab, serving
from tests.scripts import Hold, Reason, Script, Stall
from tests.tab import Tab
from tests.upstream import Request, Upstream

pytestmark = pytest.mark.django_db(transaction=True)

QUESTION = "Why is the sky blue?"


def wants_title(request: Request) -> bool:
    return question_in(request.messages) is not None


@pytest.fixture(autouse=True)
def on(upstream: Upstream, chat: Chat) -> None:
    chat(titles=True)


@database_sync_to_async
def row(conversation: Conversation) -> dict[str, Any]:
    return dict(Conversation.objects.filter(pk=conversation.pk).values("title", "title_from").get())


async def until_no_task(name: str) -> None:
    tasks = [task for task in asyncio.all_tasks() if task.get_name().startswith(name)]
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_model_names_the_exchange(
    alice_tab: Tab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.when(wants_title, Script([Reason("A title, hm."), '"Blue ', 'skies."']))
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.wait_for("conversation_changed", title=QUESTION)
    await alice_tab.until_ended(asked.reply)
    told = await alice_tab.wait_for("conversation_changed", title="Blue skies")
    assert told["version"] == alice_tab.version
    await alice_tab.until_event(lambda event: event.get("conversation", {}).get("title") == "Blue skies")
    assert await row(conversation) == {"title": "Blue skies", "title_from": TitleFrom.MODEL}
    assert (await Message.objects.acount(), await Run.objects.acount()) == (2, 1)
    # Once: behind the second reply nothing more is asked.
    second = await alice_tab.ask("And the sea?")
    await alice_tab.until_ended(second.reply)
    await until_no_task("title")
    assert [wants_title(post) for post in upstream.posts] == [False, True, False]
    assert "You said" in upstream.posts[1].messages[1]["content"]
    # What has been seen is written down a little later.
    async with asyncio.timeout(20):
        while (await Membership.objects.aget(user=alice)).seen_version != (await Conversation.objects.aget()).version:
            await asyncio.sleep(0.05)


async def test_the_next_question_waits_for_no_title(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(running_per_user=1)
    upstream.when(wants_title, Script(["Blue ", Hold(), "skies"]))
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.until_ended(asked.reply)
    await upstream.until_asked(2)
    second = await alice_tab.ask("And the sea?")
    assert (await alice_tab.until_ended(second.reply))["status"] == "done"
    upstream.posts[1].go_on()
    await alice_tab.wait_for("conversation_changed", title="Blue skies")


async def test_who_has_named_it_meanwhile_keeps_the_name(
    alice_tab: Tab, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.when(wants_title, Script(["Blue ", Hold(), "skies"]))
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.until_ended(asked.reply)
    await upstream.until_asked(2)
    await alice_tab.command("rename_conversation", title="Mine")
    upstream.posts[1].go_on()
    await until_no_task("title")
    assert await row(conversation) == {"title": "Mine", "title_from": TitleFrom.PERSON}


async def test_what_was_named_before_is_not_asked_about(
    alice_tab: Tab, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.answer(Script(["Because ", Hold(), "of the air."]))
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.until_said(asked.reply)
    await alice_tab.command("rename_conversation", title="Mine")
    upstream.posts[0].go_on()
    await alice_tab.until_ended(asked.reply)
    await until_no_task("title")
    assert len(upstream.posts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Script(status=500),
        Script(status=400),
        Script([""]),
        Script(["word " * 500]),
        Script(["Sure! Here is a title:\n\nBlue skies"]),
        Script(["Blue skies"], finish=None, done=False),
        Script([Reason("Only thoughts")]),
    ],
)
async def test_what_fails_leaves_the_title_as_it_is(
    alice_tab: Tab, conversation: Conversation, upstream: Upstream, answer: Script
) -> None:
    upstream.when(wants_title, answer)
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.until_ended(asked.reply)
    await upstream.until_asked(2)
    await until_no_task("title")
    assert await row(conversation) == {"title": QUESTION, "title_from": TitleFrom.ASKED}
    assert len(upstream.posts) == 2


async def test_a_model_of_its_own_is_asked(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(title_model="large")
    upstream.when(wants_title, Script(["Blue skies"]))
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.until_ended(asked.reply)
    await alice_tab.wait_for("conversation_changed", title="Blue skies")
    assert [post.model for post in upstream.posts] == ["small", "large"]


async def test_it_can_be_switched_off(
    alice_tab: Tab, conversation: Conversation, upstream: Upstream, chat: Chat
) -> None:
    chat(titles=False)
    asked = await alice_tab.ask(QUESTION)
    await alice_tab.until_ended(asked.reply)
    await until_no_task("title")
    assert (len(upstream.posts), (await row(conversation))["title_from"]) == (1, TitleFrom.TEXT)


async def test_a_process_that_ends_waits_for_no_title(
    transactional_db: None, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.when(wants_title, Script(["Blue ", Stall()]))
    async with serving() as server, await server.tab(alice, conversation) as tab:
        asked = await tab.ask(QUESTION)
        await tab.until_ended(asked.reply)
        request = await upstream.until_asked(2)
    await request.until_closed()
    assert (await row(conversation))["title"] == QUESTION


async def test_the_demo_names_a_conversation_by_itself(
    transactional_db: None, alice: User, conversation: Conversation, chat: Chat, open_tab: OpenTab, server: LiveServer
) -> None:
    chat(base_url="", app_key="", models=())
    tab = await open_tab(alice, conversation)
    await tab.ask("Explain how bread works, in five sentences")
    await tab.wait_for("conversation_changed", title="Explain how bread works", seconds=60)


def test_of_many_processes_one_asks(conversation: Conversation, alice: User) -> None:
    conversation.post(alice, QUESTION, "a1")
    found = together(lambda number: Conversation.ask_for_title(conversation.pk))
    assert (found.count(QUESTION), found.count(None)) == (1, 7)
    Conversation.take_title(conversation.pk, "Blue\x00 skies", "another one")
    assert Conversation.objects.get().title == QUESTION
    Conversation.take_title(conversation.pk, "Blue\x00 skies", QUESTION)
    assert Conversation.objects.get().title == "Blue\N{REPLACEMENT CHARACTER} skies"
