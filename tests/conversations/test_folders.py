"""Folders of one's own list: named, limited, read in order from an index, and nobody else's business."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from conversations import folders
from conversations.folders import LONGEST_NAME, MOST_FOLDERS, folders_of, put_in
from conversations.models import Conversation, Membership, Shelf
from conversations.refusals import Refused
from conversations.sidebar import load_page
from streaming.readings import load_sidebar_entries
from tests.conftest import Chat
from tests.conversations.test_shelves import titled

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(alice: User) -> Client:
    client = Client()
    client.force_login(alice)
    return client


def put(browser: Client, conversation: Conversation, name: str) -> tuple[int, str]:
    answer = browser.post(reverse("conversation-folder", args=[conversation.pk]), {"folder": name})
    return answer.status_code, answer.content.decode()


def titles(user: User, folder: str) -> tuple[list[str], list[str]]:
    page = load_page(user, folder=folder)
    return [entry["title"] for entry in page.pinned], [entry["title"] for entry in page.entries]


def test_a_conversation_goes_from_folder_to_folder(browser: Client, alice: User) -> None:
    a, b = titled(alice, "a"), titled(alice, "b")
    assert put(browser, a, "  工作\n计划 ") == (204, "")
    assert put(browser, b, "Travel") == (204, "")
    assert folders_of(alice) == ["Travel", "工作 计划"]
    assert titles(alice, "工作 计划") == ([], ["a"])
    assert titles(alice, "") == ([], ["b", "a"])
    put(browser, a, "Travel")
    assert (folders_of(alice), titles(alice, "Travel")) == (["Travel"], ([], ["b", "a"]))
    put(browser, a, "")
    assert titles(alice, "Travel") == ([], ["b"])


def test_what_is_pinned_stays_above_and_what_is_put_away_is_not_there(alice: User) -> None:
    for title, shelf in (("a", Shelf.PINNED), ("b", Shelf.LISTED), ("c", Shelf.ARCHIVED)):
        put_in(titled(alice, title, shelf), alice, "Work")
    assert titles(alice, "Work") == (["a"], ["b"])


def test_the_folders_of_others_are_their_own(browser: Client, alice: User, bob: User, charlie: User) -> None:
    conversation = titled(alice, "a")
    Membership.objects.create(conversation=conversation, user=bob)
    put_in(conversation, bob, "Secret plans")
    assert (folders_of(alice), titles(alice, "Secret plans")) == ([], ([], []))
    assert "Secret plans" not in browser.get("/").content.decode()
    told = {member: entry["folder"] for member, entry in load_sidebar_entries(str(conversation.pk))}
    assert told == {alice.pk: None, bob.pk: "Secret plans"}
    foreign = Conversation.start(charlie)
    assert put(browser, foreign, "x")[0] == 404
    assert browser.post(reverse("conversation-folder", args=[uuid4()]), {"folder": "x"}).status_code == 404


def test_names_have_a_limit(browser: Client, alice: User) -> None:
    conversation = titled(alice, "a")
    assert put(browser, conversation, "n" * LONGEST_NAME)[0] == 204
    assert put(browser, conversation, "n" * (LONGEST_NAME + 1)) == (
        400, "The name of a folder has at most 40 characters.",
    )  # fmt: skip
    assert put(browser, conversation, "\x00")[0] == 204
    assert folders_of(alice) == ["\N{REPLACEMENT CHARACTER}"]


def test_so_has_their_number(alice: User) -> None:
    made = [Conversation.start(alice) for _ in range(MOST_FOLDERS + 1)]
    for number, conversation in enumerate(made[:-1]):
        put_in(conversation, alice, f"{number}")
    with pytest.raises(Refused, match="You have 100 folders"):
        put_in(made[-1], alice, "one more")
    put_in(made[-1], alice, "7")
    assert len(folders_of(alice)) == MOST_FOLDERS


def test_pages_show_a_folder_without_scripts(browser: Client, alice: User, chat: Chat) -> None:
    chat(sidebar_conversations=2)
    made = [titled(alice, f"t{number}") for number in range(5)]
    for conversation in made[1:]:
        put_in(conversation, alice, "A & <b>")
    page = browser.get("/", {"folder": "A & <b>"}).content.decode()
    assert "<b>" not in page.split('id="sidebar"')[1].split("</nav>")[0]
    assert 'href="?folder=A%20%26%20%3Cb%3E"' in page
    assert re.findall(r"\?folder=A%20%26%20%3Cb%3E(?:\"| aria)[^>]*>(t\d)", page) == ["t4", "t3"]
    [more] = re.findall(r'href="(\?folder=[^"]+after=[^"]+)"', page)
    older = browser.get("/" + more.replace("&amp;", "&")).content.decode()
    assert re.findall(r">(t\d)</a>", older) == ["t2", "t1"]
    assert "There is nothing in this folder." in browser.get("/", {"folder": "none"}).content.decode()
    assert browser.get(reverse("folders")).json() == {"folders": ["A & <b>"]}


def test_the_queries_do_not_grow(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(6):
        put_in(titled(alice, f"{number}"), alice, "Work")
    with django_assert_num_queries(2):
        load_page(alice, folder="Work")
    with django_assert_num_queries(1):
        folders.folders_of(alice)


@pytest.mark.once
def test_a_folder_is_read_in_order_from_its_index(alice: User) -> None:
    put_in(titled(alice, "a"), alice, "Work")
    with CaptureQueriesContext(connection) as asked:
        load_page(alice, folder="Work")
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {asked[0]['sql']}")
        plan = "\n".join(row[3] for row in cursor.fetchall())
    assert "newest_in_a_folder" in plan
    assert "TEMP B-TREE" not in plan
