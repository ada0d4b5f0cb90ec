"""Temporary conversations: in no list and no search, kept if somebody wants so, erased when nobody looks any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from conversations import finding, search, temporary, wire
from conversations.models import Change, Conversation, Membership, Message, Piece, Role, Shelf
from conversations.refusals import Refused
from conversations.search import SearchTerms
from conversations.sidebar import load_page
from conversations.status import Status
from streaming.readings import load_sidebar_entries
from tests.conftest import Chat
from tests.plans import way_of_statement

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(hours=3)


@pytest.fixture
def passing(alice: User) -> Conversation:
    """A temporary conversation of alice with a question about teapots, and its reply."""
    found = Conversation.start(alice, looked_at=timezone.now())
    asked = found.post(alice, "Where is the teapot?", "1")
    Message.objects.filter(pk=asked.reply.pk).update(status=Status.DONE, text="In the kitchen.")
    return found


def age(**times: timedelta) -> None:
    """Make it look as though that had been so long ago; all of it, where nothing is named."""
    ages = times or {"looked_at": LONG_AGO, "updated_at": LONG_AGO}
    Conversation.objects.update(**{name: timezone.now() - ago for name, ago in ages.items()})


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


# Where it is not


def test_it_is_in_no_list_and_no_search(passing: Conversation, alice: User) -> None:
    assert not SearchTerms.objects.exists()
    for shelf in Shelf:
        passing.put_on(alice, shelf)
        shown = load_page(alice, shelf=shelf)
        assert (shown.entries, shown.pinned) == ([], [])
    found = finding.find(alice, "teapot")
    assert (found.hits, found.conversations) == ([], [])
    assert load_sidebar_entries(str(passing.pk)) == []


def test_it_is_there_for_whoever_has_its_address_and_may_see_it(
    passing: Conversation, alice: User, charlie: User
) -> None:
    address = reverse("conversation", args=[passing.pk])
    page = signed_in(alice).get(address).content.decode()
    assert "This conversation is temporary" in page
    assert "60 minutes" in page
    assert signed_in(charlie).get(address).status_code == 404
    assert wire.snapshot(Conversation.objects.visible_to(alice).get(), alice)["conversation"]["temporary"] is True


def test_the_form_of_a_new_conversation_can_ask_for_it(alice: User) -> None:
    for client_id, more in (("1", {"temporary": "1"}), ("2", {})):
        signed_in(alice).post(reverse("conversations"), {"text": client_id, "client_id": client_id, **more})
    assert [found.is_temporary for found in Conversation.objects.order_by("created_at")] == [True, False]


def test_the_admin_lists_it_as_what_it_is(
    admin_client: Client, passing: Conversation, conversation: Conversation
) -> None:
    list_of = reverse("admin:conversations_conversation_changelist")
    page = admin_client.get(list_of).content.decode()
    assert page.count('<span class="badge">temporary</span>') == 1
    only = admin_client.get(f"{list_of}?temporary=1").content.decode()
    assert (str(passing.pk) in only, str(conversation.pk) in only) == (True, False)
    detail = admin_client.get(reverse("admin:conversations_conversation_change", args=[passing.pk])).content.decode()
    assert "erased 60 minutes after" in detail


# Keeping it


def test_what_is_kept_after_all_is_listed_found_and_told_of(passing: Conversation, alice: User) -> None:
    passing.keep(alice)
    passing.keep(alice)
    search.take_in()
    assert [entry["id"] for entry in load_page(alice).entries] == [str(passing.pk)]
    assert {hit.message.text for hit in finding.find(alice, "teapot").hits} == {"Where is the teapot?"}
    assert len(finding.find(alice, "kitchen").hits) == 1
    told = wire.changes_as_json(passing.changes.filter(kind=Change.Kind.CONVERSATION_CHANGED))
    assert [event for event in told if "temporary" in event] == [
        {"type": "conversation_changed", "version": passing.version, "temporary": False}
    ]
    age(updated_at=LONG_AGO)
    assert temporary.load_due() == []
    passing.post(alice, "And the kettle?", "2")
    assert finding.find(alice, "kettle").hits


def test_the_form_keeps_it_without_scripts(passing: Conversation, alice: User, bob: User, charlie: User) -> None:
    Membership.objects.create(user=bob, conversation=passing, role=Role.READER)
    address = reverse("conversation-keep", args=[passing.pk])
    assert signed_in(charlie).post(address).status_code == 404
    pages = [signed_in(each).get(reverse("conversation", args=[passing.pk])).content.decode() for each in (alice, bob)]
    assert [address in page for page in pages] == [True, False]
    signed_in(bob).post(address)
    assert Conversation.objects.get().is_temporary
    with pytest.raises(Refused):
        passing.keep(bob)
    assert signed_in(alice).post(address).status_code == 302
    assert not Conversation.objects.get().is_temporary


# Erasing it


def test_all_of_it_goes_when_its_time_is_over(passing: Conversation) -> None:
    Piece.objects.create(reply=passing.messages.latest("pk"), part="text", start=0, text="In")
    age()
    assert temporary.load_due() == [passing.pk]
    assert temporary.erase(passing.pk)
    assert [rows.objects.count() for rows in (Conversation, Membership, Message, Piece, Change, SearchTerms)] == [0] * 6
    assert not temporary.erase(passing.pk)


def test_what_its_owner_deletes_is_gone_and_not_to_be_had_back(passing: Conversation, alice: User) -> None:
    answer = signed_in(alice).post(reverse("conversation-delete", args=[passing.pk]))
    assert answer["Location"] == "/"
    assert not Conversation.objects.exists()


@pytest.mark.parametrize(
    "why",
    [
        lambda found, alice: age(looked_at=timedelta(minutes=59), updated_at=LONG_AGO),
        lambda found, alice: age(looked_at=LONG_AGO, updated_at=timedelta(minutes=59)),
        lambda found, alice: found.messages.filter(role="assistant").update(status=Status.STREAMING),
        lambda found, alice: found.messages.filter(role="assistant").update(status=Status.QUEUED),
        lambda found, alice: temporary.look_at([found.pk]),
        lambda found, alice: temporary.note_looks(lambda pk: pk == str(found.pk)),
        lambda found, alice: signed_in(alice).get(reverse("conversation", args=[found.pk])),
        lambda found, alice: found.keep(alice),
        lambda found, alice: found.post(alice, "One more thing", "2"),
    ],
    ids=["looked at", "said", "streaming", "queued", "a look", "open here", "a page", "kept", "a question"],
)
def test_it_stays_while_somebody_needs_it(
    passing: Conversation, alice: User, why: Callable[[Conversation, User], Any]
) -> None:
    age()
    assert temporary.load_due() == [passing.pk]
    why(passing, alice)
    assert temporary.load_due() == []
    # Whoever had found it before is told under the lock.
    assert not temporary.erase(passing.pk)
    assert Conversation.objects.exists()


@pytest.mark.parametrize(("minutes", "is_due"), [(1, True), (9, False)])
def test_the_site_says_how_long(passing: Conversation, chat: Chat, minutes: int, is_due: bool) -> None:
    chat(temporary_minutes=minutes)
    age(looked_at=timedelta(minutes=5), updated_at=timedelta(minutes=5))
    assert bool(temporary.load_due()) is is_due


def test_who_has_it_open_says_so_before_half_the_time_is_over_and_not_with_each_look(passing: Conversation) -> None:
    age(looked_at=timedelta(minutes=29), updated_at=LONG_AGO)
    before = Conversation.objects.get().looked_at
    temporary.note_looks(lambda pk: True)
    assert Conversation.objects.get().looked_at == before
    age(looked_at=timedelta(minutes=31), updated_at=LONG_AGO)
    temporary.note_looks(lambda pk: False)
    temporary.note_looks(lambda pk: True)
    found = Conversation.objects.get().looked_at
    assert found is not None
    assert timezone.now() - found < timedelta(minutes=1)


def test_what_is_kept_is_never_due(conversation: Conversation) -> None:
    Conversation.objects.update(updated_at=timezone.now() - LONG_AGO)
    temporary.look_at([conversation.pk])
    assert not Conversation.objects.get().is_temporary
    assert not temporary.erase(conversation.pk)


def test_those_that_are_due_are_found_without_looking_at_all_conversations(conversation: Conversation) -> None:
    assert "temporary_conversations" in way_of_statement(*temporary.due().query.sql_with_params())


@pytest.mark.django_db(transaction=True)
def test_several_processes_erase_it_once(passing: Conversation) -> None:
    age()
    start, erased = threading.Barrier(4), list[Any]()

    def erase() -> None:
        start.wait()
        try:
            erased.append(temporary.erase(passing.pk))
        except Exception as error:
            erased.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=erase) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(erased, key=str) == [False, False, False, True]
    assert not Conversation.objects.exists()
