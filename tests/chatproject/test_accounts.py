"""Who may have an account, and the first administrator."""

import io
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import Client
from django.urls import reverse

from chatproject import accounts, npm


class Chat(Protocol):
    def __call__(self, **fields: Any) -> None: ...


NEW = {"username": "dora", "email": "", "password1": "correct-horse-battery", "password2": "correct-horse-battery"}


@pytest.fixture(autouse=True)
def _no_attempts_counted() -> None:
    """Each test begins with nobody having guessed a password."""
    cache.clear()


def set_up() -> str:
    out = io.StringIO()
    call_command("setup", no_npm=True, stdout=out)
    return out.getvalue()


# Signing up and in


@pytest.mark.django_db
def test_strangers_make_no_account_where_sign_up_is_off(client: Client, chat: Chat) -> None:
    chat(sign_up=False)
    client.post(reverse("account_signup"), NEW)
    assert not User.objects.exists()


@pytest.mark.django_db
def test_anybody_makes_an_account_where_sign_up_is_on(client: Client, chat: Chat) -> None:
    chat(sign_up=True)
    client.post(reverse("account_signup"), NEW)
    assert User.objects.get().username == "dora"


@pytest.mark.django_db
@pytest.mark.parametrize("login", ["dora", "dora@example.org"])
def test_people_sign_in_by_name_or_address(client: Client, login: str) -> None:
    User.objects.create_user("dora", "dora@example.org", "correct-horse-battery")
    answer = client.post(reverse("account_login"), {"login": login, "password": "correct-horse-battery"})
    assert answer.status_code == 302
    assert client.session["_auth_user_id"]


@pytest.mark.django_db
def test_who_guesses_passwords_is_held_up(client: Client) -> None:
    User.objects.create_user("dora", "dora@example.org", "correct-horse-battery")
    for _ in range(6):
        client.post(reverse("account_login"), {"login": "dora", "password": "wrong"})
    client.post(reverse("account_login"), {"login": "dora", "password": "correct-horse-battery"})
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_the_admin_has_no_door_of_its_own_where_attempts_are_not_counted(client: Client) -> None:
    answer = client.get(reverse("admin:index"), follow=True)
    assert answer.request["PATH_INFO"] == reverse("account_login")
    assert answer.request["QUERY_STRING"] == "next=%2Fadmin%2F"


@pytest.mark.django_db
def test_a_forgotten_password_is_answered_by_mail(client: Client) -> None:
    User.objects.create_user("dora", "dora@example.org", "correct-horse-battery")
    client.post(reverse("account_reset_password"), {"email": "dora@example.org"})
    assert "/accounts/password/reset/key/" in str(mail.outbox[0].body)


# The first administrator


@pytest.mark.django_db
def test_set_up_makes_an_administrator_and_shows_a_password_that_works(client: Client) -> None:
    name, password = re.findall(r"^    (?:name|password) +(\S+)$", set_up(), re.MULTILINE)
    assert name == "admin"
    assert client.login(username=name, password=password)
    assert User.objects.get().is_superuser


@pytest.mark.django_db
def test_the_password_is_shown_once_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    password = re.findall(r"^    password +(\S+)$", set_up(), re.MULTILINE)[0]
    assert password not in set_up()
    assert password not in caplog.text


@pytest.mark.django_db
def test_who_made_an_administrator_the_usual_way_gets_no_second_one() -> None:
    User.objects.create_superuser("boss", password="correct-horse-battery")
    assert set_up() == ""
    assert User.objects.count() == 1


@pytest.mark.django_db
def test_a_plain_user_called_admin_is_left_alone() -> None:
    plain = User.objects.create_user("admin")
    made = accounts.make_first_administrator()
    assert made is not None
    assert made[0] != "admin"
    plain.refresh_from_db()
    assert not plain.is_superuser


@pytest.mark.django_db(transaction=True)
def test_two_processes_that_start_at_once_make_one_administrator() -> None:
    def make(_: int) -> tuple[str, str] | None:
        try:
            return accounts.make_first_administrator()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        made = [result for result in pool.map(make, range(4)) if result]
    assert len(made) == 1
    assert User.objects.filter(is_superuser=True).count() == 1


def test_passwords_are_long_readable_and_never_the_same() -> None:
    made = {accounts.readable_password() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[a-km-np-z2-9]{5}(-[a-km-np-z2-9]{5}){2}", password) for password in made)


# The other steps of the set-up


@pytest.mark.django_db
def test_packages_that_cannot_be_had_end_the_set_up_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(say: object, for_checks: bool) -> None:
        raise npm.NPMError("No network.")

    monkeypatch.setattr(npm, "ensure_packages", fail)
    with pytest.raises(CommandError, match="No network"):
        call_command("setup")
