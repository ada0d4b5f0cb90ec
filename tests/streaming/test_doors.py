"""Who is let in: handshakes, strangers, readers, and what happens to an open socket when rights change."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from websockets.exceptions import InvalidStatus

from conversations.models import Conversation, Membership, Message
from streaming.consumers import ConversationConsumer
from tests.conftest import Chat, LiveServer, OpenTab, csrf_client
from tests.scripts import Hold, Script
from tests.tab import CommandRefused, Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)

Invite = Callable[..., Awaitable[None]]


# The handshake


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://127.0.0.1.evil.example",
        "http://localhost",
    ],
)
async def test_a_foreign_or_absent_origin_is_refused(
    server: LiveServer, alice: User, conversation: Conversation, origin: str | None
) -> None:
    tab = await server.tab(alice, conversation, origin=origin)
    with pytest.raises(InvalidStatus) as refused:
        await tab.open()
    assert refused.value.response.status_code == 403


async def test_another_scheme_is_another_origin(server: LiveServer, alice: User, conversation: Conversation) -> None:
    tab = await server.tab(alice, conversation, origin=server.url.replace("http:", "https:"))
    with pytest.raises(InvalidStatus):
        await tab.open()


async def test_an_allowed_origin_is_let_in(
    server: LiveServer, alice: User, conversation: Conversation, chat: Chat
) -> None:
    chat(allowed_origins=("https://chat.example.org",))
    async with await server.tab(alice, conversation, origin="https://chat.example.org") as tab:
        assert await tab.wait_for("conversation_snapshot")


async def test_missing_and_foreign_look_the_same(
    open_tab: OpenTab, alice: User, charlie: User, conversation: Conversation
) -> None:
    theirs = await open_tab(charlie, conversation)
    missing = await open_tab(charlie, str(uuid.uuid4()))
    for tab in (theirs, missing):
        assert await tab.until_closed() == 4404
    assert (theirs.events, theirs.close_reason) == (missing.events, missing.close_reason) == ([], missing.close_reason)


async def test_a_stranger_without_a_session_is_sent_to_sign_in(open_tab: OpenTab, conversation: Conversation) -> None:
    assert await (await open_tab(None, conversation)).until_closed() == 4401


async def test_an_expired_session_is_sent_to_sign_in(
    server: LiveServer, alice: User, conversation: Conversation
) -> None:
    tab = await server.tab(alice, conversation)
    await Session.objects.all().adelete()
    await tab.open()
    assert await tab.until_closed() == 4401


@pytest.mark.parametrize(("said", "code"), [("1", None), ("2", 4400), ("x", 4400)])
async def test_a_page_that_speaks_another_protocol_is_told_so(
    server: LiveServer, alice: User, conversation: Conversation, said: str, code: int | None
) -> None:
    tab = await server.tab(alice, conversation)
    tab.url += f"?protocol={said}"
    await tab.open()
    if code is None:
        assert await tab.wait_for("conversation_snapshot")
        await tab.close()
    else:
        assert await tab.until_closed() == code


async def test_a_socket_goes_on_from_the_positions_that_it_names(
    server: LiveServer, alice: User, alice_tab: Tab, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.answer(Script(["One, two, ", Hold(), "three."]))
    asked = await alice_tab.ask("Count")
    await alice_tab.until_said(asked.reply, 10)
    tab = await server.tab(alice, conversation)
    tab.url += f"?version={alice_tab.version},{asked.reply}.5.0"
    await tab.open()
    first = await tab.wait_for("reply_delta")
    assert (first["start"], first["text"]) == (5, "two, ")
    assert tab.of_type("reply_snapshot") == tab.of_type("conversation_snapshot") == []
    await tab.close()


async def test_nobody_opens_more_sockets_than_allowed(
    open_tab: OpenTab, alice: User, conversation: Conversation, chat: Chat
) -> None:
    chat(sockets_per_user=3)
    for _ in range(3):
        await (await open_tab(alice, conversation)).wait_for("conversation_snapshot")
    assert await (await open_tab(alice, conversation)).until_closed() == 4429


# Rights


COMMANDS: list[dict[str, Any]] = [
    {"kind": "send_message", "client_id": "c", "text": "Hello"},
    {"kind": "rename_conversation", "title": "Mine now"},
    {"kind": "stop_reply", "reply": "{reply}"},
    {"kind": "retry_reply", "reply": "{reply}", "client_id": "c"},
    {"kind": "continue_reply", "reply": "{reply}", "client_id": "c"},
    {"kind": "edit_message", "message": "{message}", "client_id": "c", "text": "Other"},
    {"kind": "select_branch", "message": "{message}"},
]


@pytest.mark.parametrize("command", COMMANDS, ids=[command["kind"] for command in COMMANDS])
async def test_a_reader_may_do_nothing(
    alice_tab: Tab, open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite, command: dict[str, Any]
) -> None:
    asked = await alice_tab.ask("Hello")
    await alice_tab.until_ended(asked.reply)
    await invite(bob, conversation, "reader")
    reader = await open_tab(bob, conversation)
    filled = {name: value.format(message=asked.message, reply=asked.reply) for name, value in command.items()}
    with pytest.raises(CommandRefused) as refused:
        await reader.command(**filled)
    assert refused.value.code == "forbidden"
    assert await reader.command("ping")
    assert await Message.objects.acount() == 2


async def test_a_reader_reads(
    alice_tab: Tab, open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite
) -> None:
    await invite(bob, conversation, "reader")
    reader = await open_tab(bob, conversation)
    asked = await alice_tab.ask("Hello")
    await reader.until_ended(asked.reply)
    assert reader.texts[asked.reply] == "You said: Hello"


async def test_a_writer_writes(
    alice_tab: Tab, open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite
) -> None:
    await invite(bob, conversation, "writer")
    asked = await (await open_tab(bob, conversation)).ask("Hello from bob")
    await alice_tab.until_ended(asked.reply)
    assert alice_tab.messages[asked.message]["author"]["name"] == "bob"


async def invited_tab(open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite) -> Tab:
    await invite(bob, conversation, "writer")
    tab = await open_tab(bob, conversation)
    await tab.wait_for("conversation_snapshot")
    return tab


async def test_who_is_removed_is_out_within_a_second(
    open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite
) -> None:
    tab = await invited_tab(open_tab, bob, conversation, invite)
    membership = await Membership.objects.aget(user=bob)
    await membership.adelete()
    assert await tab.until_closed(seconds=1) == 4404


async def test_who_is_deactivated_is_out_within_a_second(
    open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite
) -> None:
    tab = await invited_tab(open_tab, bob, conversation, invite)
    bob.is_active = False
    await bob.asave()
    assert await tab.until_closed(seconds=1) == 4401


async def test_a_new_password_ends_open_sockets_within_a_second(
    open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite
) -> None:
    tab = await invited_tab(open_tab, bob, conversation, invite)
    bob.set_password("a quite new password")
    await bob.asave()
    assert await tab.until_closed(seconds=1) == 4401


async def test_signing_out_ends_open_sockets_within_a_second(
    server: LiveServer, open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite
) -> None:
    await invite(bob, conversation, "writer")
    async with csrf_client(server, bob) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        tab = await open_tab(None, conversation, cookie=cookie)
        await tab.wait_for("conversation_snapshot")
        response = await client.post("/accounts/logout/")
        assert response.status_code == 302
        assert await tab.until_closed(seconds=1) == 4401


async def test_who_signs_out_during_the_handshake_is_out_within_a_second(
    open_tab: OpenTab, bob: User, conversation: Conversation, invite: Invite, monkeypatch: pytest.MonkeyPatch
) -> None:
    await invite(bob, conversation, "writer")
    may_look = ConversationConsumer.may_look

    async def sign_out_meanwhile(consumer: ConversationConsumer) -> bool:
        allowed = await may_look(consumer)
        await Session.objects.all().adelete()
        return allowed

    monkeypatch.setattr(ConversationConsumer, "may_look", sign_out_meanwhile)
    assert await (await open_tab(bob, conversation)).until_closed(seconds=1) == 4401


async def test_a_deleted_conversation_is_left_by_all_within_a_second(
    alice_tab: Tab, conversation: Conversation, alice: User
) -> None:
    await database_sync_to_async(conversation.remove)(alice)
    assert await alice_tab.until_closed(seconds=1) == 4404


# The doors without a socket


@pytest.fixture
async def alice_client(server: LiveServer, alice: User) -> AsyncIterator[httpx2.AsyncClient]:
    async with csrf_client(server, alice) as client:
        yield client


def commands_url(conversation: Conversation) -> str:
    return f"/conversations/{conversation.pk}/commands/"


def events_url(conversation: Conversation) -> str:
    return f"/conversations/{conversation.pk}/events/"


def sending(text: str = "Hello", **fields: Any) -> dict[str, Any]:
    return {"type": "send_message", "client_id": str(uuid.uuid4()), "text": text, **fields}


async def test_a_command_may_be_posted(
    alice_client: httpx2.AsyncClient, alice_tab: Tab, conversation: Conversation
) -> None:
    response = await alice_client.post(commands_url(conversation), json=sending(ref="7"))
    assert response.status_code == 200
    answer = response.json()
    assert (answer["type"], answer["ref"]) == ("command_done", "7")
    await alice_tab.until_ended(answer["reply"])


async def test_a_text_that_is_too_long_for_a_frame_may_be_posted(
    alice_client: httpx2.AsyncClient, conversation: Conversation
) -> None:
    text = "漢" * 190_000
    response = await alice_client.post(commands_url(conversation), json=sending(text))
    assert response.status_code == 200
    assert (await Message.objects.aget(role="user")).text == text


async def test_a_command_without_the_csrf_token_is_refused(
    server: LiveServer, alice: User, conversation: Conversation
) -> None:
    async with await server.client(alice) as client:
        assert (await client.post(commands_url(conversation), json=sending())).status_code == 403
    assert await Message.objects.acount() == 0


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "bad_frame"),
        ("[]", "bad_frame"),
        ('{"type": "make_coffee"}', "unknown_type"),
        ('{"type": "send_message"}', "invalid"),
        ('{"type": "send_message", "client_id": "c", "text": ""}', "invalid"),
        ('{"type": "stop_reply", "reply": "99999"}', "not_found"),
    ],
)
async def test_a_posted_command_is_refused_with_code_and_detail(
    alice_client: httpx2.AsyncClient, conversation: Conversation, body: str, code: str
) -> None:
    response = await alice_client.post(
        commands_url(conversation), content=body, headers={"Content-Type": "application/json"}
    )
    assert 400 <= response.status_code < 500
    assert response.json()["code"] == code
    assert response.json()["detail"]


@pytest.mark.parametrize("address", ["", "events/", "messages/", "commands/"])
async def test_every_door_looks_the_same_to_a_stranger(
    server: LiveServer, charlie: User, conversation: Conversation, address: str
) -> None:
    async with csrf_client(server, charlie) as client:
        answers = []
        for pk in (conversation.pk, uuid.uuid4()):
            url = f"/conversations/{pk}/{address}"
            answers.append(await (client.post(url, json=sending()) if address == "commands/" else client.get(url)))
    assert [answer.status_code for answer in answers] == [404, 404]
    assert await Message.objects.acount() == 0


@pytest.mark.parametrize("address", ["", "events/", "messages/", "commands/"])
async def test_no_door_is_open_without_a_session(server: LiveServer, conversation: Conversation, address: str) -> None:
    async with csrf_client(server, None) as client:
        url = f"/conversations/{conversation.pk}/{address}"
        answer = await (client.post(url, json=sending()) if address == "commands/" else client.get(url))
    assert answer.status_code in (302, 401, 403)
