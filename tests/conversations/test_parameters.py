"""How the model is asked in one conversation: what may be set, by whom, and that everybody hears of it."""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import translation

from conversations import parameters, wire
from conversations.models import Conversation, Membership, Role
from conversations.refusals import Refused
from tests.conftest import Chat


def refused(name: str, value: Any) -> bool:
    try:
        parameters.checked({name: value})
    except Refused as refused:
        return refused.code == "invalid" and refused.detail.endswith(
            (".", "。")
        )  # a test before may have spoken Chinese
    return False


# The rules


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("temperature", [0, 2, 0.7, 1.0], [-0.01, 2.01, math.nan, math.inf, True, "warm", [1], {}]),
        ("top_p", [0.01, 1, 0.5], [0, 1.01, -1, False, "0.5"]),
        ("max_tokens", [1, 10_000_000, 300.0], [0, 10_000_001, 1.5, -3, "many", True, math.inf]),
        ("reasoning_effort", list(parameters.EFFORTS), ["most", 3, ["low"], True]),
        ("volume", [], [11]),
    ],
)
def test_each_parameter_has_its_bounds_and_a_sentence_for_what_lies_beyond(
    name: str, good: list[Any], bad: list[Any]
) -> None:
    assert [value for value in good if parameters.checked({name: value}) != {name: value}] == []
    assert [value for value in bad if not refused(name, value)] == []


def test_what_is_empty_is_left_to_the_server() -> None:
    kept = {"temperature": 0.2, "top_p": 0.5}
    assert parameters.changed(kept, {"temperature": None, "max_tokens": ""}) == {"top_p": 0.5}
    assert parameters.changed(None, {}) == {}


def test_a_form_says_numbers_in_words() -> None:
    form = {"temperature": " 0,7 ", "top_p": "", "max_tokens": "4000", "reasoning_effort": "low", "text": "?"}
    wanted = parameters.in_form(form)
    assert parameters.checked(wanted) == {
        "temperature": 0.7,
        "top_p": None,
        "max_tokens": 4000,
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize(
    "form", [{"temperature": "warm"}, {"temperature": "nan"}, {"max_tokens": "4,000"}, {"max_tokens": "٣"}]
)
def test_what_is_no_number_is_refused_and_not_guessed(form: dict[str, str]) -> None:
    with pytest.raises(Refused):
        parameters.checked(parameters.in_form(form))


# Rows


pytestmark = pytest.mark.django_db


def test_a_change_is_told_with_what_changed_and_the_snapshot_says_the_same(
    conversation: Conversation, alice: User
) -> None:
    conversation.change_settings(alice, "Be brief.", {"temperature": 0.2, "top_p": 1})
    conversation.change_settings(alice, None, {"temperature": None})
    events = wire.changes_as_json(conversation.changes.order_by("version"))
    assert events == [
        {
            "type": "conversation_changed",
            "version": 1,
            "system_prompt": "Be brief.",
            "parameters": {"temperature": 0.2, "top_p": 1},
        },
        {"type": "conversation_changed", "version": 2, "parameters": {"top_p": 1}},
    ]
    told = wire.snapshot(Conversation.objects.visible_to(alice).get(), alice)["conversation"]
    assert (told["system_prompt"], told["parameters"]) == ("Be brief.", {"top_p": 1})


def test_the_same_again_changes_nothing(conversation: Conversation, alice: User) -> None:
    for _ in range(2):
        conversation.change_settings(alice, " \n", {"temperature": ""})
    assert not conversation.changes.exists()


def test_a_system_prompt_is_refused_one_past_the_limit(conversation: Conversation, alice: User, chat: Chat) -> None:
    chat(system_prompt_characters=10)
    conversation.change_settings(alice, "字" * 10, {})
    with pytest.raises(Refused, match="at most 10 characters") as refused:
        conversation.change_settings(alice, "字" * 11, {})
    assert refused.value.code == "too_large"
    assert Conversation.objects.get().system_prompt == "字" * 10


# The pages


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def address(conversation: Conversation | Any) -> str:
    return reverse("conversation-settings", args=[getattr(conversation, "pk", conversation)])


FORM = {"system_prompt": "Be\r\nbrief.", "temperature": "0.2", "top_p": "", "max_tokens": "300", "reasoning_effort": ""}


def test_the_page_shows_the_form_and_the_form_changes_it(conversation: Conversation, alice: User) -> None:
    browser = signed_in(alice)
    assert browser.post(address(conversation), FORM).status_code == 302
    conversation.refresh_from_db()
    assert (conversation.system_prompt, conversation.parameters) == (
        "Be\nbrief.",
        {"temperature": 0.2, "max_tokens": 300},
    )
    page = browser.get(address(conversation)).content.decode()
    assert 'value="0.2"' in page
    assert "Be\nbrief.</textarea>" in page
    assert "data-changed" in browser.get(reverse("conversation", args=[conversation.pk])).content.decode()


def test_a_wrong_value_is_told_and_nothing_that_was_typed_is_lost(conversation: Conversation, alice: User) -> None:
    answer = signed_in(alice).post(address(conversation), FORM | {"temperature": "3"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "The temperature is a number from 0 to 2." in page
    assert 'value="3"' in page
    assert "brief.</textarea>" in page


def test_a_reader_sees_the_settings_and_cannot_change_them(conversation: Conversation, bob: User) -> None:
    Membership.objects.create(conversation=conversation, user=bob, role=Role.READER)
    page = signed_in(bob).get(address(conversation)).content.decode()
    assert "<fieldset disabled>" in page
    assert signed_in(bob).post(address(conversation), FORM).status_code == 400
    assert not Conversation.objects.exclude(system_prompt="").exists()


def test_charlie_finds_no_settings(conversation: Conversation, charlie: User) -> None:
    browser = signed_in(charlie)
    for pk in (conversation.pk, uuid4()):
        assert browser.get(address(pk)).status_code == browser.post(address(pk), FORM).status_code == 404


def test_a_new_conversation_begins_with_what_its_form_says(alice: User) -> None:
    for text in ("Hello", ""):
        signed_in(alice).post(reverse("conversations"), {**FORM, "text": text, "client_id": "1"})
    made = Conversation.objects.values_list("system_prompt", "parameters")
    assert list(made) == [("Be\nbrief.", {"temperature": 0.2, "max_tokens": 300})] * 2


def test_a_new_conversation_that_is_refused_keeps_all_that_was_typed(alice: User) -> None:
    with translation.override("en"):
        answer = signed_in(alice).post(reverse("conversations"), {**FORM, "text": "Hello", "top_p": "7"})
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "Top P is a number from 0.01 to 1." in page
    assert "Hello</textarea>" in page
    assert 'value="7"' in page
    assert '<details class="begin-with" open>' in page
    assert not Conversation.objects.exists()
