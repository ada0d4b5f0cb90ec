"""What the model is shown of a conversation, and how people see where its sight begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from conversations.models import Conversation, Message
from streaming import jobs
from streaming.prompt import Prompt, Turn, build_prompt
from tests.conftest import Chat
from tests.scripts import Script, Stall
from tests.tab import Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)


async def talk(tab: Tab, *questions: str) -> None:
    for question in questions:
        await tab.until_ended((await tab.ask(question)).reply)


def shown(upstream: Upstream) -> list[tuple[str, str]]:
    """What the last request has told the model."""
    return [(message["role"], message["content"]) for message in upstream.posts[-1].messages]


async def test_the_model_is_shown_the_branch_with_its_answers(alice_tab: Tab, upstream: Upstream) -> None:
    await talk(alice_tab, "One", "Two")
    assert shown(upstream) == [("user", "One"), ("assistant", "You said: One"), ("user", "Two")]


async def test_the_model_is_shown_no_other_branch(alice_tab: Tab, upstream: Upstream) -> None:
    asked = await alice_tab.ask("One")
    await alice_tab.until_ended(asked.reply)
    edited = await alice_tab.command("edit_message", message=asked.message, client_id="e", text="Uno")
    await alice_tab.until_ended(edited["reply"])
    assert shown(upstream) == [("user", "Uno")]


@pytest.mark.parametrize("of_the_conversation", [True, False])
async def test_the_system_prompt_comes_first(
    alice_tab: Tab, upstream: Upstream, chat: Chat, of_the_conversation: bool
) -> None:
    chat(system_prompt="Be brief.")
    if of_the_conversation:
        await Conversation.objects.aupdate(system_prompt="Be long.")
    await talk(alice_tab, "One")
    assert shown(upstream)[0] == ("system", "Be long." if of_the_conversation else "Be brief.")


async def test_the_oldest_messages_leave_the_sight_and_all_tabs_are_told(
    alice_tab: Tab, upstream: Upstream, chat: Chat
) -> None:
    chat(context_tokens=60, system_prompt="Be brief.")
    await talk(alice_tab, "first " * 30)
    asked = await alice_tab.ask("second")
    await alice_tab.until_ended(asked.reply)
    assert shown(upstream) == [("system", "Be brief."), ("user", "second")]
    changed = await alice_tab.wait_for("message_changed")
    assert (changed["message"]["id"], changed["message"]["sight"]) == (asked.reply, asked.message)
    assert (await Message.objects.aget(pk=asked.reply)).sight_id == int(asked.message)


async def test_no_more_texts_are_read_than_the_model_can_be_shown(
    alice_tab: Tab, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what a model has thought, which it is not shown again, is none of them."""
    read: list[int] = []

    def build(turns: Sequence[Turn], *args: Any, **more: Any) -> Prompt:
        read.append(len(turns))
        return build_prompt(turns, *args, **more)

    monkeypatch.setattr(jobs, "build_prompt", build)
    chat(context_tokens=100)
    for number in range(5):
        await talk(alice_tab, f"{number} " * 50)
        await Message.objects.filter(role="assistant").aupdate(reasoning="Hm. " * 1000)
    # Each exchange has 200 characters and some, and a hundred tokens are 400.
    assert read == [1, 3, 4, 4, 4]


async def test_a_whole_sight_needs_no_line(alice_tab: Tab) -> None:
    await talk(alice_tab, "One", "Two")
    assert alice_tab.of_type("message_changed") == []
    assert not await Message.objects.exclude(sight=None).aexists()


@pytest.mark.parametrize(("length", "told"), [(0, None), (700, 700)])
async def test_the_longest_reply_is_told_to_the_provider(
    alice_tab: Tab, upstream: Upstream, chat: Chat, length: int, told: int | None
) -> None:
    chat(max_length=length)
    await talk(alice_tab, "One")
    assert upstream.posts[-1].json.get("max_tokens") == told


async def test_a_reply_that_goes_on_shows_the_model_where_it_was(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["Once upon ", Stall()]), Script(["a time."]))
    asked = await alice_tab.ask("A tale")
    await alice_tab.until_said(asked.reply)
    await alice_tab.command("stop_reply", reply=asked.reply)
    await alice_tab.until_ended(asked.reply)
    longer = await alice_tab.command("continue_reply", reply=asked.reply, client_id="c")
    await alice_tab.until_ended(longer["reply"])
    assert alice_tab.texts[longer["reply"]] == "Once upon a time."
    assert shown(upstream)[:2] == [("user", "A tale"), ("assistant", "Once upon ")]
