"""The prompt library: whose a prompt is, who may use it, and that nothing typed is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from conversations.models import Prompt
from conversations.prompts import named
from tests.conftest import Chat

pytestmark = pytest.mark.django_db

JSON = {"Accept": "application/json"}


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def make(owner: User, name: str, text: str = "Say it in verse.", *, shared: bool = False) -> Prompt:
    return Prompt.objects.create(owner=owner, name=name, text=text, shared=shared)


def page(client: Client, name: str, *args: Any) -> str:
    return client.get(reverse(name, args=args)).content.decode()


# Pages


def test_a_prompt_is_made_changed_and_deleted_by_forms(alice: User) -> None:
    browser = signed_in(alice)
    assert "There are no prompts yet." in page(browser, "prompts")
    made = browser.post(reverse("new-prompt"), {"name": " Two\nwords ", "text": "One\r\ntwo", "shared": "on"})
    assert (made.status_code, made["Location"]) == (302, reverse("prompts"))
    prompt = Prompt.objects.get()
    assert (prompt.owner, prompt.name, prompt.text, prompt.shared) == (alice, "Two words", "One\ntwo", True)
    assert "Two words" in page(browser, "prompts")
    assert "One\ntwo</textarea>" in page(browser, "prompt", prompt.pk)
    browser.post(reverse("prompt", args=[prompt.pk]), {"name": "Two words", "text": "Three"})
    prompt.refresh_from_db()
    assert (prompt.text, prompt.shared) == ("Three", False)
    assert browser.post(reverse("prompt-delete", args=[prompt.pk])).status_code == 302
    assert not Prompt.objects.exists()


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"name": "", "text": "Kept text"}, "This field is required."),
        ({"name": "x" * 61, "text": "Kept text"}, "at most 60 characters"),
        ({"name": "Mine", "text": "Kept text"}, "There is a prompt with this name already."),
        ({"name": "New", "text": "Kept text" + "字" * 12}, "A prompt has at most 20 characters."),
        ({"name": "New", "text": "Kept text\0"}, "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_told_and_what_was_typed_is_kept(
    alice: User, chat: Chat, form: dict[str, str], sentence: str
) -> None:
    chat(prompt_characters=20)
    make(alice, "Mine")
    answer = signed_in(alice).post(reverse("new-prompt"), form)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert "Kept text" in answer.content.decode()
    assert Prompt.objects.count() == 1


def test_a_text_at_the_limit_is_kept(alice: User, chat: Chat) -> None:
    chat(prompt_characters=20)
    assert signed_in(alice).post(reverse("new-prompt"), {"name": "New", "text": "字" * 20}).status_code == 302


def test_one_past_the_number_of_prompts_is_refused_and_those_there_are_can_be_changed(alice: User, chat: Chat) -> None:
    chat(prompts_per_user=2)
    browser = signed_in(alice)
    answers = [browser.post(reverse("new-prompt"), {"name": name, "text": "?"}) for name in "abc"]
    assert [answer.status_code for answer in answers] == [302, 302, 400]
    assert "You have 2 prompts already." in answers[2].content.decode()
    first = Prompt.objects.earliest("pk")
    assert browser.post(reverse("prompt", args=[first.pk]), {"name": "d", "text": "!"}).status_code == 302


def test_two_people_may_give_the_same_name(alice: User, bob: User) -> None:
    for user in (alice, bob):
        assert signed_in(user).post(reverse("new-prompt"), {"name": "Same", "text": "?"}).status_code == 302


# Rights


def test_what_is_shared_can_be_read_by_all_and_changed_by_its_owner_alone(alice: User, bob: User) -> None:
    shared, private = make(alice, "Shared", shared=True), make(alice, "Private")
    browser = signed_in(bob)
    listed = page(browser, "prompts")
    assert ("Shared" in listed, "Private" in listed) == (True, False)
    assert "Shared by alice." in page(browser, "prompt", shared.pk)
    assert "<textarea" not in page(browser, "prompt", shared.pk)
    assert browser.post(reverse("prompt", args=[shared.pk]), {"name": "Mine", "text": "?"}).status_code == 403
    assert browser.post(reverse("prompt-delete", args=[shared.pk])).status_code == 404
    for pk in (private.pk, private.pk + 100):
        assert browser.get(reverse("prompt", args=[pk])).status_code == 404
        assert browser.get(reverse("prompt", args=[pk]), headers=JSON).status_code == 404
        assert browser.post(reverse("prompt", args=[pk]), {"name": "Mine", "text": "?"}).status_code == 404
        assert browser.post(reverse("prompt-delete", args=[pk])).status_code == 404
    assert list(Prompt.objects.order_by("name").values_list("name", flat=True)) == ["Private", "Shared"]


@pytest.mark.parametrize(("name", "args"), [("prompts", []), ("new-prompt", []), ("prompt", [1])])
def test_a_stranger_is_asked_to_sign_in(db: None, name: str, args: list[int]) -> None:
    assert "/accounts/login/" in Client().get(reverse(name, args=args))["Location"]


def test_staff_change_what_is_shared_in_the_admin(admin_client: Client, alice: User) -> None:
    prompt = make(alice, "Shared", shared=True)
    form = {"name": "Better", "text": "?", "shared": "on", "owner": alice.pk}
    change = reverse("admin:conversations_prompt_change", args=[prompt.pk])
    assert admin_client.get(reverse("admin:conversations_prompt_changelist")).status_code == 200
    assert admin_client.post(change, form).status_code == 302
    assert Prompt.objects.get().name == "Better"
    assert admin_client.get(reverse("admin:conversations_prompt_add")).status_code == 200


# The list in the composer


def test_the_list_has_the_beginnings_and_the_prompt_its_whole_text(alice: User, bob: User) -> None:
    prompt = make(bob, "Translate", "Translate {{text}}\n" + "word " * 500, shared=True)
    browser = signed_in(alice)
    [listed] = browser.get(reverse("prompts"), headers=JSON).json()["prompts"]
    assert listed == {
        "id": str(prompt.pk),
        "name": "Translate",
        "beginning": "Translate {{text}}",
        "owner": {"id": str(bob.pk), "name": "bob"},
        "shared": True,
    }
    whole = browser.get(reverse("prompt", args=[prompt.pk]), headers=JSON).json()
    assert whole == {"id": str(prompt.pk), "name": "Translate", "text": prompt.text}


def test_prompts_are_found_by_all_words_of_their_names_in_any_case(alice: User) -> None:
    for name in ("Write a mail", "A mail to Émile", "Zusammenfassung", "邮件翻译"):
        make(alice, name)
    found: Callable[[str], list[str]] = lambda query: [prompt.name for prompt in named(alice, query)]  # noqa: E731
    assert found("MAIL") == ["A mail to Émile", "Write a mail"]
    assert found("mail write") == ["Write a mail"]
    assert found("émile") == ["A mail to Émile"]
    assert found("翻译") == ["邮件翻译"]
    assert found("image of a cat") == []
    assert found("z") == ["Zusammenfassung"]


def test_what_begins_with_the_words_comes_first_and_no_more_than_a_list_shows(alice: User) -> None:
    for number in range(25):
        make(alice, f"A good plan {number:02}")
    make(alice, "Plan a day")
    assert [prompt.name for prompt in named(alice, "plan")][:2] == ["Plan a day", "A good plan 00"]
    with CaptureQueriesContext(connection) as captured:
        listed = named(alice, "")
    assert (len(listed), len(captured)) == (20, 2)
    # A text may be long: of each only the beginning is read.
    assert {"text"} == set.union(*(prompt.get_deferred_fields() for prompt in listed))
