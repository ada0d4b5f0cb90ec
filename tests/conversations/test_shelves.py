"""What one keeps where in one's own list: pinned on top, put away, taken back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from conversations import signals
from conversations.finding import find
from conversations.models import Conversation, Membership, Message, Shelf
from conversations.sidebar import load_page
from conversations.status import Status
from tests.conftest import Chat

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def titled(user: User, title: str, shelf: Shelf = Shelf.LISTED) -> Conversation:
    conversation = Conversation.start(user)
    conversation.rename(user, title)
    conversation.put_on(user, shelf)
    # The database's clock has milliseconds, in which two of them fit.
    at = datetime(2026, 5, 4, tzinfo=UTC) + timedelta(seconds=Membership.objects.count())
    Membership.objects.filter(conversation=conversation).update(updated_at=at)
    return conversation


def lists(user: User) -> dict[str, list[str]]:
    page, archive = load_page(user), load_page(user, shelf=Shelf.ARCHIVED)
    found = {"pinned": page.pinned, "listed": page.entries, "archived": archive.entries}
    return {name: [entry["title"] for entry in entries] for name, entries in found.items()}


def put(browser: Client, conversation: Conversation, shelf: str, **more: str) -> int:
    address = reverse("conversation-shelf", args=[conversation.pk])
    return browser.post(address, {"shelf": shelf, **more}).status_code


def test_each_shelf_has_its_own_newest_first(alice: User) -> None:
    for title, shelf in [
        ("a", "pinned"),
        ("b", "listed"),
        ("c", "archived"),
        ("d", "pinned"),
        ("e", "listed"),
        ("f", "archived"),
    ]:
        titled(alice, title, Shelf(shelf))
    assert lists(alice) == {"pinned": ["d", "a"], "listed": ["e", "b"], "archived": ["f", "c"]}


def test_a_conversation_goes_from_shelf_to_shelf(browser: Client, alice: User, conversation: Conversation) -> None:
    conversation.rename(alice, "x")
    for shelf in ("pinned", "archived", "pinned", "listed", "listed"):
        assert put(browser, conversation, shelf) == 204
        assert lists(alice)[shelf] == ["x"]
        assert sum(map(len, lists(alice).values())) == 1


def test_the_list_of_others_stays_as_it_is(browser: Client, alice: User, bob: User, conversation: Conversation) -> None:
    conversation.rename(alice, "x")
    Membership.objects.create(conversation=conversation, user=bob)
    put(browser, conversation, "archived")
    assert (lists(alice)["archived"], lists(bob)["listed"]) == (["x"], ["x"])


def test_foreign_and_missing_conversations_are_not_found(browser: Client, bob: User) -> None:
    foreign = Conversation.start(bob)
    assert put(browser, foreign, "pinned") == 404
    assert browser.post(reverse("conversation-shelf", args=[uuid4()]), {"shelf": "pinned"}).status_code == 404
    assert lists(bob)["pinned"] == []


@pytest.mark.parametrize("shelf", ["", "attic", "PINNED", "\x00"])
def test_there_are_no_other_shelves(browser: Client, alice: User, conversation: Conversation, shelf: str) -> None:
    assert put(browser, conversation, shelf) == 400
    assert len(load_page(alice).entries) == 1


def test_who_writes_in_what_was_put_away_has_it_in_the_list_again(
    alice: User, bob: User, conversation: Conversation, chat: Chat
) -> None:
    chat(interval_seconds=0)
    Membership.objects.create(conversation=conversation, user=bob, role="writer")
    for user in (alice, bob):
        conversation.put_on(user, Shelf.ARCHIVED)
    reply = conversation.post(bob, "Still there?", "q1").reply
    assert (len(lists(bob)["listed"]), len(lists(alice)["archived"])) == (1, 1)
    Message.objects.filter(pk=reply.pk).update(status=Status.DONE)
    conversation.put_on(alice, Shelf.PINNED)
    conversation.post(alice, "Yes", "q2")
    assert len(lists(alice)["pinned"]) == 1


def test_what_was_put_away_is_found(alice: User) -> None:
    titled(alice, "Where the teapot is", Shelf.ARCHIVED)
    titled(alice, "Which teapot", Shelf.PINNED)
    assert [each.title for each in find(alice, "teapot").conversations] == ["Which teapot", "Where the teapot is"]
    assert find(alice, "").conversations == []


def test_other_tabs_are_told_once_it_is_committed(
    alice: User, conversation: Conversation, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    told = []

    def hear(conversation_id: object, **kwargs: object) -> None:
        told.append(conversation_id)

    signals.shelved.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            conversation.put_on(alice, Shelf.PINNED)
            assert told == []
        with django_capture_on_commit_callbacks(execute=True):
            conversation.put_on(alice, Shelf.PINNED)  # nothing changes
    finally:
        signals.shelved.disconnect(hear)
    assert told == [conversation.pk]


def test_the_archive_is_a_page_with_the_way_back(browser: Client, alice: User, chat: Chat) -> None:
    chat(sidebar_conversations=2)
    kept = [titled(alice, f"<b>{number}</b>", Shelf.ARCHIVED) for number in range(3)]
    page = browser.get(reverse("archive")).content.decode()
    assert "&lt;b&gt;2&lt;/b&gt;" in page
    assert "<b>2" not in page
    assert page.count('class="archived"') == 2
    [behind] = re.findall(r'href="(\?behind=[^"]+)"', page)
    assert browser.get(reverse("archive") + behind).content.decode().count('class="archived"') == 1
    assert put(browser, kept[0], "listed", back="1") == 302
    assert lists(alice)["listed"] == ["<b>0</b>"]


def test_an_empty_archive_says_what_it_is_for(browser: Client, alice: User) -> None:
    assert "Nothing is put away." in browser.get(reverse("archive")).content.decode()


def test_the_queries_of_the_list_do_not_grow(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(6):
        titled(alice, f"{number}", [*Shelf][number % 3])
    with django_assert_num_queries(2):
        load_page(alice)
