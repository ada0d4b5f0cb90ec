"""What people think of replies: each her own word, told to herself and to the administration."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from conversations import wire
from conversations.models import Conversation, Feedback, Membership, Message, Role, Verdict
from conversations.status import Status

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


@pytest.fixture
def reply(alice: User, conversation: Conversation) -> Message:
    reply = conversation.post(alice, "What is one and one?", "q1").reply
    Message.objects.filter(pk=reply.pk).update(status=Status.DONE, text="Three.", model="small")
    return reply


def judge(browser: Client, conversation: Conversation, message: Any, value: str) -> int:
    address = reverse("conversation-feedback", args=[conversation.pk])
    return browser.post(address, {"message": str(message), "value": value}).status_code


def given() -> list[tuple[str, str]]:
    return list(Feedback.objects.order_by("pk").values_list("user__username", "value"))


def seen(conversation: Conversation, user: User) -> list[str | None]:
    mine = Conversation.objects.visible_to(user).get(pk=conversation.pk)
    shown = [wire.snapshot(mine, user), wire.snapshot_to_send(mine, user)]
    assert shown[0]["messages"] == shown[1]["messages"]
    return [message.get("feedback") for message in shown[0]["messages"]]


def test_a_word_is_kept_changed_and_taken_back(browser: Client, conversation: Conversation, reply: Message) -> None:
    for value, kept in (("up", "up"), ("down", "down"), ("down", "down"), ("", None), ("", None), ("up", "up")):
        assert judge(browser, conversation, reply.pk, value) == 204
        assert given() == ([("alice", kept)] if kept else [])


def test_each_sees_her_own_and_nobody_elses(
    browser: Client, alice: User, bob: User, conversation: Conversation, reply: Message
) -> None:
    """A reader may judge what she may read."""
    Membership.objects.create(conversation=conversation, user=bob, role=Role.READER)
    judge(browser, conversation, reply.pk, "down")
    assert (seen(conversation, alice), seen(conversation, bob)) == ([None, "down"], [None, None])
    theirs = Client()
    theirs.force_login(bob)
    assert judge(theirs, conversation, reply.pk, "up") == 204
    assert (seen(conversation, alice), seen(conversation, bob)) == ([None, "down"], [None, "up"])
    earlier = browser.get(reverse("conversation-messages", args=[conversation.pk]), {"before": reply.pk})
    assert [message.get("feedback") for message in earlier.json()["messages"]] == [None]


def test_foreign_and_missing_replies_look_the_same(
    browser: Client, alice: User, charlie: User, conversation: Conversation, reply: Message
) -> None:
    foreign = Conversation.start(charlie)
    theirs = foreign.post(charlie, "Hi", "q1").reply
    question = reply.parent
    assert question is not None
    for where, message in (
        (foreign, theirs.pk), (conversation, theirs.pk), (conversation, question.pk), (conversation, 10**12),
        (conversation, "x"), (conversation, ""), (Conversation(pk=uuid4()), reply.pk),
    ):  # fmt: skip
        assert judge(browser, where, message, "up") == 404
    assert given() == []


@pytest.mark.parametrize("value", ["sideways", "UP", "\x00"])
def test_there_are_no_other_words(browser: Client, conversation: Conversation, reply: Message, value: str) -> None:
    assert judge(browser, conversation, reply.pk, value) == 400
    assert given() == []


def test_it_goes_with_its_message_and_with_its_person(
    browser: Client, alice: User, conversation: Conversation, reply: Message
) -> None:
    judge(browser, conversation, reply.pk, "up")
    conversation.judge(User.objects.create(username="dora"), reply, Verdict.DOWN)
    User.objects.get(username="dora").delete()
    assert given() == [("alice", "up")]
    conversation.erase()
    assert given() == []


def test_the_administration_sees_which_replies_and_models_were_poor(
    admin_client: Client, browser: Client, alice: User, bob: User, conversation: Conversation, reply: Message
) -> None:
    judge(browser, conversation, reply.pk, "down")
    conversation.judge(bob, reply, Verdict.DOWN)
    messages = reverse("admin:conversations_message_changelist")
    poor = admin_client.get(messages, {"feedback": "down"}).content.decode()
    assert "1 message" in poor
    assert "▼ 2" in poor
    assert "0 messages" in admin_client.get(messages, {"feedback": "up"}).content.decode()
    page = admin_client.get(reverse("admin:conversations_message_change", args=[reply.pk])).content.decode()
    assert "bob</a>: poor" in page
