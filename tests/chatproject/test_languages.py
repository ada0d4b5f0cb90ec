"""The language of the pages: that of the account, else of the cookie, else of the browser."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from chatproject.models import ChosenLanguage

pytestmark = pytest.mark.django_db

PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def browser_of(user: User | None, language: str = "en") -> Client:
    """A browser that asks for a language, of somebody or of nobody."""
    client = Client(headers={**PAGE, "Accept-Language": language})
    if user is not None:
        client.force_login(user)
    return client


def language_of_page(client: Client, path: str = "/") -> str:
    page = client.get(path, follow=True).content.decode()
    return page.partition('<html lang="')[2].partition('"')[0]


def choose(client: Client, code: str) -> None:
    client.post("/i18n/setlang/", {"language": code, "next": "/"})


def test_what_is_chosen_on_one_device_is_chosen_on_the_others(alice: User, bob: User) -> None:
    laptop, phone, stranger = browser_of(alice), browser_of(alice), browser_of(bob)
    assert language_of_page(phone) == "en"
    choose(laptop, "zh-hans")
    assert language_of_page(laptop) == "zh-hans"
    assert language_of_page(phone) == "zh-hans"
    assert language_of_page(browser_of(alice)) == "zh-hans"
    assert language_of_page(stranger) == "en"


def test_the_last_choice_counts_wherever_it_was_made(alice: User) -> None:
    laptop, phone = browser_of(alice), browser_of(alice, "zh-CN")
    choose(laptop, "zh-hans")
    choose(phone, "en")
    assert [language_of_page(each) for each in (laptop, phone)] == ["en", "en"]


def test_what_scripts_ask_for_comes_in_the_language_of_the_page(alice: User) -> None:
    choose(browser_of(alice), "zh-hans")
    phone = browser_of(alice)
    phone.get("/")
    answer = phone.get("/sidebar/", headers={"Accept": "*/*"})
    assert answer.headers["Content-Language"] == "zh-hans"


def test_who_has_chosen_nothing_reads_what_the_browser_asks_for(alice: User) -> None:
    assert language_of_page(browser_of(alice, "zh-CN")) == "zh-hans"
    assert language_of_page(browser_of(None, "zh-CN"), "/accounts/login/") == "zh-hans"


def test_a_stranger_chooses_for_this_browser() -> None:
    client = browser_of(None)
    choose(client, "zh-hans")
    assert language_of_page(client, "/accounts/login/") == "zh-hans"
    assert not ChosenLanguage.objects.exists()


@pytest.mark.parametrize("code", ["", "xx", "zh", "en\x00", "../en"])
def test_a_language_that_is_not_offered_changes_nothing(alice: User, code: str) -> None:
    client = browser_of(alice)
    choose(client, code)
    assert language_of_page(client) == "en"
    assert not ChosenLanguage.objects.exists()


def test_one_that_is_offered_no_more_is_forgotten(alice: User) -> None:
    ChosenLanguage.objects.create(user=alice, code="tlh")
    assert language_of_page(browser_of(alice, "zh-CN")) == "zh-hans"
