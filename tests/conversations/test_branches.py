"""A message is deleted with all that follows it, and what is beside it is shown."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from conversations import search
from conversations.finding import find
from conversations.models import Change, Conversation, Membership, Message, Role
from conversations.refusals import Refused
from conversations.status import Status
from conversations.wire import changes_as_json
from streaming.models import Run

pytestmark = pytest.mark.django_db


@pytest.fixture
def tree(conversation: Conversation, alice: User) -> dict[str, Message]:
    r"""a ─ b ─ c ─ d      and beside b: e, beside c: f ─ g. The branch to g is shown."""
    said: dict[str, Message] = {}
    for name, parent in {"a": "", "b": "a", "e": "a", "c": "b", "d": "c", "f": "b", "g": "f"}.items():
        role = "user" if name in "acf" else "assistant"
        author = alice if role == "user" else None
        said[name] = Message.objects.create(
            conversation=conversation, parent=said.get(parent), role=role, author=author, text=f"word{name}",
            status=Status.DONE,
        )  # fmt: skip
        search.index(said[name].pk, said[name].text)
        if role == "assistant":
            Run.objects.create(reply=said[name], ended_at=said[name].created_at)
    show(conversation, said["g"])
    return said


def show(conversation: Conversation, message: Message) -> None:
    Conversation.objects.filter(pk=conversation.pk).update(head=message)


def delete(conversation: Conversation, user: User, message: Message) -> tuple[str, str]:
    """Delete a branch; what is left, and what is shown of it, by the last letters of their texts."""
    Conversation.objects.visible_to(user).get(pk=conversation.pk).delete_branch(user, str(message.pk))
    left = Message.objects.order_by("pk").values_list("text", flat=True)
    shown = Conversation.objects.get(pk=conversation.pk).branch(100)
    return "".join(text[-1] for text in left), "".join(message.text[-1] for message in shown)


@pytest.mark.parametrize(
    ("name", "left", "shown"),
    [
        ("g", "abecdf", "abf"),  # what it followed
        ("f", "abecd", "abcd"),  # the version before it
        ("c", "abefg", "abfg"),  # it is not shown
        ("d", "abecfg", "abfg"),
        ("e", "abcdfg", "abfg"),
        ("b", "ae", "ae"),  # the version after it
        ("a", "", ""),
    ],
)
def test_all_that_follows_goes_and_the_nearest_is_shown(
    conversation: Conversation, alice: User, tree: dict[str, Message], name: str, left: str, shown: str
) -> None:
    assert delete(conversation, alice, tree[name]) == (left, shown)
    assert Run.objects.count() == sum(letter in "bdeg" for letter in left)
    found = {hit.message.text for letter in "abcdefg" for hit in find(alice, f"word{letter}").hits}
    assert found == {f"word{letter}" for letter in left}


def test_the_event_names_it_and_the_branch_that_is_shown(
    conversation: Conversation, alice: User, tree: dict[str, Message]
) -> None:
    before = Conversation.objects.get().version
    delete(conversation, alice, tree["c"])
    delete(conversation, alice, tree["g"])
    delete(conversation, alice, tree["a"])
    changes = Conversation.objects.get().changes_after(before, 10)
    assert changes is not None
    assert [event | {"version": 0} for event in changes_as_json(changes)] == [
        {"type": "conversation_changed", "version": 0, "removed": str(tree["c"].pk)},
        {"type": "conversation_changed", "version": 0, "removed": str(tree["g"].pk), "head": str(tree["f"].pk)},
        {"type": "conversation_changed", "version": 0, "removed": str(tree["a"].pk), "head": None},
    ]


def test_who_comes_from_before_is_given_a_snapshot(conversation: Conversation, alice: User) -> None:
    asked = conversation.post(alice, "Hi", "a1")
    Message.objects.update(status=Status.DONE)
    conversation.delete_branch(alice, str(asked.reply.pk))
    now = Conversation.objects.get()
    assert now.changes_after(now.version - 1, 10) is not None
    assert now.changes_after(1, 10) is None  # the change that told of the reply went with it
    assert Change.objects.filter(message=asked.message).exists()


def test_after_the_last_message_one_may_begin_anew(
    conversation: Conversation, alice: User, tree: dict[str, Message]
) -> None:
    delete(conversation, alice, tree["a"])
    asked = Conversation.objects.visible_to(alice).get().post(alice, "Anew", "a1")
    assert asked.message is not None
    assert asked.message.parent_id is None


def test_what_is_being_written_is_not_deleted(
    conversation: Conversation, alice: User, tree: dict[str, Message]
) -> None:
    Message.objects.filter(pk=tree["d"].pk).update(status=Status.STREAMING)
    with pytest.raises(Refused) as refused:
        delete(conversation, alice, tree["b"])
    assert (refused.value.code, Message.objects.count()) == ("busy", 7)
    assert delete(conversation, alice, tree["f"]) == ("abecd", "abcd")


def test_others_delete_their_own_questions_alone(
    conversation: Conversation, alice: User, bob: User, tree: dict[str, Message]
) -> None:
    Membership.objects.create(conversation=conversation, user=bob, role=Role.WRITER)
    Message.objects.filter(pk=tree["f"].pk).update(author=bob)
    for name in "bcd":
        with pytest.raises(Refused, match="Only the owner"):
            delete(conversation, bob, tree[name])
    assert delete(conversation, bob, tree["g"])[0] == "abecdf"
    assert delete(conversation, bob, tree["f"])[0] == "abecd"


def test_a_message_of_elsewhere_is_not_found(alice: User, tree: dict[str, Message]) -> None:
    other = Conversation.start(alice)
    with pytest.raises(Refused) as refused:
        other.delete_branch(alice, str(tree["a"].pk))
    assert (refused.value.code, Message.objects.count()) == ("not_found", 7)


def test_a_long_branch_is_deleted(conversation: Conversation, alice: User) -> None:
    parent = first = Message.objects.create(conversation=conversation, role="user", text="0", status=Status.DONE)
    for number in range(1500):
        parent = Message.objects.create(
            conversation=conversation, parent=parent, role="user", text=f"{number}", status=Status.DONE
        )
    show(conversation, parent)
    assert delete(conversation, alice, first) == ("", "")


def test_the_page_says_how_many(
    client: Client, conversation: Conversation, alice: User, charlie: User, tree: dict[str, Message]
) -> None:
    address = reverse("conversation-branches", args=[conversation.pk])
    client.force_login(alice)
    assert [client.get(address, {"message": tree[name].pk}).json()["messages"] for name in "abg"] == [7, 5, 1]
    assert client.get(address, {"message": "x"}).status_code == 404
    client.force_login(charlie)
    assert client.get(address, {"message": tree["a"].pk}).status_code == 404
