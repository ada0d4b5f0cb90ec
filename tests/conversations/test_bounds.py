"""What does not grow with the history: how much is read for a page, a list, a prompt."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations import admin, wire
from conversations.admin import history
from conversations.models import Conversation, Membership, Message, Role, Shelf
from conversations.status import RUNNING, Status
from tests.cases import moment
from tests.conftest import Chat
from tests.plans import way_of_statement

pytestmark = pytest.mark.django_db

CONVERSATIONS = "/admin/conversations/conversation/"
MESSAGES = "/admin/conversations/message/"


def talk(user: User, conversation: Conversation, count: int, text: str = "word") -> list[Message]:
    """So many questions, each with its reply."""
    said = []
    for number in range(count):
        asked = conversation.post(user, text, f"{conversation.pk}{number}"[-64:])
        assert asked.message is not None
        Message.objects.filter(pk=asked.reply.pk).update(status=Status.DONE, text=text)
        said += [asked.message, asked.reply]
    return said


@pytest.fixture(autouse=True)
def patient(chat: Chat) -> None:
    chat(interval_seconds=0, running_per_user=1000)


def way_of(rows: QuerySet[Any]) -> str:
    return way_of_statement(*rows.query.sql_with_params())


#: The statement for the rows of a page of a list: it has the columns of all.
IS_PAGE = re.compile(r'^SELECT "conversations_(message|conversation)"."(id|head_id)", .* ORDER BY [^()]*$', re.DOTALL)
SORTS = re.compile(r"TEMP B-TREE|Sort Key")


# The sidebar


def test_the_newest_on_a_shelf_are_read_in_the_order_of_an_index(alice: User) -> None:
    way = way_of(Conversation.objects.visible_to(alice).with_running().on_shelf(Shelf.LISTED)[:50])
    assert "newest_on_a_shelf" in way
    assert not SORTS.search(way), way
    assert "running_replies" in way


@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (lambda alice: Message.objects.running(), "running_replies"),
        (lambda alice: Message.objects.running().filter(asked_by=alice), "running_replies_of_a_person"),
        (lambda alice: Message.objects.with_status(Status.STREAMING), "running_replies"),
        (lambda alice: Message.objects.with_status(Status.FAILED), "broken_replies"),
    ],
)
def test_replies_that_are_not_just_done_are_found_without_reading_the_history(
    alice: User, rows: Callable[[User], QuerySet[Message]], index: str
) -> None:
    assert index in way_of(rows(alice))


def test_each_status_is_told_from_the_rest(alice: User, conversation: Conversation) -> None:
    reply = conversation.post(alice, "How?", "1").reply
    for status in Status:
        Message.objects.filter(pk=reply.pk).update(status=status)
        assert Message.objects.running().filter(pk=reply.pk).exists() is (status in RUNNING)
        found = [each for each in Status if Message.objects.with_status(each).filter(pk=reply.pk).exists()]
        assert found == [status]


def test_each_change_of_a_conversation_is_one_for_all_its_members(alice: User, bob: User) -> None:
    first, second = Conversation.start(alice), Conversation.start(alice)
    Membership.objects.create(conversation=first, user=bob, role=Role.WRITER)
    moment()
    talk(alice, second, 1)
    assert list(Conversation.objects.visible_to(alice).newest_first()) == [second, first]
    moment()
    talk(alice, first, 1)
    for person in (alice, bob):
        assert Conversation.objects.visible_to(person).newest_first()[0] == first
    for membership in Membership.objects.select_related("conversation"):
        assert membership.updated_at == membership.conversation.updated_at


def test_who_is_invited_finds_a_conversation_at_its_time(alice: User, bob: User) -> None:
    long_ago = timezone.now() - timedelta(days=300)
    old = Conversation.objects.create(updated_at=long_ago)
    newer = Conversation.start(bob)
    assert Membership.objects.create(conversation=old, user=bob).updated_at == long_ago
    assert list(Conversation.objects.visible_to(bob).newest_first()) == [newer, old]


def test_memberships_from_before_are_given_the_time_of_their_conversation(alice: User) -> None:
    conversations = [Conversation.start(alice) for _ in range(3)]
    Membership.objects.update(updated_at=datetime(2001, 1, 1, tzinfo=UTC))
    migration = importlib.import_module("conversations.migrations.0004_bounded_lists")
    with connection.cursor() as cursor:
        cursor.execute(migration.TIMES)
    times = {found.conversation_id: found.updated_at for found in Membership.objects.all()}
    assert times == {conversation.pk: conversation.updated_at for conversation in conversations}


# Branches


def test_a_way_ends_where_there_is_enough_text(alice: User, conversation: Conversation) -> None:
    said = talk(alice, conversation, 5, "ten signs.")
    leaf = said[-1].pk
    assert list(Message.objects.path_to(leaf, 100, 25)) == said[-3:]
    assert list(Message.objects.path_to(leaf, 100, 30)) == said[-3:]
    assert list(Message.objects.path_to(leaf, 100, 31)) == said[-4:]
    assert list(Message.objects.path_to(leaf, 2, 31)) == said[-2:]
    assert list(Message.objects.path_to(leaf, 100, 1)) == said[-1:]
    assert list(Message.objects.path_to(leaf, 100)) == said


def test_reasoning_is_text_too(alice: User, conversation: Conversation) -> None:
    said = talk(alice, conversation, 2, "ten signs.")
    Message.objects.filter(pk=said[-1].pk).update(reasoning="x" * 100)
    assert list(Message.objects.path_to(said[-1].pk, 100, 50)) == said[-1:]
    assert list(Message.objects.path_to(said[-1].pk, 100, 50, parts=["text"])) == said


@pytest.mark.parametrize(
    ("characters", "shown", "more"), [(100, 10, False), (99, 9, True), (20, 2, True), (19, 1, True), (1, 1, True)]
)
def test_no_more_of_a_branch_is_read_than_a_page_holds(
    alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, characters: int, shown: int, more: bool
) -> None:
    said = talk(alice, conversation, 5, "ten signs.")
    monkeypatch.setattr(wire, "PAGE_CHARACTERS", characters)
    read: list[Message] = []
    fit = wire._newest_that_fit

    def fit_and_tell(messages: Sequence[Message]) -> Sequence[Message]:
        read.extend(messages)
        return fit(messages)

    monkeypatch.setattr(wire, "_newest_that_fit", fit_and_tell)
    conversation.refresh_from_db()
    page, has_more = wire.page_as_json(conversation)
    assert [message["id"] for message in page] == [str(message.pk) for message in said[-shown:]]
    assert has_more is more
    assert len(read) <= shown + 1


def test_other_wordings_are_found_without_looking_through_their_conversation(
    alice: User, conversation: Conversation
) -> None:
    said = talk(alice, conversation, 2)
    with CaptureQueriesContext(connection) as captured:
        assert wire.siblings_of(said) == {None if n == 0 else said[n - 1].pk: [said[n].pk] for n in range(4)}
    ways = [way_of_statement(query["sql"]) for query in captured.captured_queries]
    assert len(ways) == 2
    assert "parent_id" in ways[0]
    assert "first_messages" in ways[1]


# Lists of the history


def asked(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(address).status_code == 200
    return [query["sql"] for query in captured]


@pytest.mark.parametrize(
    "address",
    [CONVERSATIONS, MESSAGES, f"{MESSAGES}?created_at__year=2026", f"{MESSAGES}?status=failed", f"{MESSAGES}?p=2"],
)
def test_no_list_asks_for_all_rows(
    admin_client: Client, alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setattr(history.History, "list_per_page", 5)
    said = talk(alice, conversation, 8)
    Message.objects.filter(pk__in=[message.pk for message in said]).update(status=Status.FAILED)
    for sql in asked(admin_client, address):
        if re.search(r'FROM "conversations_(message|conversation)"', sql):
            assert "LIMIT" in sql, sql


def test_a_list_counts_as_far_as_its_pages_lead(
    admin_client: Client, alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROWS_COUNTED", 10)
    monkeypatch.setattr(admin.MessageAdmin, "list_per_page", 5)
    monkeypatch.setattr(admin.MessageAdmin, "list_max_show_all", 5)
    talk(alice, conversation, 4)
    assert "8 messages" in admin_client.get(MESSAGES).content.decode()
    talk(alice, Conversation.start(alice), 4)
    page = admin_client.get(MESSAGES).content.decode()
    assert "The first 10" in page
    assert "?p=2" in page
    assert "?p=3" not in page
    assert not [
        sql for sql in asked(admin_client, MESSAGES) if "COUNT(*)" in sql and "LIMIT 10" not in sql and "message" in sql
    ]


def test_the_end_of_what_is_counted_is_told_in_ones_own_language(
    admin_client: Client, alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ROWS_COUNTED", 2)
    talk(alice, conversation, 1)
    assert "前 2 条" in admin_client.get(MESSAGES, headers={"Accept-Language": "zh-hans"}).content.decode()


@pytest.mark.parametrize("address", [CONVERSATIONS, MESSAGES])
def test_a_list_is_sorted_by_what_an_index_has_in_order(admin_client: Client, address: str) -> None:
    ordered = {
        sql for column in range(1, 8) for sql in asked(admin_client, f"{address}?o={column}") if "ORDER BY" in sql
    }
    sorted_by = {column for sql in ordered for column in re.findall(r'ORDER BY "[a-z_]+"\."(\w+)"', sql)}
    assert sorted_by <= {"id", "updated_at", "created_at"}, sorted_by


@pytest.mark.parametrize(
    ("address", "index"),
    [
        (CONVERSATIONS, "updated_at"),
        (f"{CONVERSATIONS}?member={{alice}}", "newest_of_a_person"),
        (MESSAGES, "created_at"),
        (f"{MESSAGES}?created_at__year=2026", "created_at"),
        (f"{MESSAGES}?status=failed", "broken_replies"),
        (f"{MESSAGES}?conversation={{conversation}}", "conversation_id"),
    ],
)
def test_a_page_is_read_from_an_index_in_its_order(
    admin_client: Client, alice: User, conversation: Conversation, address: str, index: str
) -> None:
    said = talk(alice, conversation, 1)
    times = {"status": Status.FAILED, "created_at": datetime(2026, 5, 5, tzinfo=UTC)}
    Message.objects.filter(pk__in=[message.pk for message in said]).update(**times)
    # What a list of one page asks for is what a longer one asks for, but for the LIMIT.
    sql = next(
        sql
        for sql in asked(admin_client, address.format(alice=alice.pk, conversation=conversation.pk))
        if IS_PAGE.search(sql)
    )
    way = way_of_statement(f"{sql} LIMIT 50")
    assert index in way, way
    # What remains to be sorted are rows of the same time.
    assert "B-TREE FOR ORDER BY" not in way, way
    assert "Sort Key" not in way or "Presorted Key" in way, way


# Periods


def at(*times: str) -> None:
    conversation = Conversation.objects.create()
    for time in times:
        Message.objects.create(
            conversation=conversation,
            role="user",
            text="?",
            status="done",
            created_at=datetime.fromisoformat(f"{time}T12:00Z"),
        )


def periods(client: Client, query: str = "") -> list[str]:
    """Return the words of the links to periods, the way back first."""
    page = client.get(f"{MESSAGES}?{query}").content.decode()
    found = re.search(r'<nav class="toplinks">(.*?)</nav>', page, re.DOTALL)
    return [] if found is None else re.findall(r">\s*([^<>]+?)\s*</a>", unescape(found[1]))


def test_periods_begin_with_the_oldest_and_end_with_the_newest(admin_client: Client) -> None:
    at("2024-11-30", "2025-06-15", "2026-02-03")
    assert periods(admin_client) == ["2024", "2025", "2026"]
    assert periods(admin_client, "created_at__year=2024") == ["‹ All dates", "November 2024", "December 2024"]
    assert periods(admin_client, "created_at__year=2026") == ["‹ All dates", "January 2026", "February 2026"]
    february = periods(admin_client, "created_at__year=2026&created_at__month=2")
    assert february == ["‹ 2026", "February 1", "February 2", "February 3"]
    day = "created_at__year=2026&created_at__month=2&created_at__day=3"
    assert periods(admin_client, day) == ["‹ February 2026"]


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ((), []),
        (("2026-02-03",), ["February 3"]),
        (("2026-02-03", "2026-02-05"), ["February 3", "February 4", "February 5"]),
        (("2026-02-03", "2026-03-01"), ["February 2026", "March 2026"]),
    ],
)
def test_a_single_period_is_gone_into_at_once(admin_client: Client, times: tuple[str, ...], shown: list[str]) -> None:
    at(*times)
    assert periods(admin_client) == shown


def test_a_period_shows_what_was_said_in_it(admin_client: Client) -> None:
    at("2024-11-30", "2026-02-03")
    page = admin_client.get(f"{MESSAGES}?created_at__year=2026").content.decode()
    assert "1 message\n" in page
    rows = {str(pk) for pk in Message.objects.filter(created_at__year=2026).values_list("pk", flat=True)}
    assert set(re.findall(r"/message/(\d+)/change/", page)) == rows


@pytest.mark.parametrize(
    "query", ["created_at__year=x", "created_at__year=2026&created_at__month=13", "created_at__month=2"]
)
def test_a_period_that_does_not_exist_does_no_harm(admin_client: Client, query: str) -> None:
    at("2024-11-30", "2026-02-03")
    assert admin_client.get(f"{MESSAGES}?{query}").status_code in (200, 302)


def test_days_are_those_of_the_reader(admin_client: Client) -> None:
    conversation = Conversation.objects.create()
    late = datetime(2026, 2, 3, 20, tzinfo=UTC)
    Message.objects.create(conversation=conversation, role="user", text="?", status="done", created_at=late)
    with timezone.override("Asia/Shanghai"):
        assert periods(admin_client) == ["February 4"]
