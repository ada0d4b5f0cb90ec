"""How rows look on the wire: the names of the protocol, and no others."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import F

from conversations import wire
from conversations.models import Change, Conversation, Membership, Message, Piece, Role, record_change
from conversations.status import Status
from tests.conftest import Chat

pytestmark = pytest.mark.django_db

MESSAGE = {
    *("id", "client_id", "parent", "role", "author", "text", "reasoning", "status", "model", "created_at"),
    *("attachments", "finish_reason", "error", "usage", "sight"),
}
SNAPSHOT = {"type", "protocol", "version", "conversation", "you", "members", "messages", "more", "replies"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def seen_by(user: User) -> Conversation:
    return Conversation.objects.visible_to(user).get()


def ask(user: User, count: int = 1) -> None:
    """So many questions, each with its reply."""
    for number in range(count):
        conversation = Conversation.objects.visible_to(user).get()
        reply = conversation.post(user, f"{number}?", f"a{Message.objects.count()}").reply
        Message.objects.filter(pk=reply.pk).update(status=Status.DONE, text="Two. 😀", finish_reason="stop")


def test_times_are_utc_with_milliseconds() -> None:
    east = timezone(timedelta(hours=8))
    assert wire.time_as_json(datetime(2026, 5, 4, 11, 2, 1, 999_999, tzinfo=east)) == "2026-05-04T03:02:01.999Z"
    assert wire.time_as_json(datetime(2026, 5, 4, tzinfo=UTC)) == "2026-05-04T00:00:00.000Z"


def test_a_person_is_a_name_and_nothing_private(alice: User) -> None:
    assert wire.user_as_json(alice) == {"id": str(alice.pk), "name": "alice"}
    alice.first_name, alice.last_name = "Alice", "Liddell"
    assert wire.user_as_json(alice)["name"] == "Alice Liddell"


def test_a_question_has_all_fields(conversation: Conversation, alice: User) -> None:
    ask(alice)
    question, reply = wire.messages_as_json(list(Message.objects.order_by("pk")))
    assert question.keys() == reply.keys() == MESSAGE | {"siblings"}
    assert TIME.fullmatch(question.pop("created_at"))
    assert question == {
        "id": str(reply["parent"]),
        "client_id": "a0",
        "parent": None,
        "role": "user",
        "author": {"id": str(alice.pk), "name": "alice"},
        "text": "0?",
        "reasoning": "",
        "status": "done",
        "model": "",
        "attachments": [],
        "finish_reason": None,
        "error": None,
        "usage": None,
        "sight": None,
        "siblings": [str(reply["parent"])],
    }


def test_a_message_of_somebody_who_is_gone_has_no_author(conversation: Conversation, alice: User, bob: User) -> None:
    Membership.objects.create(user=bob, conversation=conversation, role=Role.WRITER)
    ask(bob)
    bob.delete()
    assert wire.messages_as_json(list(Message.objects.all()))[0]["author"] is None


def test_siblings_are_told_oldest_first(conversation: Conversation, alice: User) -> None:
    ask(alice)
    first = Message.objects.earliest("pk")
    edited = conversation.edit(alice, str(first.pk), "e1", "Hello").message
    assert edited is not None
    expected = [str(first.pk), str(edited.pk)]
    shown = wire.messages_as_json([first, edited])
    assert [message["siblings"] for message in shown] == [expected, expected]


def test_a_snapshot_has_all_fields(conversation: Conversation, alice: User) -> None:
    ask(alice)
    found = wire.snapshot(seen_by(alice), alice)
    assert found.keys() == SNAPSHOT
    assert (found["type"], found["protocol"], found["version"]) == ("conversation_snapshot", 1, conversation_version())
    assert found["conversation"] == {
        "id": str(conversation.pk),
        "title": "0?",
        "model": "",
        "system_prompt": "",
        "parameters": {},
        "temporary": False,
        "role": "owner",
        "head": found["messages"][-1]["id"],
    }
    assert found["you"]["id"] == str(alice.pk)
    assert [member["name"] for member in found["members"]] == ["alice"]


def conversation_version() -> int:
    return Conversation.objects.get().version


def test_everybody_is_told_his_own_role(conversation: Conversation, bob: User) -> None:
    Membership.objects.create(user=bob, conversation=conversation, role=Role.READER)
    found = wire.snapshot(seen_by(bob), bob)
    assert (found["conversation"]["role"], found["you"]["name"]) == ("reader", "bob")


def test_an_empty_conversation_has_an_empty_snapshot(conversation: Conversation, alice: User) -> None:
    found = wire.snapshot(seen_by(alice), alice)
    assert (found["messages"], found["more"], found["replies"], found["version"]) == ([], False, [], 0)
    assert found["conversation"]["head"] is None


def test_a_running_reply_is_told_as_far_as_it_is_stored(conversation: Conversation, alice: User) -> None:
    reply = conversation.post(alice, "Hi", "a1").reply
    Piece.objects.create(reply=reply, part="text", start=0, text="a😀")
    (running,) = wire.snapshot(seen_by(alice), alice)["replies"]
    assert running == {
        "type": "reply_snapshot",
        "reply": str(reply.pk),
        "status": "queued",
        "text": "a😀",
        "reasoning": "",
        "text_end": 2,
        "reasoning_end": 0,
    }


@pytest.mark.parametrize(("questions", "shown", "more"), [(1, 2, False), (2, 4, False), (3, 4, True)])
def test_a_page_is_the_newest_end_of_the_branch(
    conversation: Conversation, alice: User, chat: Chat, questions: int, shown: int, more: bool
) -> None:
    chat(page_messages=4)
    ask(alice, questions)
    pks = [str(pk) for pk in Message.objects.order_by("pk").values_list("pk", flat=True)]
    page, has_more = wire.page_as_json(seen_by(alice))
    assert ([message["id"] for message in page], has_more) == (pks[-shown:], more)


def test_pages_lead_back_to_the_beginning(conversation: Conversation, alice: User, chat: Chat) -> None:
    chat(page_messages=3)
    ask(alice, 4)
    pages, before = [], None
    for _ in range(3):
        page, more = wire.page_as_json(seen_by(alice), before)
        pages.append(([int(message["id"]) for message in page], more))
        before = Message.objects.get(pk=page[0]["id"])
    pks = list(Message.objects.order_by("pk").values_list("pk", flat=True))
    assert pages == [(pks[5:], True), (pks[2:5], True), (pks[:2], False)]


def test_the_queries_of_a_snapshot_do_not_grow_with_it(
    conversation: Conversation, alice: User, bob: User, django_assert_max_num_queries: Any
) -> None:
    ask(alice)
    found = seen_by(alice)
    with django_assert_max_num_queries(10) as few:
        wire.snapshot(found, alice)
    Membership.objects.create(user=bob, conversation=conversation, role=Role.WRITER)
    ask(alice, 5)
    ask(bob, 5)
    found = seen_by(alice)
    with django_assert_max_num_queries(len(few)):
        wire.snapshot(found, alice)


# Events


def events() -> list[dict[str, Any]]:
    conversation = Conversation.objects.get()
    return wire.changes_as_json(conversation.changes_after(0, 1000) or [])


def test_every_change_is_told_under_its_version(conversation: Conversation, alice: User) -> None:
    ask(alice)
    conversation.rename(alice, "Sums")
    question, reply = Message.objects.order_by("pk")
    told = events()
    assert [event["version"] for event in told] == [1, 2, 3, 4]
    assert [event["type"] for event in told] == [*["message_created"] * 2, *["conversation_changed"] * 2]
    assert told[0].keys() == {"type", "version", "message", "head"}
    assert MESSAGE <= told[0]["message"].keys() <= MESSAGE | {"siblings"}
    assert (told[0]["head"], told[1]["head"]) == (str(question.pk), str(reply.pk))
    assert told[3] == {"type": "conversation_changed", "version": 4, "title": "Sums"}


def test_the_shown_branch_is_told_by_its_head(conversation: Conversation, alice: User) -> None:
    ask(alice)
    question, reply = Message.objects.order_by("pk")
    conversation.edit(alice, str(question.pk), "e1", "Hello")
    conversation.select_branch(alice, str(question.pk))
    assert events()[-1] == {"type": "conversation_changed", "version": 6, "head": str(reply.pk)}


def test_the_end_of_a_reply_is_told_by_length_and_digest(conversation: Conversation, alice: User) -> None:
    ask(alice)
    reply = Message.objects.latest("pk")
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "cost": None, "estimated": False}
    Message.objects.filter(pk=reply.pk).update(usage=usage)
    record_change(conversation.pk, Change.Kind.REPLY_ENDED, message_id=reply.pk)
    assert events()[-1] == {
        "type": "reply_ended",
        "version": 4,
        "reply": str(reply.pk),
        "status": "done",
        "finish_reason": "stop",
        "length": 6,
        "sha256": hashlib.sha256("Two. 😀".encode()).hexdigest(),
        "usage": usage,
        "error": None,
        "model": "",
    }


def test_a_line_of_the_sidebar_has_all_fields(conversation: Conversation, alice: User) -> None:
    ask(alice)
    found = (
        Conversation.objects.visible_to(alice).with_running().annotate(seen_version=F("membership__seen_version")).get()
    )
    line = wire.sidebar_entry(found)
    assert TIME.fullmatch(line.pop("updated_at"))
    place = {"shelf": "listed", "folder": None}
    assert line == {"id": str(conversation.pk), "title": "0?", **place, "running": False, "unread": True}
