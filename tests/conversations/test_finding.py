"""What a person finds: all that she may read, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from conversations import finding, search
from conversations.finding import find
from conversations.models import Conversation, Membership, Message
from conversations.status import Status
from tests.conftest import Chat

pytestmark = pytest.mark.django_db

HOSTILE = "<img src=//evil.example onerror=alert(1)> teapot </mark><script>alert(1)</script>"


@pytest.fixture(autouse=True)
def patient(chat: Chat) -> None:
    chat(interval_seconds=0, running_per_user=1000)


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def say(user: User, conversation: Conversation, question: str, answer: str = "Hello") -> Message:
    """A question with its reply, which is returned."""
    reply = conversation.post(user, question, f"q{Message.objects.count()}").reply
    Message.objects.filter(pk=reply.pk).update(status=Status.DONE, text=answer, finish_reason="stop")
    search.index(reply.pk, answer)
    return reply


def texts(user: User, query: str) -> list[str]:
    return [hit.message.text for hit in find(user, query).hits]


def titles(user: User, query: str) -> list[str]:
    return [each.title for each in find(user, query).conversations]


def asked(browser: Client, **query: Any) -> Any:
    answer = browser.get(reverse("search"), query, headers={"Accept": "application/json"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    return answer.json()


# For whom


def test_nobody_finds_what_she_may_not_read(alice: User, bob: User, charlie: User, conversation: Conversation) -> None:
    say(alice, conversation, "Where is the teapot?", "The teapot is in the kitchen.")
    assert len(texts(alice, "teapot")) == 2
    assert (texts(charlie, "teapot"), titles(charlie, "teapot")) == ([], [])
    assert find(AnonymousUser(), "teapot").hits == []
    Membership.objects.create(conversation=conversation, user=charlie)
    assert len(texts(charlie, "teapot")) == 2
    Membership.objects.filter(user=charlie).delete()
    assert (texts(charlie, "teapot"), titles(charlie, "teapot")) == ([], [])


def test_who_was_deactivated_finds_nothing(alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "Where is the teapot?")
    alice.is_active = False
    assert (texts(alice, "teapot"), titles(alice, "")) == ([], [])


def test_who_is_signed_out_is_led_to_the_sign_in_page(client: Client) -> None:
    answer = client.get(reverse("search"), {"q": "teapot"})
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("account_login"))


# What


def test_messages_come_newest_first_in_pages(alice: User, conversation: Conversation) -> None:
    for number in range(13):
        say(alice, conversation, f"Question {number} about tea", f"Answer {number} about tea")
    first = find(alice, "tea")
    assert (len(first.hits), first.more) == (finding.MESSAGES_AT_ONCE, True)
    second = find(alice, "tea", before=first.last)
    assert (len(second.hits), second.more, second.last) == (26 - finding.MESSAGES_AT_ONCE, False, None)
    keys = [hit.message.pk for hit in [*first.hits, *second.hits]]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == 26


def test_titles_are_found_by_all_words_in_any_order_in_any_case(alice: User) -> None:
    for title in ("Заварить ЧАЙ", "Tea for two", "数据库连接池"):
        Conversation.start(alice).rename(alice, title)
    assert titles(alice, "чай") == ["Заварить ЧАЙ"]
    assert titles(alice, "TWO te") == ["Tea for two"]
    assert titles(alice, "连接") == ["数据库连接池"]
    assert titles(alice, "tea three") == []


def test_without_a_query_the_newest_conversations_come(alice: User, bob: User) -> None:
    for number in range(finding.TITLES_AT_ONCE + 3):
        conversation = Conversation.start(alice)
        conversation.rename(alice, f"Title {number}")
        # The database's clock has milliseconds, in which two of them fit.
        at = datetime(2026, 5, 4, 3, number, tzinfo=UTC)
        Membership.objects.filter(conversation=conversation).update(updated_at=at)
    Conversation.start(bob).rename(bob, "Of somebody else")
    found = find(alice, "")
    assert [each.title for each in found.conversations] == [f"Title {number}" for number in range(8, 2, -1)]
    assert found.hits == []


def test_titles_come_with_the_first_page_alone(alice: User, conversation: Conversation) -> None:
    reply = say(alice, conversation, "Where is the teapot?", "The teapot?")
    assert len(find(alice, "teapot").conversations) == 1
    assert find(alice, "teapot", before=reply.pk).conversations == []


def test_what_is_found_costs_the_same_however_much_it_is(alice: User) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            found = find(alice, "tea")
            assert all(hit.message.conversation.title and hit.excerpt.marks for hit in found.hits)
        return len(captured)

    counts = []
    for _ in range(5):
        conversation = Conversation.start(alice)
        for number in range(3):
            say(alice, conversation, f"Tea {number}?", "Tea.")
        counts.append(queries())
    assert counts == counts[:1] * 5


# What is said often, and what many have said


@pytest.mark.parametrize("query", ["tea", "tea cup"])
def test_the_newest_hits_come_first_wherever_they_stand(
    alice: User, bob: User, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Some are found among the newest hits of all people, some behind them, some are new to the index."""
    monkeypatch.setattr(search, "FIRST_HITS", (2, 3))
    monkeypatch.setattr(search, "OFTEN", 3)
    mine, others = Conversation.start(alice), Conversation.start(bob)
    said = []
    for number in range(12):
        if number == 8:
            search.take_in(100, 100_000)
        said.append(say(alice, mine, f"tea, cup and pot {number}"))
        for _ in range(number % 4):
            say(bob, others, f"my tea cup {number}")
    wanted = [reply.parent_id for reply in said[::-1]]
    messages = Message.objects.filter(conversation=mine)
    for count in (1, 3, 12, 20):
        assert search.newest(query, messages, count) == wanted[:count]
        assert search.newest(query, messages, count, few=lambda: messages) == wanted[:count]
        assert search.newest(query, messages, count, before=wanted[4]) == wanted[5:][:count]
    assert search.newest("coffee", messages, 3) == []


def test_of_a_beginning_with_many_words_all_are_found(
    alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_WORDS", 3)
    said = [say(alice, conversation, f"tea{letter}").parent_id for letter in "abcdef"]
    search.take_in(100, 100_000)
    assert search.newest("tea", Message.objects.all(), 20) == said[::-1]


# As JSON and as a page


def test_the_palette_is_told_where_the_hits_are(browser: Client, alice: User, conversation: Conversation) -> None:
    reply = say(alice, conversation, "请问 😀 数据库连接池怎么配置？", "It is all in the settings.")
    found = asked(browser, q="连接")
    [message] = found["messages"]
    assert message["id"] == str(reply.parent_id)
    assert (message["conversation"], message["role"], message["author"]["name"]) == (
        str(conversation.pk),
        "user",
        "alice",
    )
    [[start, end]] = message["marks"]
    assert message["text"][start:end] == "连接"
    assert not found["more"]
    [found_reply] = asked(browser, q="settings")["messages"]
    assert (found_reply["role"], found_reply["author"]) == ("assistant", None)


def test_words_of_others_become_no_markup(browser: Client, alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "Hi", HOSTILE)
    page = browser.get(reverse("search"), {"q": "teapot"}).content.decode()
    assert "<mark>teapot</mark>" in page
    assert "<img src=//evil" not in page
    assert "<script>alert" not in page


def test_the_page_says_when_nothing_was_found(browser: Client, alice: User) -> None:
    page = browser.get(reverse("search"), {"q": "no <b>such</b> thing"}).content.decode()
    assert "Nothing was found for “no &lt;b&gt;such&lt;/b&gt; thing”." in page
    chinese = browser.get(reverse("search"), {"q": "茶"}, headers={"Accept-Language": "zh-hans"}).content.decode()
    assert "没有找到“茶”。" in chinese


def test_the_page_leads_to_earlier_ones(browser: Client, alice: User, conversation: Conversation) -> None:
    for number in range(11):
        say(alice, conversation, f"Tea & milk {number}", "Tea")
    page = browser.get(reverse("search"), {"q": "tea"}).content.decode()
    last = find(alice, "tea").last
    assert f"?q=tea&amp;before={last}" in page
    assert page.count('class="search-hit"') == finding.MESSAGES_AT_ONCE + 1
    rest = browser.get(reverse("search"), {"q": "tea", "before": str(last)}).content.decode()
    assert rest.count('class="search-hit"') == 2


@pytest.mark.parametrize("before", ["", "x", "-1", "9" * 40, "½", "1 OR 1=1"])
def test_a_place_that_is_none_is_the_beginning(browser: Client, before: str) -> None:
    assert asked(browser, q="tea", before=before) == {"conversations": [], "messages": [], "more": False}


@pytest.mark.parametrize(
    "query", ["\x00", "'", '"', "%", "* OR *", "\ud800".encode("utf-8", "surrogatepass"), "a" * 10_000]
)
def test_any_query_is_answered(browser: Client, query: Any) -> None:
    assert asked(browser, q=query)["messages"] == []


# Going there


def island(browser: Client, conversation: Conversation, message: object) -> Any:
    answer = browser.get(reverse("conversation", args=[conversation.pk]), {"message": str(message)})
    assert answer.status_code == 200
    return answer.context["jump"]


def test_the_page_knows_whether_what_is_looked_for_is_shown(
    browser: Client, alice: User, conversation: Conversation
) -> None:
    first = say(alice, conversation, "First")
    second = say(alice, conversation, "Second")
    other = conversation.retry(alice, str(second.pk), "again").reply
    assert island(browser, conversation, first.pk) == {"message": str(first.pk), "shown": True}
    assert island(browser, conversation, other.pk) == {"message": str(other.pk), "shown": True}
    assert island(browser, conversation, second.pk) == {"message": str(second.pk), "shown": False}


@pytest.mark.parametrize("message", ["", "x", "999999999"])
def test_what_is_not_there_is_not_looked_for(browser: Client, conversation: Conversation, message: str) -> None:
    assert island(browser, conversation, message) is None


def test_a_message_of_another_conversation_is_not_looked_for(
    browser: Client, alice: User, bob: User, conversation: Conversation
) -> None:
    foreign = say(bob, Conversation.start(bob), "Secret")
    assert island(browser, conversation, foreign.pk) is None


def test_earlier_messages_come_as_far_as_one_that_is_looked_for(
    browser: Client, alice: User, conversation: Conversation, chat: Chat
) -> None:
    chat(page_messages=4)
    replies = [say(alice, conversation, f"Question {number}") for number in range(20)]

    def load(**query: Any) -> tuple[list[int], bool]:
        answer = browser.get(reverse("conversation-messages", args=[conversation.pk]), query).json()
        return [int(message["id"]) for message in answer["messages"]], answer["more"]

    keys = list(conversation.messages.order_by("pk").values_list("pk", flat=True))
    newest, target = replies[-1], replies[3]
    found, more = load(before=newest.pk, through=target.pk)
    place = keys.index(target.pk)
    assert (found, more) == (keys[place - 1 : keys.index(newest.pk)], True)
    assert load(before=newest.pk, through=keys[0]) == (keys[: keys.index(newest.pk)], False)
    # What is below, or nowhere, asks for no more than there is.
    assert load(before=target.pk, through=newest.pk) == (keys[:place], False)
    assert load(before=target.pk, through="x") == (keys[place - 4 : place], True)


def test_what_lies_between_comes_in_bounded_parts(
    browser: Client, alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conversations.wire.MANY_MESSAGES", 6)
    replies = [say(alice, conversation, f"Question {number}") for number in range(10)]
    address = reverse("conversation-messages", args=[conversation.pk])
    answer = browser.get(address, {"before": replies[-1].pk, "through": replies[0].pk}).json()
    assert (len(answer["messages"]), answer["more"]) == (6, True)
