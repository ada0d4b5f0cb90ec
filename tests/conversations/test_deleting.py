"""What was deleted: nobody sees it, its owner may have it back for a while, and then it is erased."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks

from conversations import signals
from conversations.finding import find
from conversations.models import Conversation, Membership, Message, Role, Shelf
from conversations.sidebar import load_page
from conversations.status import Status
from tests.cases import together
from tests.conftest import Chat

pytestmark = pytest.mark.django_db

AS_SCRIPT = {"HTTP_ACCEPT": "application/json"}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def teapot(alice: User, bob: User) -> Conversation:
    """Alice's, in which bob takes part."""
    conversation = Conversation.start(alice)
    Membership.objects.create(conversation=conversation, user=bob, role=Role.WRITER)
    reply = conversation.post(alice, "Where is the teapot?", "a1").reply
    Message.objects.filter(pk=reply.pk).update(status=Status.DONE, text="In the kitchen.")
    conversation.refresh_from_db()
    return conversation


def pass_by(conversation: Conversation, seconds: float) -> None:
    Conversation.objects.filter(pk=conversation.pk).update(deleted_at=Now() - timedelta(seconds=seconds))


def lines(user: User) -> list[str]:
    page = load_page(user)
    return [entry["title"] for entry in [*page.pinned, *page.entries, *load_page(user, shelf=Shelf.ARCHIVED).entries]]


def test_what_was_deleted_is_nowhere_to_be_found(teapot: Conversation, alice: User, bob: User) -> None:
    assert (lines(alice), len(find(alice, "teapot").hits)) == (["Where is the teapot?"], 1)
    teapot.remove(alice)
    for user in (alice, bob):
        assert not Conversation.objects.visible_to(user).exists()
        assert lines(user) == []
        found = find(user, "teapot")
        assert (found.conversations, found.hits) == ([], [])
    assert Message.objects.count() == 2


@pytest.mark.parametrize("name", ["conversation", "conversation-messages", "conversation-delete"])
def test_its_pages_are_missing(teapot: Conversation, alice: User, name: str) -> None:
    browser = signed_in(alice)
    address = reverse(name, args=[teapot.pk])
    assert browser.get(address).status_code in (200, 404)
    teapot.remove(alice)
    assert browser.get(address).status_code == 404
    assert browser.post(reverse("conversation-shelf", args=[teapot.pk]), {"shelf": "pinned"}).status_code == 404


def test_the_admin_does_not_show_it(teapot: Conversation, alice: User, admin_client: Client) -> None:
    pages = ["/admin/conversations/conversation/", "/admin/conversations/message/"]
    assert all("teapot" in admin_client.get(page).content.decode() for page in pages)
    teapot.remove(alice)
    assert not any("teapot" in admin_client.get(page).content.decode() for page in pages)


def test_the_owner_may_have_it_back(teapot: Conversation, alice: User, bob: User) -> None:
    teapot.remove(alice)
    assert Conversation.restore(alice, teapot.pk)
    assert lines(alice) == lines(bob) == ["Where is the teapot?"]
    assert not Conversation.restore(alice, teapot.pk)  # there is nothing to be had back


def test_nobody_else_may(teapot: Conversation, alice: User, bob: User, charlie: User) -> None:
    teapot.remove(alice)
    for user in (bob, charlie):
        assert not Conversation.restore(user, teapot.pk)
        assert signed_in(user).post(reverse("conversation-restore", args=[teapot.pk])).status_code == 404
        assert 'id="deleted"' not in signed_in(user).get(f"/?deleted={teapot.pk}").content.decode()
    alice.is_active = False
    alice.save()
    assert not Conversation.restore(alice, teapot.pk)
    assert not Conversation.objects.visible_to(bob).exists()


def test_after_a_while_it_is_too_late_and_all_of_it_is_erased(teapot: Conversation, alice: User, chat: Chat) -> None:
    chat(undo_seconds=30)
    teapot.remove(alice)
    pass_by(teapot, 29)
    assert not Conversation.erase_due()
    pass_by(teapot, 31)
    assert not Conversation.restore(alice, teapot.pk)
    assert Conversation.erase_due()
    assert not Conversation.erase_due()
    assert [kind.objects.count() for kind in (Conversation, Message, Membership)] == [0, 0, 0]


def test_what_was_not_deleted_is_never_erased(teapot: Conversation, alice: User, chat: Chat) -> None:
    chat(undo_seconds=0)
    assert not Conversation.erase_due()
    assert Conversation.objects.count() == 1


def test_without_time_to_undo_it_is_erased_at_once(teapot: Conversation, alice: User, chat: Chat) -> None:
    chat(undo_seconds=0)
    teapot.remove(alice)
    assert not Conversation.objects.exists()


def told_by(signal: Any, work: Callable[[], object], capture: Any) -> list[Any]:
    told: list[Any] = []
    signal.connect(lambda conversation_id, **facts: told.append(conversation_id), weak=False, dispatch_uid="test")
    try:
        with capture(execute=True):
            work()
    finally:
        signal.disconnect(dispatch_uid="test")
    return told


def test_other_tabs_are_told_of_both(
    teapot: Conversation, alice: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    capture = django_capture_on_commit_callbacks
    assert told_by(signals.removed, lambda: teapot.remove(alice), capture) == [teapot.pk]
    assert told_by(signals.shelved, lambda: Conversation.restore(alice, teapot.pk), capture) == [teapot.pk]


def test_a_browser_without_scripts_is_led_to_undo(teapot: Conversation, alice: User) -> None:
    browser = signed_in(alice)
    answer = browser.post(reverse("conversation-delete", args=[teapot.pk]))
    assert answer["Location"] == f"/?deleted={teapot.pk}"
    restore = reverse("conversation-restore", args=[teapot.pk])
    assert f'action="{restore}"' in browser.get(answer["Location"]).content.decode()
    assert browser.post(restore)["Location"] == reverse("conversation", args=[teapot.pk])
    assert 'id="deleted"' not in browser.get(answer["Location"]).content.decode()
    assert browser.get(reverse("conversation", args=[teapot.pk])).status_code == 200


@pytest.mark.parametrize("word", ["", "x", "\x00", "00000000-0000-0000-0000-000000000000"])
def test_nothing_is_offered_for_what_is_none(alice: User, word: str) -> None:
    page = signed_in(alice).get("/", {"deleted": word})
    assert (page.status_code, 'id="deleted"' in page.content.decode()) == (200, False)


def test_a_script_is_answered_without_a_page(teapot: Conversation, alice: User, bob: User) -> None:
    browser, address = signed_in(alice), reverse("conversation-delete", args=[teapot.pk])
    refused = signed_in(bob).post(address, **AS_SCRIPT)  # type: ignore[arg-type]
    assert (refused.status_code, refused.content.decode()) == (403, "Only its owner can delete this.")
    assert browser.post(address, **AS_SCRIPT).status_code == 204  # type: ignore[arg-type]
    restore = reverse("conversation-restore", args=[teapot.pk])
    assert browser.post(restore, **AS_SCRIPT).status_code == 204  # type: ignore[arg-type]
    assert lines(alice) == ["Where is the teapot?"]


@pytest.mark.django_db(transaction=True)
def test_of_many_processes_one_erases_it(conversation: Conversation, alice: User, chat: Chat) -> None:
    erased: list[Any] = []
    signals.removing.connect(lambda **facts: erased.append(facts), weak=False, dispatch_uid="test")
    chat(undo_seconds=30)
    conversation.remove(alice)
    pass_by(conversation, 31)
    together(lambda number: Conversation.erase_due())
    signals.removing.disconnect(dispatch_uid="test")
    assert (len(erased), Conversation.objects.count()) == (1, 0)


@pytest.mark.django_db(transaction=True)
def test_it_is_either_had_back_or_erased(conversation: Conversation, alice: User, chat: Chat) -> None:
    chat(undo_seconds=30)
    conversation.remove(alice)
    pass_by(conversation, 30.0)
    done = together(lambda n: Conversation.restore(alice, conversation.pk) if n % 2 else not Conversation.erase_due())
    assert Conversation.objects.visible_to(alice).exists() is any(done[1::2])
