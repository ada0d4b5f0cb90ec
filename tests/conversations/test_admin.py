"""The history in the admin: what is found, how it is shown, and that nobody can change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from conversations import search
from conversations.admin import transcript
from conversations.admin.conversations import MOST_TO_ERASE
from conversations.admin.transcript import TRANSCRIPT_CHARACTERS
from conversations.models import Conversation, Membership, Message, Piece, Role
from conversations.status import Status
from tests.conftest import Chat
from tests.tab import Tab

CONVERSATIONS = "/admin/conversations/conversation/"
MESSAGES = "/admin/conversations/message/"
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def page_of(row: Conversation | Message) -> str:
    return reverse(f"admin:conversations_{row._meta.model_name}_change", args=[row.pk])


def shown(response: Any) -> str:
    """The page as it came, which must have come."""
    assert response.status_code == 200, response.status_code
    page: str = response.content.decode()
    return page


def say(
    user: User, conversation: Conversation, question: str, answer: str = "Well.", **fields: Any
) -> tuple[Message, Message]:
    """A question and the reply to it, which has ended."""
    asked = conversation.post(user, question, f"{conversation.messages.count()}-{question}"[:64])
    assert asked.message is not None
    end(asked.reply, answer, **fields)
    return asked.message, asked.reply


def end(reply: Message, text: str, **fields: Any) -> None:
    fields = {"status": Status.DONE, "model": "small", "provider": "Home", **fields}
    Message.objects.filter(pk=reply.pk).update(text=text, **fields)
    search.index(reply.pk, text)


@pytest.fixture(autouse=True)
def patient(chat: Chat) -> None:
    chat(interval_seconds=0, running_per_user=1000)


# Who is let in


@pytest.mark.django_db
@pytest.mark.parametrize("address", [CONVERSATIONS, MESSAGES])
def test_people_who_are_not_staff_are_kept_out(client: Client, charlie: User, address: str) -> None:
    client.force_login(charlie)
    assert client.get(address).status_code == 302
    assert client.get(address, follow=True).status_code == 403


@pytest.mark.django_db
@pytest.mark.parametrize("address", [CONVERSATIONS, MESSAGES])
def test_staff_without_the_permission_read_nothing(client: Client, bob: User, address: str) -> None:
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    client.force_login(bob)
    assert client.get(address).status_code == 403


@pytest.mark.django_db
def test_staff_with_the_permission_read_and_cannot_erase(
    client: Client, alice: User, bob: User, conversation: Conversation
) -> None:
    say(alice, conversation, "How do I brew tea?")
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    bob.user_permissions.set(Permission.objects.filter(codename__in=["view_conversation", "view_message"]))
    client.force_login(bob)
    assert "brew tea" in shown(client.get(page_of(conversation)))
    assert "erase" not in shown(client.get(page_of(conversation)))
    erase(client, conversation, confirmed="yes")
    assert Conversation.objects.filter(pk=conversation.pk).exists()


# Nothing is changed


@pytest.mark.django_db
@pytest.mark.parametrize("address", [CONVERSATIONS, MESSAGES])
def test_nothing_is_added(admin_client: Client, address: str) -> None:
    assert admin_client.get(f"{address}add/").status_code == 403
    assert admin_client.post(f"{address}add/", {"text": "made up"}).status_code == 403


@pytest.mark.django_db
def test_nothing_is_changed_or_deleted(admin_client: Client, alice: User, conversation: Conversation) -> None:
    question, _ = say(alice, conversation, "How do I brew tea?")
    before = list(Message.objects.values()), list(Conversation.objects.values())
    for row in (conversation, question):
        page = page_of(row)
        assert admin_client.post(page, {"text": "made up", "title": "made up"}).status_code == 403
        assert admin_client.post(page.replace("change", "delete"), {"post": "yes"}).status_code == 403
    assert (list(Message.objects.values()), list(Conversation.objects.values())) == before


@pytest.mark.django_db
@pytest.mark.parametrize("address", [CONVERSATIONS, MESSAGES])
def test_the_usual_way_to_delete_many_is_closed(
    admin_client: Client, alice: User, conversation: Conversation, address: str
) -> None:
    question, _ = say(alice, conversation, "How do I brew tea?")
    for pk in (question.pk, conversation.pk):
        form = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
        admin_client.post(address, form)
    assert Message.objects.count() == 2


# Lists


@pytest.mark.django_db
def test_a_conversation_is_listed_with_what_helps_to_find_it(
    admin_client: Client, alice: User, bob: User, conversation: Conversation
) -> None:
    say(alice, conversation, "How do I brew tea?")
    Membership.objects.create(conversation=conversation, user=bob, role=Role.READER)
    page = shown(admin_client.get(CONVERSATIONS))
    cells = re.findall(r'<t[hd] class="field-(\w+)[^>]*>(.*?)</t[hd]>', page)
    words = {name: re.sub(r"<[^>]+>", "", cell) for name, cell in cells}
    assert words["name"] == "How do I brew tea?"
    assert words["owner"] == "alice"
    assert (words["member_count"], words["message_count"]) == ("2", "2")
    assert words["running_now"] == "-"


@pytest.mark.django_db
def test_a_message_is_listed_with_what_helps_to_find_it(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 34, "cost": None, "estimated": True}
    say(alice, conversation, "How do I brew tea?", "Boil water. " * 50, usage=usage, status=Status.STOPPED)
    page = shown(admin_client.get(f"{MESSAGES}?role__exact=assistant"))
    cells = re.findall(r'<t[hd] class="field-(\w+)[^>]*>(.*?)</t[hd]>', page)
    words = {name: re.sub(r"<[^>]+>", "", cell) for name, cell in cells}
    assert words["excerpt"].startswith("Boil water. Boil water.")
    assert len(words["excerpt"]) <= 90
    assert words["said_by"] == "assistant small · Home"
    assert (words["state"], words["token_count"]) == ("stopped", "≈ 12 + 34")
    assert words["in_conversation"] == "How do I brew tea?"


def queries(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        shown(client.get(address))
    return [query["sql"] for query in captured]


@pytest.mark.django_db
@pytest.mark.parametrize("address", [CONVERSATIONS, MESSAGES, "/admin/auth/user/"])
def test_a_list_asks_the_database_as_often_for_many_rows_as_for_few(
    admin_client: Client, make_user: Callable[[str], User], address: str
) -> None:
    def more(start: int, count: int) -> None:
        for number in range(start, start + count):
            user = make_user(f"user{number}")
            say(user, Conversation.start(user), f"Question {number}", "word " * 1000)

    more(0, 2)
    queries(admin_client, address)  # fills the caches of content types
    few = queries(admin_client, address)
    more(2, 8)
    many = queries(admin_client, address)
    assert len(many) == len(few)
    assert len(few) <= 14


@pytest.mark.django_db
def test_no_list_loads_the_texts(admin_client: Client, alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?", "word " * 1000)
    column = '"conversations_message"."text"'
    for sql in queries(admin_client, CONVERSATIONS) + queries(admin_client, MESSAGES):
        # What remains is the part of it that is shown, cut by the database.
        assert column not in re.sub(r"SUBSTR(ING)?\([^)]*\)", "", sql, flags=re.IGNORECASE), sql


@pytest.mark.django_db
@pytest.mark.parametrize(
    "words", ["tea", "boil", "alice", "bob", "tea alice", "alic boi", "水", "烧水", "pot.fill(2)", "tea - water!"]
)
def test_a_conversation_is_found_by_what_was_said_and_by_whom(
    admin_client: Client, alice: User, bob: User, charlie: User, conversation: Conversation, words: str
) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water: pot.fill(2)，先烧水")
    Membership.objects.create(conversation=conversation, user=bob)
    other = Conversation.start(charlie)
    say(charlie, other, "And coffee?", "Grind beans.")
    page = shown(admin_client.get(CONVERSATIONS, {"q": words}))
    assert page_of(conversation) in page
    assert page_of(other) not in page


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    [
        "q=boil",
        "q=boi+water",
        "q=alice",
        "q=alice+how",
        "status=failed",
        "model=large",
        "provider=Away",
        "conversation={}",
        "role__exact=user",
    ],
)
def test_messages_are_searched_and_filtered(
    admin_client: Client, alice: User, bob: User, conversation: Conversation, query: str
) -> None:
    fields = {"status": Status.FAILED, "model": "large", "provider": "Away"}
    found = say(alice, conversation, "How?", "Boil water.", **fields)
    other = say(bob, Conversation.start(bob), "And coffee?", "Grind beans.")
    page = shown(admin_client.get(f"{MESSAGES}?{query.format(conversation.pk)}"))
    shown_rows = {row.pk for row in (*found, *other) if page_of(row) in page}
    assert shown_rows & {row.pk for row in found}
    if query != "role__exact=user":
        assert not shown_rows & {row.pk for row in other}
    else:
        assert shown_rows == {found[0].pk, other[0].pk}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "address",
    [
        f"{MESSAGES}?conversation=nonsense",
        f"{CONVERSATIONS}?member=nonsense",
        f"{CONVERSATIONS}?member=99999999999999999999",
        f"{MESSAGES}?status=nonsense",
        f"{MESSAGES}?q=%00",
    ],
)
def test_a_filter_that_means_nothing_does_no_harm(admin_client: Client, address: str) -> None:
    assert admin_client.get(address).status_code in (200, 302)


@pytest.mark.django_db
def test_conversations_of_one_person_are_a_link_away(
    admin_client: Client, alice: User, bob: User, conversation: Conversation
) -> None:
    link = f"{CONVERSATIONS}?member={alice.pk}"
    assert link in shown(admin_client.get("/admin/auth/user/"))
    other = Conversation.start(bob)
    page = shown(admin_client.get(link))
    assert page_of(conversation) in page
    assert page_of(other) not in page


@pytest.mark.django_db
def test_conversations_with_a_running_reply_can_be_picked(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    conversation.post(alice, "Still running?", "1")
    other = Conversation.start(alice)
    page = shown(admin_client.get(f"{CONVERSATIONS}?running=1"))
    assert page_of(conversation) in page
    assert page_of(other) not in page


# The transcript


@pytest.mark.django_db
def test_no_word_of_a_model_or_a_person_is_markup(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    error = {"code": "x", "detail": EVIL, "retryable": False}
    question, reply = say(
        alice, conversation, EVIL, EVIL, reasoning=EVIL, model=EVIL, provider=EVIL, finish_reason="x", error=error
    )
    conversation.rename(alice, EVIL)
    for address in (CONVERSATIONS, MESSAGES, page_of(conversation), page_of(question), page_of(reply)):
        page = shown(admin_client.get(address))
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert "<script>alert" not in shown(erase(admin_client, conversation))


@pytest.mark.django_db
def test_a_transcript_marks_branches_and_leads_to_them(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    question, reply = say(alice, conversation, "How do I brew tea?", "Boil water.")
    other = conversation.retry(alice, str(reply.pk), "again").reply
    end(other, "Buy a kettle.")
    page = shown(admin_client.get(page_of(conversation)))
    assert "Buy a kettle." in page
    assert "Boil water." not in page
    assert f'href="?through={reply.pk}#message-{reply.pk}">1</a>' in page
    page = shown(admin_client.get(page_of(conversation), {"through": reply.pk}))
    assert "Boil water." in page
    assert "Buy a kettle." not in page
    assert "not the one that the members see" in page
    assert f'id="message-{question.pk}"' in page


@pytest.mark.django_db
def test_a_running_reply_is_shown_as_far_as_it_is(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    reply = conversation.post(alice, "How?", "1").reply
    Message.objects.filter(pk=reply.pk).update(status=Status.STREAMING)
    Piece.objects.create(reply=reply, part="text", start=0, text="Boil wa")
    for address in (page_of(conversation), page_of(reply)):
        page = shown(admin_client.get(address))
        assert "Boil wa" in page
        assert "badge-streaming" in page


@pytest.mark.django_db
def test_a_long_conversation_is_shown_in_parts(
    admin_client: Client, alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcript, "TRANSCRIPT_MESSAGES", 10)
    said = [say(alice, conversation, f"Question number {number}.") for number in range(9)]
    page = shown(admin_client.get(page_of(conversation)))
    assert page.count('class="turn ') == 10
    assert "Question number 3." not in page
    older = re.search(r'href="\?(through=\d+&amp;before=\d+)"', page)
    assert older is not None
    page = shown(admin_client.get(f"{page_of(conversation)}?{older[1].replace('&amp;', '&')}"))
    assert "Question number 3." in page
    assert page.count('class="turn ') == 8
    # A link from a list of messages leads to the message, also where it is far up.
    page = shown(admin_client.get(page_of(conversation), {"through": said[0][0].pk}))
    assert f'id="message-{said[0][0].pk}"' in page


@pytest.mark.django_db
def test_a_transcript_cuts_a_long_message_and_its_own_page_does_not(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    _, reply = say(alice, conversation, "How?", "w" * TRANSCRIPT_CHARACTERS + "THE END")
    assert "THE END" not in shown(admin_client.get(page_of(conversation)))
    assert "The whole message" in shown(admin_client.get(page_of(conversation)))
    assert "THE END" in shown(admin_client.get(page_of(reply)))


@pytest.mark.django_db
def test_a_transcript_asks_the_database_as_often_for_many_messages_as_for_few(
    admin_client: Client, alice: User, bob: User, conversation: Conversation
) -> None:
    Membership.objects.create(conversation=conversation, user=bob, role=Role.WRITER)
    say(alice, conversation, "First")
    queries(admin_client, page_of(conversation))
    few = queries(admin_client, page_of(conversation))
    for number in range(10):
        say(bob, conversation, f"Question {number}")
    assert len(queries(admin_client, page_of(conversation))) == len(few)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["through=nonsense", "before=99999999999999999999", "through=1&before=-1", "through=٣"]
)
def test_a_branch_that_does_not_exist_is_the_shown_one(
    admin_client: Client, alice: User, conversation: Conversation, query: str
) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water.")
    assert "Boil water." in shown(admin_client.get(f"{page_of(conversation)}?{query}"))


@pytest.mark.django_db
def test_a_conversation_without_a_word_has_a_page(admin_client: Client, conversation: Conversation) -> None:
    assert "Nothing has been said yet." in shown(admin_client.get(page_of(conversation)))


# Erasing


def erase(client: Client, *conversations: Conversation, **more: str) -> HttpResponse:
    form = {"action": "erase", "_selected_action": [str(c.pk) for c in conversations], **more}
    return client.post(CONVERSATIONS, form)  # type: ignore[return-value]


@pytest.mark.django_db
def test_erasing_asks_first(admin_client: Client, alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?")
    page = shown(erase(admin_client, conversation))
    assert "How do I brew tea?" in page
    assert "cannot be undone" in page
    assert Conversation.objects.filter(pk=conversation.pk).exists()


@pytest.mark.django_db
def test_erasing_takes_what_was_chosen_and_nothing_else(
    admin_client: Client, alice: User, conversation: Conversation
) -> None:
    other = Conversation.start(alice)
    for each in (conversation, other):
        say(alice, each, "How do I brew tea?")
    erase(admin_client, conversation, confirmed="yes")
    assert list(Conversation.objects.all()) == [other]
    assert Message.objects.count() == 2


@pytest.mark.django_db
def test_the_log_says_who_erased_and_not_what_was_said(
    admin_client: Client, admin_user: User, alice: User, conversation: Conversation
) -> None:
    say(alice, conversation, "How do I brew tea?")
    erase(admin_client, conversation, confirmed="yes")
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (admin_user, str(conversation.pk))
    assert "tea" not in f"{entry.object_repr} {entry.change_message}"


@pytest.mark.django_db
def test_too_many_at_once_are_refused_in_a_sentence(admin_client: Client) -> None:
    many = Conversation.objects.bulk_create([Conversation() for _ in range(MOST_TO_ERASE + 1)])
    page = shown(
        admin_client.post(CONVERSATIONS, {"action": "erase", "_selected_action": [c.pk for c in many]}, follow=True)
    )
    assert f"at most {MOST_TO_ERASE} conversations" in page
    assert Conversation.objects.count() == len(many)


@pytest.mark.django_db(transaction=True)
async def test_erasing_closes_open_tabs(
    alice_tab: Tab, conversation: Conversation, make_user: Callable[[str], User]
) -> None:
    def by_an_administrator() -> None:
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        erase(client, conversation, confirmed="yes")

    await database_sync_to_async(by_an_administrator)()
    assert await alice_tab.until_closed() == 4404
