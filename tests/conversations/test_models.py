"""What may be done to a conversation, by whom, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import IntegrityError, transaction
from django.utils import timezone

from conversations import signals
from conversations.models import Change, Conversation, Exchange, Membership, Message, Piece, Role, grown_texts
from conversations.refusals import Refused
from conversations.status import Status
from tests.cases import together
from tests.conftest import Chat

pytestmark = pytest.mark.django_db

Command = Callable[[Conversation, User], Any]


def refusal(command: Callable[[], Any]) -> str:
    """The code with which it is refused; empty where it is carried out."""
    try:
        command()
    except Refused as refused:
        return refused.code
    return ""


def join(user: User, conversation: Conversation, role: str = Role.WRITER) -> None:
    Membership.objects.create(user=user, conversation=conversation, role=role)


def end(reply: Message, status: Status = Status.DONE, text: str = "Two.", finish_reason: str = "stop") -> Message:
    """As if a runner had ended it."""
    fields = {"status": status, "text": text, "finish_reason": finish_reason, "ended_at": timezone.now()}
    Message.objects.filter(pk=reply.pk).update(**fields)
    reply.refresh_from_db()
    return reply


def ask(
    conversation: Conversation, user: User, text: str = "What is 1 + 1?", **options: Any
) -> tuple[Message, Message]:
    """A question and its reply, which has ended."""
    asked = conversation.post(user, text, f"c{Message.objects.count()}", **options)
    assert asked.message is not None
    return asked.message, end(asked.reply)


@pytest.fixture
def asked(conversation: Conversation, alice: User) -> tuple[Message, Message]:
    return ask(conversation, alice)


# Every command, and who may give it


def first(conversation: Conversation) -> str:
    return str(conversation.messages.order_by("pk").values_list("pk", flat=True).first())


def last(conversation: Conversation) -> str:
    return str(conversation.messages.order_by("-pk").values_list("pk", flat=True).first())


COMMANDS: dict[str, Command] = {
    "post": lambda c, user: c.post(user, "Hi", "new"),
    "edit": lambda c, user: c.edit(user, first(c), "new", "Hello"),
    "retry": lambda c, user: c.retry(user, last(c), "new"),
    "continue": lambda c, user: c.continue_reply(user, last(c), "new"),
    "select": lambda c, user: c.select_branch(user, first(c)),
    "rename": lambda c, user: c.rename(user, "Sums"),
    "keep": lambda c, user: c.keep(user),
    "delete_branch": lambda c, user: c.delete_branch(user, last(c)),
    "change_settings": lambda c, user: c.change_settings(user, "Be brief.", {}),
    "stop": lambda c, user: c.reply_to_stop(user, last(c)),
    "remove": lambda c, user: c.remove(user),
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, conversation: Conversation, alice: User) -> Command:
    """Each command, on a conversation in which alice may give it."""
    _, reply = ask(conversation, alice)
    end(reply, Status.INTERRUPTED)
    return COMMANDS[request.param]


def test_the_owner_may_give_every_command(command: Command, conversation: Conversation, alice: User) -> None:
    assert refusal(lambda: command(conversation, alice)) == ""


def test_a_writer_may_give_every_command_but_delete(command: Command, conversation: Conversation, bob: User) -> None:
    join(bob, conversation)
    expected = "forbidden" if command in (COMMANDS["remove"], COMMANDS["delete_branch"]) else ""
    assert refusal(lambda: command(conversation, bob)) == expected


def test_a_reader_may_give_none(command: Command, conversation: Conversation, bob: User) -> None:
    join(bob, conversation, Role.READER)
    assert refusal(lambda: command(conversation, bob)) == "forbidden"


def test_charlie_finds_nothing_to_command(command: Command, conversation: Conversation, charlie: User) -> None:
    assert refusal(lambda: command(conversation, charlie)) == "not_found"


def test_who_was_removed_finds_nothing(command: Command, conversation: Conversation, bob: User) -> None:
    join(bob, conversation)
    loaded = Conversation.objects.visible_to(bob).get()
    Membership.objects.filter(user=bob).delete()
    assert refusal(lambda: command(loaded, bob)) == "not_found"


def test_who_was_deactivated_finds_nothing(command: Command, conversation: Conversation, alice: User) -> None:
    alice.is_active = False
    alice.save()
    assert refusal(lambda: command(conversation, alice)) == "not_found"


def test_what_is_gone_is_not_found(command: Command, conversation: Conversation, alice: User) -> None:
    Conversation.objects.get(pk=conversation.pk).remove(alice)
    assert refusal(lambda: command(conversation, alice)) == "not_found"


def test_a_refused_command_changes_nothing(command: Command, conversation: Conversation, charlie: User) -> None:
    before = list(Conversation.objects.values()), list(Message.objects.values()), Change.objects.count()
    refusal(lambda: command(conversation, charlie))
    assert (list(Conversation.objects.values()), list(Message.objects.values()), Change.objects.count()) == before


# Seeing


def test_members_see_a_conversation_with_their_role(conversation: Conversation, alice: User, bob: User) -> None:
    join(bob, conversation, Role.READER)
    roles = [Conversation.objects.visible_to(user).get().my_role for user in (alice, bob)]
    assert roles == [Role.OWNER, Role.READER]


def test_charlie_sees_nothing(conversation: Conversation, charlie: User) -> None:
    assert Conversation.objects.exists()
    assert not Conversation.objects.visible_to(charlie).exists()


def test_who_is_not_signed_in_or_not_active_sees_nothing(conversation: Conversation, alice: User) -> None:
    alice.is_active = False
    assert not Conversation.objects.visible_to(AnonymousUser()).exists()
    assert not Conversation.objects.visible_to(alice).exists()


def test_the_newest_activity_comes_first(alice: User) -> None:
    first, second = Conversation.start(alice), Conversation.start(alice)
    # Clocks of databases count milliseconds, and both may be of the same one.
    Membership.objects.update(updated_at=timezone.now() - timedelta(seconds=1))
    first.post(alice, "Hi", "a1")
    assert list(Conversation.objects.visible_to(alice).newest_first()) == [first, second]


def test_a_conversation_in_which_somebody_is_answered_is_running(conversation: Conversation, alice: User) -> None:
    def running() -> bool:
        found: bool = Conversation.objects.with_running().get().running  # type: ignore[attr-defined]
        return found

    assert not running()
    exchange = conversation.post(alice, "Hi", "a1")
    assert running()
    end(exchange.reply)
    assert not running()


# Posting


def test_a_question_and_its_queued_reply_are_stored_together(conversation: Conversation, alice: User) -> None:
    exchange = conversation.post(alice, "Hi", "a1", model="small")
    asked, reply = Message.objects.order_by("pk")
    assert exchange == Exchange(asked, reply)
    assert (asked.role, asked.author, asked.text, asked.status, asked.parent) == ("user", alice, "Hi", "done", None)
    assert (reply.role, reply.author, reply.text, reply.status, reply.parent) == (
        "assistant",
        None,
        "",
        "queued",
        asked,
    )
    assert (reply.model, conversation.model, conversation.head) == ("small", "small", reply)


def test_the_next_question_follows_the_shown_branch(conversation: Conversation, alice: User, asked: Any) -> None:
    message, _ = ask(conversation, alice, "And 2 + 2?")
    assert message.parent == asked[1]


def test_a_question_may_follow_any_message(conversation: Conversation, alice: User, asked: Any) -> None:
    ask(conversation, alice, "And 2 + 2?")
    message, _ = ask(conversation, alice, "And 3 + 3?", parent=str(asked[1].pk))
    assert message.parent == asked[1]


@pytest.mark.parametrize("again", ["same", "other text", "other user", "while it runs"])
def test_the_same_client_id_is_the_same_exchange(
    conversation: Conversation, alice: User, bob: User, again: str
) -> None:
    join(bob, conversation)
    first = conversation.post(alice, "Hi", "a1")
    if again != "while it runs":
        end(first.reply)
    user, text = (bob if again == "other user" else alice), ("Hello" if again == "other text" else "Hi")
    version = Conversation.objects.get().version
    assert conversation.post(user, text, "a1") == first
    assert (Message.objects.count(), Conversation.objects.get().version) == (2, version)


def test_the_same_client_id_elsewhere_is_something_else(alice: User) -> None:
    exchanges = [Conversation.start(alice).post(alice, "Hi", "a1") for _ in range(2)]
    assert exchanges[0] != exchanges[1]


def test_a_client_id_of_something_else_is_refused(conversation: Conversation, alice: User, asked: Any) -> None:
    question, reply = (str(message.pk) for message in asked)
    conversation.retry(alice, reply, "of a reply")
    conversation.post(alice, "Hi", "of a question", parent=reply)
    assert refusal(lambda: conversation.post(alice, "Hi", "of a reply")) == "invalid"
    assert refusal(lambda: conversation.edit(alice, question, "of a reply", "Hi")) == "invalid"
    assert refusal(lambda: conversation.retry(alice, reply, "of a question")) == "invalid"
    assert refusal(lambda: conversation.continue_reply(alice, reply, "of a question")) == "invalid"


@pytest.mark.parametrize(
    ("client_id", "code"),
    [("", "invalid"), ("a" * 64, ""), ("a" * 65, "invalid"), ("a\x00", "invalid"), ("\ud83d", "invalid")],
)
def test_a_client_id_has_1_to_64_characters(conversation: Conversation, alice: User, client_id: str, code: str) -> None:
    assert refusal(lambda: conversation.post(alice, "Hi", client_id)) == code


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u3000"])
def test_an_empty_message_is_refused(conversation: Conversation, alice: User, text: str) -> None:
    assert refusal(lambda: conversation.post(alice, text, "a1")) == "invalid"


@pytest.mark.parametrize(("length", "code"), [(10, ""), (11, "too_large")])
def test_a_message_is_refused_one_past_the_limit(
    conversation: Conversation, alice: User, asked: Any, chat: Chat, length: int, code: str
) -> None:
    chat(message_characters=10)
    assert refusal(lambda: conversation.post(alice, "😀" * length, "a1")) == code
    assert refusal(lambda: conversation.edit(alice, str(asked[0].pk), "a2", "😀" * length)) == code


def test_what_cannot_be_stored_of_a_message_is_replaced(conversation: Conversation, alice: User) -> None:
    message, _ = ask(conversation, alice, "a\x00b\ud83dc")
    message.refresh_from_db()
    assert message.text == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


@pytest.mark.parametrize("model", ["x" * 300, "a\x00b", "\ud83d"])
def test_any_name_of_a_model_can_be_stored(conversation: Conversation, alice: User, model: str) -> None:
    first = conversation.post(alice, "Hi", "a1", model=model)
    second = conversation.retry(alice, str(end(first.reply).pk), "a2", model)
    assert second.reply.model == Conversation.start(alice, model).model == conversation.model


@pytest.mark.parametrize("state", [Status.QUEUED, Status.STREAMING])
def test_while_a_reply_runs_the_next_question_waits(
    conversation: Conversation, alice: User, asked: Any, state: Status
) -> None:
    Message.objects.filter(pk=asked[1].pk).update(status=state)
    assert refusal(lambda: conversation.post(alice, "And 2 + 2?", "a1")) == "busy"
    assert refusal(lambda: conversation.retry(alice, str(asked[1].pk), "a2")) == "busy"
    assert refusal(lambda: conversation.continue_reply(alice, str(asked[1].pk), "a3")) == "busy"
    assert refusal(lambda: conversation.edit(alice, str(asked[0].pk), "a4", "What is 2 + 2?")) == ""


@pytest.mark.parametrize("pk", ["", "x", "-1", "0", "9" * 18, "9" * 40, "²", "١", "1.0", " 1", "None", "\x00"])
def test_any_id_that_is_no_message_here_is_not_found(
    conversation: Conversation, alice: User, asked: Any, pk: str
) -> None:
    assert refusal(lambda: conversation.post(alice, "Hi", "a1", parent=pk)) == "not_found"
    assert refusal(lambda: conversation.select_branch(alice, pk)) == "not_found"
    assert refusal(lambda: conversation.reply_to_stop(alice, pk)) == "not_found"


def test_a_message_of_another_conversation_is_not_found(conversation: Conversation, alice: User, bob: User) -> None:
    question, reply = (str(message.pk) for message in ask(Conversation.start(bob), bob))
    for command in (
        lambda: conversation.post(alice, "Hi", "a1", parent=reply),
        lambda: conversation.edit(alice, question, "a1", "Hi"),
        lambda: conversation.retry(alice, reply, "a1"),
        lambda: conversation.continue_reply(alice, reply, "a1"),
        lambda: conversation.select_branch(alice, reply),
        lambda: conversation.reply_to_stop(alice, reply),
    ):
        assert refusal(command) == "not_found"


# Editing, trying again, going on


def test_an_edit_is_a_branch_beside_the_old_words(conversation: Conversation, alice: User, asked: Any) -> None:
    edited = conversation.edit(alice, str(asked[0].pk), "a1", "What is 2 + 2?")
    asked[0].refresh_from_db()
    assert edited.message is not None
    assert (asked[0].text, edited.message.parent, conversation.head) == ("What is 1 + 1?", None, edited.reply)


def test_only_a_question_can_be_edited(conversation: Conversation, alice: User, asked: Any) -> None:
    assert refusal(lambda: conversation.edit(alice, str(asked[1].pk), "a1", "Three.")) == "invalid"


def test_another_try_is_a_reply_beside_the_old_one(conversation: Conversation, alice: User, asked: Any) -> None:
    exchange = conversation.retry(alice, str(asked[1].pk), "a1", "large")
    assert exchange.message is None
    assert (exchange.reply.parent, exchange.reply.model, exchange.reply.status) == (asked[0], "large", "queued")


def test_only_a_reply_can_be_tried_again(conversation: Conversation, alice: User, asked: Any) -> None:
    assert refusal(lambda: conversation.retry(alice, str(asked[0].pk), "a1")) == "invalid"
    assert refusal(lambda: conversation.continue_reply(alice, str(asked[0].pk), "a1")) == "invalid"


def test_a_longer_reply_begins_with_the_words_of_the_one_cut_off(
    conversation: Conversation, alice: User, asked: Any
) -> None:
    end(asked[1], Status.STOPPED, "Once upon")
    longer = conversation.continue_reply(alice, str(asked[1].pk), "a1").reply
    assert grown_texts([longer.pk]) == {longer.pk: {"text": "Once upon", "reasoning": ""}}
    assert longer.parent == asked[0]


@pytest.mark.parametrize(
    ("status", "text", "finish_reason", "code"),
    [
        (Status.STOPPED, "a", "", ""),
        (Status.INTERRUPTED, "a", "", ""),
        (Status.FAILED, "a", "", ""),
        (Status.DONE, "a", "length", ""),
        (Status.DONE, "a", "stop", "invalid"),
        (Status.INTERRUPTED, "", "", "invalid"),
    ],
)
def test_only_what_was_cut_off_can_go_on(
    conversation: Conversation, alice: User, asked: Any, status: Status, text: str, finish_reason: str, code: str
) -> None:
    end(asked[1], status, text, finish_reason)
    assert refusal(lambda: conversation.continue_reply(alice, str(asked[1].pk), "a1")) == code


@pytest.mark.parametrize("name", ["edit", "retry", "continue"])
def test_the_same_client_id_is_the_same_reply_by_any_command(
    conversation: Conversation, alice: User, asked: Any, name: str
) -> None:
    end(asked[1], Status.STOPPED)
    first = COMMANDS[name](conversation, alice)
    count = Message.objects.count()
    again = {
        "edit": lambda: conversation.edit(alice, str(asked[0].pk), "new", "Hello"),
        "retry": lambda: conversation.retry(alice, str(asked[1].pk), "new"),
        "continue": lambda: conversation.continue_reply(alice, str(asked[1].pk), "new"),
    }[name]()
    assert (again, Message.objects.count()) == (first, count)


def test_what_runs_can_be_stopped_and_what_has_ended_needs_no_stop(conversation: Conversation, alice: User) -> None:
    reply = conversation.post(alice, "Hi", "a1").reply
    assert conversation.reply_to_stop(alice, str(reply.pk)) == reply
    end(reply)
    assert conversation.reply_to_stop(alice, str(reply.pk)) is None


# Branches


def test_a_branch_leads_to_its_newest_leaf(conversation: Conversation, alice: User, asked: Any) -> None:
    _, old_leaf = ask(conversation, alice, "And 2 + 2?")
    edited = conversation.edit(alice, str(asked[0].pk), "a1", "What is 3 + 3?")
    assert edited.message is not None
    leaf = {message.pk: message.newest_leaf() for message in Message.objects.all()}
    assert leaf[asked[0].pk] == leaf[asked[1].pk] == leaf[old_leaf.pk] == old_leaf
    assert leaf[edited.message.pk] == leaf[edited.reply.pk] == edited.reply


def test_selecting_a_branch_shows_it_down_to_its_leaf(conversation: Conversation, alice: User, asked: Any) -> None:
    _, old_leaf = ask(conversation, alice, "And 2 + 2?")
    edited = conversation.edit(alice, str(asked[0].pk), "a1", "What is 3 + 3?")
    conversation.select_branch(alice, str(asked[0].pk))
    assert (Conversation.objects.get().head, len(conversation.branch(10))) == (old_leaf, 4)
    conversation.select_branch(alice, str(edited.reply.pk))
    assert [message.pk for message in conversation.branch(10)] == [
        edited.message and edited.message.pk,
        edited.reply.pk,
    ]


def test_selecting_what_is_shown_changes_nothing(conversation: Conversation, alice: User, asked: Any) -> None:
    version = conversation.version
    conversation.select_branch(alice, str(asked[0].pk))
    assert Conversation.objects.get().version == version


def test_the_path_to_a_leaf_is_read_from_its_end(conversation: Conversation, alice: User) -> None:
    pks = [message.pk for number in range(4) for message in ask(conversation, alice, f"{number}?")]
    assert [message.pk for message in conversation.branch(100)] == pks
    assert [message.pk for message in conversation.branch(3)] == pks[-3:]
    before = Message.objects.get(pk=pks[3])
    assert [message.pk for message in conversation.branch(2, before)] == pks[1:3]
    assert conversation.branch(5, Message.objects.get(pk=pks[0])) == []


def test_an_empty_conversation_has_an_empty_branch(conversation: Conversation) -> None:
    assert conversation.branch(10) == []


def test_the_cost_of_a_branch_does_not_grow_with_it(
    conversation: Conversation, alice: User, django_assert_num_queries: Any
) -> None:
    first, _ = ask(conversation, alice)
    for number in range(5):
        ask(conversation, alice, f"{number}?")
        with django_assert_num_queries(1):
            conversation.branch(50)
        with django_assert_num_queries(1):
            first.newest_leaf()


# Titles


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is 1 + 1?", "What is 1 + 1?"),
        ("\n\n  First line  \nsecond", "First line"),
        ("一加一等于几？\n谢谢", "一加一等于几？"),
        ("# A heading\ntext", "A heading"),
        ("> quoted", "quoted"),
        ("- an item", "an item"),
        ("👩‍👩‍👧‍👦 family", "👩‍👩‍👧‍👦 family"),
        ("***", "***"),
        ("many   spaces\there", "many spaces here"),
    ],
)
def test_the_first_line_becomes_the_title(conversation: Conversation, alice: User, text: str, title: str) -> None:
    ask(conversation, alice, text)
    assert Conversation.objects.get().title == title


def test_a_title_that_was_given_stays(conversation: Conversation, alice: User) -> None:
    conversation.rename(alice, "Sums")
    ask(conversation, alice)
    assert Conversation.objects.get().title == "Sums"


@pytest.mark.parametrize(("length", "code"), [(10, ""), (11, "too_large")])
def test_a_title_is_refused_one_past_the_limit(
    conversation: Conversation, alice: User, chat: Chat, length: int, code: str
) -> None:
    chat(title_characters=10)
    assert refusal(lambda: conversation.rename(alice, "数" * length)) == code


@pytest.mark.parametrize("title", ["", "  ", "\n"])
def test_an_empty_title_is_refused(conversation: Conversation, alice: User, title: str) -> None:
    assert refusal(lambda: conversation.rename(alice, title)) == "invalid"


def test_a_title_is_one_line_that_can_be_stored(conversation: Conversation, alice: User) -> None:
    conversation.rename(alice, " a\nb\x00\tc ")
    assert Conversation.objects.get().title == "a b\N{REPLACEMENT CHARACTER} c"


def test_the_same_title_again_changes_nothing(conversation: Conversation, alice: User) -> None:
    for _ in range(2):
        conversation.rename(alice, "Sums")
    assert Conversation.objects.get().version == 1


# How much at once


@pytest.mark.parametrize(("running", "code"), [(2, ""), (3, "busy")])
def test_so_many_replies_of_a_user_run_at_once(alice: User, bob: User, chat: Chat, running: int, code: str) -> None:
    chat(running_per_user=3)
    for _ in range(running):
        Conversation.start(alice).post(alice, "Hi", "a1")
    assert refusal(lambda: Conversation.start(alice).post(alice, "Hi", "a1")) == code
    assert refusal(lambda: Conversation.start(bob).post(bob, "Hi", "a1")) == ""


def test_the_limit_counts_every_kind_of_reply(conversation: Conversation, alice: User, chat: Chat) -> None:
    question, reply = ask(conversation, alice)
    end(reply, Status.STOPPED)
    Conversation.start(alice).post(alice, "Hi", "a1")
    chat(running_per_user=1)
    assert refusal(lambda: conversation.retry(alice, str(reply.pk), "a1")) == "busy"
    assert refusal(lambda: conversation.continue_reply(alice, str(reply.pk), "a2")) == "busy"
    assert refusal(lambda: conversation.edit(alice, str(question.pk), "a3", "Hello")) == "busy"


@pytest.mark.parametrize(("seconds_ago", "code"), [(9.0, "too_fast"), (10.1, "")])
def test_an_interval_lies_between_two_questions(
    alice: User, asked: Any, chat: Chat, seconds_ago: float, code: str
) -> None:
    chat(interval_seconds=10)
    Message.objects.update(created_at=timezone.now() - timedelta(seconds=seconds_ago))
    assert refusal(lambda: Conversation.start(alice).post(alice, "Hi", "a1")) == code


def test_who_asks_too_fast_is_told_how_long_to_wait(
    conversation: Conversation, alice: User, asked: Any, chat: Chat
) -> None:
    chat(interval_seconds=10)
    with pytest.raises(Refused) as caught:
        conversation.post(alice, "Hi", "a1")
    assert 8 < caught.value.facts["retry_after"] <= 10


def test_the_interval_of_alice_does_not_hold_up_bob(
    conversation: Conversation, bob: User, asked: Any, chat: Chat
) -> None:
    chat(interval_seconds=10)
    join(bob, conversation)
    assert refusal(lambda: conversation.post(bob, "Hi", "b1")) == ""


def test_another_reply_counts_for_who_wants_it(
    conversation: Conversation, alice: User, bob: User, asked: Any, chat: Chat
) -> None:
    join(bob, conversation)
    end(asked[1], Status.STOPPED)
    conversation.retry(bob, str(asked[1].pk), "b1")
    chat(running_per_user=1)
    assert refusal(lambda: Conversation.start(bob).post(bob, "Hi", "b2")) == "busy"
    assert refusal(lambda: Conversation.start(alice).post(alice, "Hi", "a2")) == ""


# Versions


def test_every_lasting_change_has_a_version_without_gaps(conversation: Conversation, alice: User, asked: Any) -> None:
    conversation.rename(alice, "Sums")
    conversation.edit(alice, str(asked[0].pk), "a1", "Hello")
    conversation.select_branch(alice, str(asked[0].pk))
    changes = list(conversation.changes.order_by("version").values_list("version", "kind", "data"))
    assert [version for version, _, _ in changes] == list(range(1, conversation.version + 1))
    assert changes[-1][1:] == ("conversation_changed", {"head": str(asked[1].pk)})


def test_changes_after_a_version_lead_to_the_newest(conversation: Conversation, alice: User, asked: Any) -> None:
    newest = conversation.version
    for version in range(newest + 1):
        changes = conversation.changes_after(version, 100)
        assert changes is not None
        assert [change.version for change in changes] == list(range(version + 1, newest + 1))


@pytest.mark.parametrize("version", [-1, 4, 10**30])
def test_a_version_that_never_was_needs_a_snapshot(conversation: Conversation, asked: Any, version: int) -> None:
    assert conversation.version == 3
    assert conversation.changes_after(version, 100) is None


def test_more_changes_than_asked_for_need_a_snapshot(conversation: Conversation, asked: Any) -> None:
    assert len(conversation.changes_after(1, 2) or ()) == 2
    assert conversation.changes_after(0, 2) is None


def test_changes_that_were_forgotten_need_a_snapshot(conversation: Conversation, asked: Any) -> None:
    conversation.changes.filter(version=2).delete()
    assert conversation.changes_after(0, 100) is None
    assert conversation.changes_after(2, 100) is not None


# What grows, and what goes


def test_grown_texts_join_the_pieces_of_each_part(conversation: Conversation, alice: User) -> None:
    reply = conversation.post(alice, "Hi", "a1").reply
    for part, start, text in (("text", 2, "c"), ("text", 0, "ab"), ("reasoning", 0, "hm")):
        Piece.objects.create(reply=reply, part=part, start=start, text=text)
    assert grown_texts([reply.pk, 0]) == {
        reply.pk: {"text": "abc", "reasoning": "hm"},
        0: {"text": "", "reasoning": ""},
    }


def test_a_grown_text_ends_where_the_database_has_lost_a_piece(conversation: Conversation, alice: User) -> None:
    reply = conversation.post(alice, "What is 1 + 1?", "c1").reply
    for start, text in ((0, "One and"), (11, " is two.")):
        Piece.objects.create(reply=reply, part=Piece.Part.TEXT, start=start, text=text)
    assert grown_texts([reply.pk])[reply.pk]["text"] == "One and"


def test_grown_texts_of_nothing_are_none() -> None:
    assert grown_texts([]) == {}


def test_two_pieces_cannot_claim_the_same_place(conversation: Conversation, alice: User) -> None:
    reply = conversation.post(alice, "Hi", "a1").reply
    Piece.objects.create(reply=reply, part="text", start=0, text="a")
    with pytest.raises(IntegrityError), transaction.atomic():
        Piece.objects.create(reply=reply, part="text", start=0, text="b")


def test_removing_takes_all_that_was_said_with_it(
    conversation: Conversation, alice: User, asked: Any, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[Any] = []
    signals.removed.connect(lambda **facts: told.append(facts["user_ids"]), weak=False, dispatch_uid="test")
    pk = conversation.pk
    with django_capture_on_commit_callbacks(execute=True):
        conversation.erase()
    signals.removed.disconnect(dispatch_uid="test")
    rows = [
        kind.objects.filter(**{name: pk}).count()
        for kind, name in ((Message, "conversation"), (Change, "conversation"))
    ]
    assert (rows, Conversation.objects.count(), told) == ([0, 0], 0, [[alice.pk]])


def test_a_conversation_of_many_branches_can_be_removed(conversation: Conversation, alice: User, asked: Any) -> None:
    for number in range(3):
        ask(conversation, alice, f"{number}?")
        conversation.edit(alice, str(asked[0].pk), f"e{number}", "Hello")
        Message.objects.running().update(status=Status.DONE)
    conversation.erase()
    assert not Message.objects.exists()


# Races


@pytest.mark.django_db(transaction=True)
def test_many_who_post_the_same_at_once_post_it_once(conversation: Conversation, alice: User) -> None:
    def post(number: int) -> Exchange:
        return Conversation.objects.visible_to(alice).get().post(alice, "Hi", "a1")

    exchanges = together(post)
    assert {exchange.reply.pk for exchange in exchanges} == {exchanges[0].reply.pk}
    assert Message.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_many_who_write_at_once_get_versions_without_gaps(
    conversation: Conversation, alice: User, bob: User, chat: Chat
) -> None:
    chat(running_per_user=100)
    join(bob, conversation)
    question, _ = ask(conversation, alice)

    def write(number: int) -> None:
        user = (alice, bob)[number % 2]
        for turn in range(3):
            found = Conversation.objects.visible_to(user).get()
            found.edit(user, str(question.pk), f"{number}.{turn}", "Hello")
            found.rename(user, f"{number}.{turn}")

    together(write)
    version = Conversation.objects.get().version
    assert version == 3 + 8 * 3 * 3
    assert sorted(conversation.changes.values_list("version", flat=True)) == list(range(1, version + 1))


@pytest.mark.django_db(transaction=True)
def test_of_many_questions_at_once_one_is_answered_and_the_others_wait(conversation: Conversation, alice: User) -> None:
    def post(number: int) -> str:
        return refusal(lambda: Conversation.objects.visible_to(alice).get().post(alice, "Hi", f"a{number}"))

    assert sorted(together(post)) == ["", *["busy"] * 7]


@pytest.mark.django_db(transaction=True)
def test_the_limit_of_a_user_holds_in_many_conversations_at_once(alice: User, chat: Chat) -> None:
    chat(running_per_user=3)
    rooms = [Conversation.start(alice) for _ in range(8)]
    codes = together(lambda number: refusal(lambda: rooms[number].post(alice, "Hi", "a1")))
    assert sorted(codes) == [*[""] * 3, *["busy"] * 5]


@pytest.mark.django_db(transaction=True)
def test_what_is_removed_while_others_write_is_gone(conversation: Conversation, alice: User, chat: Chat) -> None:
    chat(undo_seconds=0)
    loaded = [Conversation.objects.get() for _ in range(8)]

    def act(number: int) -> str:
        found = loaded[number]
        return refusal(lambda: found.remove(alice) if number == 0 else found.rename(alice, f"{number}"))

    assert set(together(act)) <= {"", "not_found"}
    assert not Conversation.objects.exists()
    assert not Change.objects.exists()
