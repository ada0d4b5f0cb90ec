"""Statements that are compiled once say the same as those that Django compiles each time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from conversations.models import Change, Conversation, Membership, Message, Role
from conversations.prepared import Parameter, Select, Update, insert, parameter, parameters
from conversations.search import SearchTerms
from conversations.status import Status

pytestmark = pytest.mark.django_db

VALUES = {
    "text": "你好 'quoted' %s %% \\ 🙂",
    "error": {"code": "cut_off", "detail": None, "retryable": True},
    "usage": None,
    "created_at": datetime(2026, 5, 4, 3, 2, 1, 987654, tzinfo=UTC),
    "ended_at": None,
}


def message(conversation: Conversation, **more: Any) -> Message:
    values = {"role": Message.Role.ASSISTANT, "status": Status.DONE, **VALUES, **more}
    return Message(conversation=conversation, **values)


def columns(pk: Any) -> dict[str, Any]:
    return {name: value for name, value in Message.objects.filter(pk=pk).values()[0].items() if name != "id"}


def test_a_row_is_inserted_as_save_would(conversation: Conversation) -> None:
    saved, inserted = message(conversation, client_id="a"), message(conversation, client_id="b")
    saved.save(force_insert=True)
    insert(inserted)
    assert columns(inserted.pk) == columns(saved.pk) | {"client_id": "b"}
    assert inserted.pk == saved.pk + 1
    inserted.text = "changed"
    inserted.save()
    assert Message.objects.get(pk=inserted.pk).text == "changed"


def test_a_key_that_is_no_number_is_kept(alice: User) -> None:
    pk = uuid.uuid4()
    insert(Conversation(pk=pk, title="Prepared"))
    assert Conversation.objects.get(title="Prepared").pk == pk


def test_a_field_with_words_of_its_own_around_a_value_keeps_them(conversation: Conversation) -> None:
    """The terms of a search are an array that PostgreSQL makes something of."""
    first, second = message(conversation), message(conversation)
    for each in (first, second):
        insert(each)
    insert(SearchTerms(message=first, terms={"one", "two"}))
    SearchTerms(message=second, terms={"one", "two"}).save(force_insert=True)
    kept = SearchTerms.objects.values_list("terms", flat=True)
    assert len(kept) == 2
    assert set(kept[0].split()) == set(kept[1].split())


def test_what_a_constraint_forbids_is_refused(conversation: Conversation) -> None:
    insert(message(conversation, client_id="twice"))
    with pytest.raises(IntegrityError), transaction.atomic():
        insert(message(conversation, client_id="twice"))


def test_a_query_is_answered_anew_each_time_and_compiled_once(conversation: Conversation) -> None:
    compiled = []

    def build() -> models.QuerySet[Message, Any]:
        compiled.append(1)
        mine = Message.objects.filter(conversation=parameter(Message, "conversation", "pk"))
        limits = mine.filter(pk__gt=Parameter("after", models.IntegerField()), status=Status.DONE)
        return limits.order_by("pk").values_list("conversation", "created_at", "error", "usage", "text")

    query = Select(build)
    assert query.rows(pk=conversation.pk, after=0) == []
    first = message(conversation)
    first.save()
    row = (conversation.pk, *(VALUES[name] for name in ("created_at", "error", "usage", "text")))
    assert query.rows(pk=conversation.pk, after=0) == [row]
    assert query.rows(pk=str(conversation.pk), after=first.pk) == []
    assert query.rows(pk=uuid.uuid4(), after=0) == []
    assert len(compiled) == 1


def test_rows_are_changed_and_counted(conversation: Conversation, alice: User) -> None:
    rename = Update(
        lambda: Conversation.objects.filter(
            pk=parameter(Conversation, "id", "pk"), title=parameter(Conversation, "title")
        ),
        title=parameter(Conversation, "title", "new"),
        version=F("version") + 1,
        updated_at=Now(),
    )
    Conversation.objects.filter(pk=conversation.pk).update(title="old", version=7, updated_at=VALUES["created_at"])
    assert rename.run(pk=conversation.pk, title="another", new="x") == 0
    assert rename.run(pk=conversation.pk, title="old", new="新's") == 1
    now = Conversation.objects.get(pk=conversation.pk)
    assert (now.title, now.version) == ("新's", 8)
    assert now.updated_at.year > 2025
    assert now.updated_at != VALUES["created_at"]


def test_a_statement_that_lacks_a_value_is_not_sent(conversation: Conversation) -> None:
    query = Select(lambda: Message.objects.filter(pk=parameter(Message, "id", "pk")).values_list("pk"))
    with CaptureQueriesContext(connection) as sent, pytest.raises(KeyError):
        query.rows()
    assert not sent.captured_queries


def test_what_a_question_costs_in_statements_does_not_grow(conversation: Conversation, alice: User) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as sent:
            conversation.post(alice, "How much?", str(uuid.uuid4()))
        Message.objects.running().update(status=Status.DONE)
        return len(sent)

    statements()
    few = statements()
    for number in range(30):
        other = User.objects.create(username=f"reader{number}")
        Membership.objects.create(conversation=conversation, user=other, role=Role.READER)
        statements()
    assert statements() == few
    assert Change.objects.filter(conversation=conversation).count() == Conversation.objects.get().version


LISTED = Select(
    lambda: (
        Membership.objects.filter(
            conversation_id__in=parameters(Membership, "conversation", "conversations"),
            user_id__in=parameters(Membership, "user", "users"),
        )
        .order_by("conversation_id")
        .values_list("conversation_id", "user_id")
    )
)
NAMED = Select(lambda: User.objects.filter(username__in=parameters(User, "username", "names")).values_list("pk"))


def test_a_list_of_values_is_one_value(alice: User, bob: User) -> None:
    mine, other = Conversation.start(alice), Conversation.start(alice)
    Conversation.start(bob)
    wanted = sorted([(mine.pk, alice.pk), (other.pk, alice.pk)])
    # Strings and UUIDs name the same row, as in any query.
    assert LISTED.rows(conversations=[str(mine.pk), other.pk], users={alice.pk}) == wanted
    assert LISTED.rows(conversations=[mine.pk, other.pk], users=[bob.pk]) == []
    assert LISTED.rows(conversations=[], users=[alice.pk]) == []
    assert NAMED.rows(names=["bob", 'it\'s "nobody", {} [] 你好 %s']) == [(bob.pk,)]


def test_a_list_may_have_more_values_than_a_statement_may_have_places(alice: User) -> None:
    Conversation.start(alice)
    many = [uuid.uuid4() for _ in range(40_000)]
    assert LISTED.rows(conversations=many, users=[alice.pk]) == []
