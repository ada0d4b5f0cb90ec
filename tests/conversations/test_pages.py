"""The pages, as they leave the server: for whom, with what, and at what cost."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from conversations.models import Conversation, Membership, Message, Piece, Role
from conversations.status import Status
from tests.cases import moment
from tests.conftest import Chat

pytestmark = pytest.mark.django_db

HOSTILE = "<script>alert(1)</script><img src=//evil.example onerror=alert(1)>![x](//evil.example/q)</textarea></title>"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def browser(alice: User) -> Client:
    """Alice's."""
    return signed_in(alice)


def ask(user: User, conversation: Conversation, text: str = "Hi", answer: str = "Hello") -> Message:
    reply = conversation.post(user, text, f"a{Message.objects.count()}").reply
    Message.objects.filter(pk=reply.pk).update(status=Status.DONE, text=answer, finish_reason="stop")
    return reply


def page_of(conversation: Conversation) -> str:
    return reverse("conversation", args=[conversation.pk])


def addresses(pk: object) -> list[tuple[str, str]]:
    """All doors of one conversation."""
    names = [("get", "conversation"), ("get", "conversation-messages"), ("get", "conversation-delete")]
    names += [("post", "conversation-delete"), ("post", "conversation-restore")]
    return [(method, reverse(name, args=[pk])) for method, name in names]


# For whom


@pytest.mark.parametrize("name", ["home", "sidebar"])
def test_who_is_signed_out_is_led_to_the_sign_in_page(client: Client, name: str) -> None:
    answer = client.get(reverse(name))
    assert (answer.status_code, answer["Location"].partition("?")[0]) == (302, reverse("account_login"))


def test_who_is_signed_out_is_led_back_after_signing_in(client: Client, conversation: Conversation) -> None:
    answer = client.get(page_of(conversation))
    assert answer["Location"] == f"{reverse('account_login')}?next={page_of(conversation)}"


def test_who_is_signed_out_changes_nothing(client: Client, conversation: Conversation) -> None:
    for address in (reverse("conversations"), reverse("conversation-delete", args=[conversation.pk])):
        assert client.post(address, {"text": "Hi"}).status_code == 302
    assert Conversation.objects.count() == 1
    assert not Message.objects.exists()


def test_foreign_and_missing_are_the_same_404(conversation: Conversation, charlie: User) -> None:
    browser = signed_in(charlie)
    for foreign, missing in zip(addresses(conversation.pk), addresses(uuid4()), strict=True):
        answers = [getattr(browser, method)(address) for method, address in (foreign, missing)]
        assert [answer.status_code for answer in answers] == [404, 404]
        # Whatever is new in each answer, as the nonce of its policy, is no difference.
        bodies = [re.sub(r'(nonce|value)="[^"]+"', "", answer.content.decode()) for answer in answers]
        bodies = [body.replace(address, "") for body, (_, address) in zip(bodies, (foreign, missing), strict=True)]
        assert bodies[0] == bodies[1]
    assert Conversation.objects.exists()


def test_charlie_sees_no_word_of_it(conversation: Conversation, alice: User, charlie: User) -> None:
    ask(alice, conversation, "a secret")
    assert "a secret" in signed_in(alice).get("/").content.decode()
    assert "a secret" not in signed_in(charlie).get("/").content.decode()


def test_a_reader_may_look(conversation: Conversation, alice: User, bob: User) -> None:
    Membership.objects.create(user=bob, conversation=conversation, role=Role.READER)
    ask(alice, conversation, answer="the answer")
    assert "the answer" in signed_in(bob).get(page_of(conversation)).content.decode()


def test_no_page_of_a_person_is_kept_by_a_cache(browser: Client, conversation: Conversation) -> None:
    for address in (reverse("home"), page_of(conversation), reverse("sidebar")):
        assert "no-store" in browser.get(address)["Cache-Control"]


# A new conversation


def start(browser: Client, **form: str) -> Any:
    return browser.post(reverse("conversations"), form)


def test_the_page_of_a_new_conversation_has_a_composer(browser: Client) -> None:
    assert '<textarea id="text"' in browser.get("/").content.decode()


def test_a_text_becomes_the_first_message(browser: Client, alice: User) -> None:
    answer = start(browser, text="Hello\r\nyou", model="small")
    conversation = Conversation.objects.visible_to(alice).get()
    assert (answer.status_code, answer["Location"]) == (302, page_of(conversation))
    asked, reply = conversation.messages.order_by("pk")
    assert (asked.text, asked.author, reply.status, reply.model) == ("Hello\nyou", alice, "queued", "small")


@pytest.mark.parametrize("form", [{}, {"text": ""}, {"text": " \r\n "}])
def test_without_a_text_the_conversation_is_empty(browser: Client, form: dict[str, str]) -> None:
    answer = start(browser, **form)
    assert answer["Location"] == page_of(Conversation.objects.get())
    assert not Message.objects.exists()


@pytest.mark.parametrize(("length", "status"), [(10, 302), (11, 400)])
def test_a_text_one_past_the_limit_is_refused_and_kept(browser: Client, chat: Chat, length: int, status: int) -> None:
    chat(message_characters=10)
    answer = start(browser, text="字" * length)
    assert answer.status_code == status
    assert Conversation.objects.exists() is (status == 302)
    if status == 400:
        assert "字" * length in answer.content.decode()
        assert "at most 10 characters" in answer.content.decode()


def test_a_form_that_is_sent_twice_is_one_conversation(browser: Client) -> None:
    answers = [start(browser, text="Hi", client_id="c1") for _ in range(2)]
    assert answers[0]["Location"] == answers[1]["Location"]
    assert (Conversation.objects.count(), Message.objects.count()) == (1, 2)


def test_the_form_of_a_conversation_posts_there(browser: Client, conversation: Conversation) -> None:
    form = {"text": "More", "client_id": "1", "conversation": str(conversation.pk)}
    for _ in range(2):
        answer = browser.post(reverse("conversations"), form)
        assert answer.headers["Location"] == reverse("conversation", args=[conversation.pk])
    assert conversation.messages.filter(role="user", text="More").count() == 1


def test_what_is_refused_there_stays_in_the_form(browser: Client, conversation: Conversation) -> None:
    conversation.messages.create(role="assistant", status="streaming")
    Conversation.objects.update(head=conversation.messages.get())
    form = {"text": "Too early", "conversation": str(conversation.pk)}
    answer = browser.post(reverse("conversations"), form)
    assert answer.status_code == 400
    assert "Too early</textarea>" in answer.content.decode()


@pytest.mark.parametrize("name", ["foreign", "missing", "nonsense"])
def test_the_form_of_a_foreign_conversation_is_not_found(charlie: User, conversation: Conversation, name: str) -> None:
    named = {"foreign": str(conversation.pk), "missing": str(uuid4()), "nonsense": "nonsense"}[name]
    client = Client()
    client.force_login(charlie)
    assert client.post(reverse("conversations"), {"text": "Hello", "conversation": named}).status_code == 404
    assert not conversation.messages.exists()


def test_the_same_form_of_two_people_is_two_conversations(alice: User, bob: User) -> None:
    for user in (alice, bob):
        start(signed_in(user), text="Hi", client_id="c1")
    assert [Conversation.objects.visible_to(user).count() for user in (alice, bob)] == [1, 1]


@pytest.mark.parametrize("field", ["text", "model", "client_id"])
def test_odd_bytes_in_the_form_break_nothing(browser: Client, field: str) -> None:
    answer = start(browser, **{"text": "Hi", field: "a\x00b"})
    assert answer.status_code in (302, 400)


def test_a_form_of_another_site_is_refused(alice: User) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(alice)
    assert start(browser, text="Hi").status_code == 403
    assert not Conversation.objects.exists()


@pytest.mark.parametrize("name", ["conversations", "home"])
def test_other_methods_are_refused(browser: Client, name: str) -> None:
    method = browser.get if name == "conversations" else browser.post
    assert method(reverse(name)).status_code == 405


# Older messages


def older(browser: Client, conversation: Conversation, before: object) -> Any:
    return browser.get(reverse("conversation-messages", args=[conversation.pk]), {"before": str(before)})


def test_messages_before_one_come_oldest_first(
    browser: Client, alice: User, conversation: Conversation, chat: Chat
) -> None:
    chat(page_messages=2)
    for number in range(3):
        ask(alice, conversation, f"{number}?")
    pks = list(Message.objects.order_by("pk").values_list("pk", flat=True))
    answers = [older(browser, conversation, pk).json() for pk in (pks[4], pks[2], pks[0])]
    shown = [([int(message["id"]) for message in answer["messages"]], answer["more"]) for answer in answers]
    assert shown == [(pks[2:4], True), (pks[0:2], False), ([], False)]


@pytest.mark.parametrize("before", ["", "x", "0", "-1", "²", "١", "9" * 30, "1 OR 1=1", "\x00"])
def test_messages_before_nothing_are_not_found(browser: Client, conversation: Conversation, before: str) -> None:
    assert older(browser, conversation, before).status_code == 404


def test_messages_before_one_of_another_conversation_are_not_found(
    browser: Client, conversation: Conversation, bob: User
) -> None:
    foreign = ask(bob, Conversation.start(bob))
    assert older(browser, conversation, foreign.pk).status_code == 404


# Deleting


def delete(user: User, conversation: Conversation) -> Any:
    return signed_in(user).post(reverse("conversation-delete", args=[conversation.pk]))


@pytest.mark.parametrize("role", [Role.WRITER, Role.READER])
def test_nobody_else_does(conversation: Conversation, bob: User, role: str) -> None:
    Membership.objects.create(user=bob, conversation=conversation, role=role)
    assert delete(bob, conversation)["Location"] == page_of(conversation)
    assert Conversation.objects.visible_to(bob).exists()


def test_a_link_asks_and_does_not_delete(browser: Client, alice: User, conversation: Conversation) -> None:
    page = browser.get(reverse("conversation-delete", args=[conversation.pk])).content.decode()
    assert "Delete this conversation?" in page
    assert Conversation.objects.visible_to(alice).exists()


# The sidebar


def sidebar(browser: Client) -> list[str]:
    """The addresses of its conversations, in their order."""
    return re.findall(r'href="(/conversations/[^"]+)"', browser.get(reverse("sidebar")).content.decode())


def test_the_sidebar_shows_my_conversations_newest_first(browser: Client, alice: User, bob: User) -> None:
    first, second = Conversation.start(alice), Conversation.start(alice)
    Conversation.start(bob)
    moment()
    ask(alice, first)
    assert sidebar(browser) == [page_of(first), page_of(second)]


@pytest.mark.parametrize(("count", "shown"), [(3, 3), (4, 3)])
def test_the_sidebar_has_a_limit(browser: Client, alice: User, chat: Chat, count: int, shown: int) -> None:
    chat(sidebar_conversations=3)
    for _ in range(count):
        Conversation.start(alice)
    assert len(sidebar(browser)) == shown


def pages_of_sidebar(browser: Client) -> list[list[str]]:
    """The addresses on each page, from one to the next."""
    pages, after = [], ""
    while True:
        html = browser.get(reverse("sidebar"), {"after": after}).content.decode()
        pages.append(re.findall(r'href="(/conversations/[^"]+)"', html))
        [after] = re.findall(r'data-after="([^"]*)"', html)
        if not after:
            return pages


def test_the_sidebar_goes_on_page_after_page(browser: Client, alice: User, bob: User, chat: Chat) -> None:
    chat(sidebar_conversations=3)
    mine = [Conversation.start(alice) for _ in range(7)]
    Conversation.start(bob)
    # Some were active in the same moment: then their ids decide, also where a page ends.
    moment = mine[0].updated_at
    for conversation in mine[1:6]:
        Membership.objects.filter(conversation=conversation).update(updated_at=moment)
    pages = pages_of_sidebar(browser)
    assert [len(page) for page in pages] == [3, 3, 1]
    together = [address for page in pages for address in page]
    assert sorted(together) == sorted(map(page_of, mine))
    assert together == [page_of(each) for each in Conversation.objects.visible_to(alice).newest_first()]


def test_what_is_said_meanwhile_moves_nothing_to_the_next_page(browser: Client, alice: User, chat: Chat) -> None:
    chat(sidebar_conversations=2)
    mine = []
    for _ in range(4):
        moment()
        mine.append(Conversation.start(alice))
    html = browser.get(reverse("sidebar")).content.decode()
    [after] = re.findall(r'data-after="([^"]+)"', html)
    ask(alice, mine[0])
    rest = browser.get(reverse("sidebar"), {"after": after}).content.decode()
    assert re.findall(r'href="(/conversations/[^"]+)"', rest) == [page_of(mine[1])]


def test_the_sidebar_goes_on_without_scripts(browser: Client, alice: User, chat: Chat) -> None:
    chat(sidebar_conversations=1)
    first, second = Conversation.start(alice), Conversation.start(alice)
    page = browser.get(reverse("home")).content.decode()
    [link] = re.findall(r'<a href="(\?after=[^"]+)">Earlier conversations', page)
    assert page_of(second) in page
    assert page_of(first) not in page
    assert page_of(first) in browser.get(reverse("home") + link).content.decode()


@pytest.mark.parametrize(
    "after",
    ["x", "_", "2026-13-01T00:00:00+00:00_x", "2026-01-01T00:00:00_f2c5a0de-1d3e-4f0a-8f5d-6a2f0c6f7d11", "\x00"],
)
def test_a_place_that_is_none_is_the_first_page(browser: Client, conversation: Conversation, after: str) -> None:
    page = browser.get(reverse("sidebar"), {"after": after}).content.decode()
    assert page_of(conversation) in page


def test_the_page_can_be_installed(client: Client) -> None:
    page = client.get(reverse("account_login")).content.decode()
    [address] = re.findall(r'rel="manifest" href="([^"]+)"', page)
    answer = client.get(address, headers={"Accept-Language": "zh-hans"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/manifest+json")
    manifest = answer.json()
    assert (manifest["display"], manifest["start_url"], manifest["lang"]) == ("standalone", "/", "zh-hans")
    for icon in manifest["icons"]:
        assert finders.find(icon["src"].removeprefix("/static/"))
    drawn = {f"{icon['src']} {icon['sizes']}" for icon in manifest["icons"] if icon["type"] == "image/png"}
    [touched] = re.findall(r'rel="apple-touch-icon" href="([^"]+)"', page)
    for address, size in [each.split() for each in (*drawn, f"{touched} 180x180")]:
        found = finders.find(address.removeprefix("/static/"))
        assert found
        picture = Path(found).read_bytes()
        width, height = struct.unpack(">II", picture[16:24])
        assert (picture[:4], f"{width}x{height}") == (b"\x89PNG", size)
        assert len(picture) <= 20_000


# What it costs


def test_the_queries_of_a_page_do_not_grow(
    browser: Client,
    alice: User,
    bob: User,
    conversation: Conversation,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    ask(alice, conversation)
    addresses = (reverse("home"), page_of(conversation), reverse("sidebar"))
    for address in addresses:
        browser.get(address)
    counts = []
    for address in addresses:
        with django_assert_max_num_queries(25) as queries:
            browser.get(address)
        counts.append(len(queries))
    Membership.objects.create(user=bob, conversation=conversation, role=Role.WRITER)
    for number in range(5):
        ask(bob, conversation, f"{number}?")
        ask(alice, Conversation.start(alice))
    for address, count in zip(addresses, counts, strict=True):
        with django_assert_max_num_queries(count):
            browser.get(address)


# Words


def outside_of_scripts(html: str) -> str:
    """Without what the page itself brings along: its scripts, icons and data."""
    return re.sub(r"<(script|svg)\b.*?</\1>", "", html, flags=re.DOTALL)


def test_hostile_words_are_text_wherever_they_are_shown(
    browser: Client, alice: User, conversation: Conversation
) -> None:
    alice.first_name = "<script>x</script>"
    alice.save()
    ask(alice, conversation, HOSTILE, HOSTILE)
    running = conversation.post(alice, "And then?", "r1").reply
    for part in ("text", "reasoning"):
        Piece.objects.create(reply=running, part=part, start=0, text=HOSTILE)
    conversation.rename(alice, HOSTILE[:150])
    for address in (page_of(conversation), reverse("home"), reverse("sidebar")):
        html = browser.get(address).content.decode()
        assert "alert(1)" in html
        assert "<script>alert" not in html
        assert "<script>x" not in html
        shown = outside_of_scripts(html)
        assert "<img" not in shown
        assert not re.search(r"<[^>]+\s(on\w+|style)=", shown)


def test_the_data_of_a_page_cannot_end_its_script(browser: Client, alice: User, conversation: Conversation) -> None:
    ask(alice, conversation, "</script><script>alert(1)</script><!--")
    html = browser.get(page_of(conversation)).content.decode()
    assert "\\u003C/script\\u003E" in html
    assert "<!--" not in html


def test_the_page_shows_what_is_stored_of_a_running_reply(
    browser: Client, alice: User, conversation: Conversation
) -> None:
    reply = conversation.post(alice, "Hi", "a1").reply
    Piece.objects.create(reply=reply, part="text", start=0, text="so **far**")
    assert "<strong>far</strong>" in browser.get(page_of(conversation)).content.decode()
