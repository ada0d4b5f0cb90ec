"""A conversation is deleted while it is looked at and written in: everybody is out, what runs is stopped, and undo brings back
what was said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db.models.functions import Now

from conversations.models import Conversation
from conversations.status import Status
from tests.conftest import Chat, LiveServer, OpenTab, StartProcess, csrf_client
from tests.scripts import Hold, Script
from tests.tab import CommandRefused, Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)


async def post(server: LiveServer, user: User, path: str) -> int:
    async with csrf_client(server, user) as client:
        return (await client.post(path, headers={"Accept": "application/json"})).status_code


async def test_who_looks_is_out_and_what_runs_is_stopped_and_kept(
    server: LiveServer, open_tab: OpenTab, alice: User, alice_tab: Tab, conversation: Conversation, upstream: Upstream
) -> None:
    home = await server.tab(alice, conversation)
    home.url = home.url.split("/ws/")[0] + "/ws/me/"
    await home.open()
    upstream.answer(Script(["In the ", Hold(), "kitchen."]))
    asked = await alice_tab.ask("Where is the teapot?")
    await alice_tab.until_said(asked.reply, 7)
    path = f"/conversations/{conversation.pk}"
    assert await post(server, alice, f"{path}/delete/") == 204
    assert await alice_tab.until_closed() == 4404
    await home.wait_for("sidebar_changed", removed=str(conversation.pk))
    await upstream.requests[0].until_closed()
    assert await (await open_tab(alice, conversation)).until_closed() == 4404
    assert await post(server, alice, f"{path}/restore/") == 204
    line = await home.until_event(lambda event: event.get("conversation", {}).get("id") == str(conversation.pk))
    assert line["conversation"]["title"] == "Where is the teapot?"
    again = await open_tab(alice, conversation)
    await again.wait_for("conversation_snapshot")
    await again.until(lambda: again.statuses[asked.reply] == Status.STOPPED)
    assert again.texts[asked.reply] == "In the "
    assert len(upstream.posts) == 1
    await home.close()


async def test_what_waits_for_its_next_try_is_not_asked_for(
    server: LiveServer,
    open_tab: OpenTab,
    alice: User,
    alice_tab: Tab,
    conversation: Conversation,
    upstream: Upstream,
    chat: Chat,
) -> None:
    chat(retry_seconds=30.0, retry_max_seconds=60.0)
    upstream.answer(Script(status=503))
    asked = await alice_tab.ask("Where is the teapot?")
    await alice_tab.wait_for("reply_waiting", reply=asked.reply)
    path = f"/conversations/{conversation.pk}"
    assert await post(server, alice, f"{path}/delete/") == 204
    assert await post(server, alice, f"{path}/restore/") == 204
    tab = await open_tab(alice, conversation)
    await tab.until(lambda: tab.statuses.get(asked.reply) == Status.STOPPED)
    assert len(upstream.posts) == 1


async def test_nobody_writes_to_it_any_more(
    server: LiveServer, alice: User, alice_tab: Tab, conversation: Conversation
) -> None:
    await database_sync_to_async(Conversation.objects.filter(pk=conversation.pk).update)(deleted_at=Now())
    with pytest.raises((CommandRefused, ConnectionError)) as refused:
        await alice_tab.command("rename_conversation", title="Mine")
    if isinstance(refused.value, CommandRefused):
        assert refused.value.code == "not_found"
    assert await alice_tab.until_closed() == 4404
    async with csrf_client(server, alice) as client:
        body = {"type": "rename_conversation", "title": "Mine"}
        assert (await client.post(f"/conversations/{conversation.pk}/commands/", json=body)).status_code == 404
        assert (await client.get(f"/conversations/{conversation.pk}/events/")).status_code == 404


async def test_it_is_erased_by_whoever_starts_after_its_time(
    start_process: StartProcess, alice: User, conversation: Conversation
) -> None:
    @database_sync_to_async
    def delete() -> None:
        conversation.remove(alice)
        Conversation.objects.filter(pk=conversation.pk).update(deleted_at=Now() - timedelta(hours=1))

    await delete()
    process = await start_process()
    async with await LiveServer(process.url).client(alice) as client:
        while await Conversation.objects.aexists():
            assert (await client.get("/health/")).status_code == 200
