"""The admin as a whole: its door, its looks under the strict policy, and the people in it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from allauth.account.models import EmailAddress
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.urls import reverse

from conversations.models import Conversation
from streaming.models import Provider
from tests.streaming.test_rights import SLACK_SECONDS
from tests.tab import Tab

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def nobody_has_guessed_yet() -> None:
    cache.clear()


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.org", PASSWORD)


# The door


@pytest.mark.django_db
def test_the_way_into_the_admin_is_the_one_sign_in_page(client: Client, root: User) -> None:
    response = client.get("/admin/", follow=True)
    assert response.redirect_chain[-1][0].startswith(reverse("account_login"))
    response = client.post(response.redirect_chain[-1][0], {"login": "root", "password": PASSWORD})
    assert (response.status_code, response["Location"]) == (302, "/admin/")


@pytest.mark.django_db
def test_djangos_own_form_signs_nobody_in(client: Client, root: User) -> None:
    response = client.post("/admin/login/", {"username": "root", "password": PASSWORD, "next": "/admin/"})
    assert response.status_code == 302
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_who_guesses_the_password_of_an_administrator_is_held_up(client: Client, root: User) -> None:
    address = f"{reverse('account_login')}?next=/admin/"
    for _ in range(6):
        client.post(address, {"login": "root", "password": "wrong"})
    client.post(address, {"login": "root", "password": PASSWORD})
    assert "_auth_user_id" not in client.session


@pytest.mark.django_db
def test_after_signing_in_a_foreign_address_is_not_followed(client: Client, root: User) -> None:
    response = client.get("/admin/login/?next=https://evil.example/", follow=True)
    form = {"login": "root", "password": PASSWORD}
    response = client.post(response.redirect_chain[-1][0], form, follow=True)
    assert response.redirect_chain[-1][0] == "/admin/"
    assert not any(address.startswith("http") for address, _ in response.redirect_chain)


@pytest.mark.django_db
def test_signed_in_without_being_staff_is_told_so_and_not_sent_in_circles(client: Client, bob: User) -> None:
    client.force_login(bob)
    assert client.get("/admin/", follow=True).status_code == 403


# Looks


@pytest.mark.django_db
@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_pages_need_no_hole_in_the_policy(
    admin_client: Client, alice: User, conversation: Conversation, language: str
) -> None:
    asked = conversation.post(alice, "How do I brew tea?", "1")
    provider = Provider.objects.create(name="Home", base_url="https://home.example/v1")
    pages = [
        "/admin/",
        "/admin/auth/user/",
        "/admin/auth/user/add/",
        f"/admin/auth/user/{alice.pk}/change/",
        "/admin/auth/group/add/",
        "/admin/conversations/conversation/",
        f"/admin/conversations/conversation/{conversation.pk}/change/",
        "/admin/conversations/message/",
        f"/admin/conversations/message/{asked.reply.pk}/change/",
        "/admin/streaming/provider/",
        "/admin/streaming/provider/add/",
        f"/admin/streaming/provider/{provider.pk}/change/",
        f"/admin/streaming/provider/{provider.pk}/delete/",
        "/admin/account/emailaddress/",
    ]
    for page in pages:
        response = admin_client.get(page, headers={"accept-language": language})
        assert response.status_code == 200, page
        html = response.content.decode()
        assert "Parley" in html
        policy = response["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "script-src 'self'" in policy
        assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", html), page
        assert not re.search(r"<style|<script(?![^>]*\ssrc=)(?![^>]*type=\"application/json)", html), page
        assert not re.search(r"(src|href)=[\"']?(https?:)?//(?!home\.example)", html), page


@pytest.mark.django_db
def test_it_speaks_chinese(admin_client: Client) -> None:
    page = admin_client.get("/admin/", headers={"accept-language": "zh-CN"}).content.decode()
    for words in ("对话", "消息", "提供方"):
        assert words in page


# People


def change(client: Client, user: User, **changed: str | None) -> str:
    """Send the page of a user as it is, but for what is changed; None leaves a field out."""
    known = {"username": user.username, "email": user.email, "is_active": "on", "date_joined_0": "2026-01-01"}
    fields = {**known, "date_joined_1": "00:00:00", **changed}
    page = f"/admin/auth/user/{user.pk}/change/"
    response = client.post(page, {name: value for name, value in fields.items() if value is not None})
    return str(response.content.decode())


@pytest.mark.django_db
def test_a_person_is_made_with_an_address(admin_client: Client) -> None:
    fields = {"username": "dora", "email": "Dora@Example.org", "usable_password": "true"}
    admin_client.post("/admin/auth/user/add/", {**fields, "password1": PASSWORD, "password2": PASSWORD})
    dora = User.objects.get(username="dora")
    assert dora.email == "dora@example.org"
    assert EmailAddress.objects.get(user=dora).primary
    assert Client().login(username="dora", password=PASSWORD)


@pytest.mark.django_db
@pytest.mark.parametrize("email", ["bob@example.org", "BOB@example.org"])
def test_nobody_is_given_the_address_of_somebody_else(admin_client: Client, alice: User, bob: User, email: str) -> None:
    assert "Somebody else has this address." in change(admin_client, alice, email=email)
    alice.refresh_from_db()
    assert alice.email == "alice@example.org"


@pytest.mark.django_db
def test_an_address_that_was_taken_away_gets_no_new_password(admin_client: Client, alice: User) -> None:
    alice.set_password(PASSWORD)
    alice.save()
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    change(admin_client, alice, email="alice@new.example")
    assert list(EmailAddress.objects.filter(user=alice).values_list("email", flat=True)) == ["alice@new.example"]
    for email in ("alice@example.org", "alice@new.example"):
        Client().post(reverse("account_reset_password"), {"email": email})
    links = [message.to for message in mail.outbox if "/password/reset/key/" in str(message.body)]
    assert links == [["alice@new.example"]]


@pytest.mark.django_db
def test_without_a_new_address_what_is_verified_stays_so(admin_client: Client, alice: User) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    change(admin_client, alice, first_name="Alice")
    assert EmailAddress.objects.get(user=alice).verified


@pytest.mark.django_db
def test_taking_an_address_away_leaves_none(admin_client: Client, alice: User) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, verified=True, primary=True)
    change(admin_client, alice, email="")
    assert not EmailAddress.objects.filter(user=alice).exists()


def as_administrator(act: Callable[[Client], object]) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    act(client)


@pytest.mark.django_db(transaction=True)
async def test_deactivating_a_person_closes_open_tabs(alice_tab: Tab, alice: User) -> None:
    await database_sync_to_async(as_administrator)(lambda client: change(client, alice, is_active=None))
    assert await alice_tab.until_closed() == 4401


@pytest.mark.django_db(transaction=True)
async def test_a_new_password_closes_open_tabs(alice_tab: Tab, alice: User) -> None:
    def set_password(client: Client) -> None:
        fields = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
        response = client.post(f"/admin/auth/user/{alice.pk}/password/", fields)
        assert response.status_code == 302

    await database_sync_to_async(as_administrator)(set_password)
    assert await alice_tab.until_closed() == 4401


@pytest.mark.django_db(transaction=True)
async def test_deleting_a_person_closes_open_tabs(alice_tab: Tab, alice: User) -> None:
    def delete(client: Client) -> None:
        assert client.post(f"/admin/auth/user/{alice.pk}/delete/", {"post": "yes"}).status_code == 302

    await database_sync_to_async(as_administrator)(delete)
    assert await alice_tab.until_closed() in (4401, 4404)


# Sessions


def sign_out_of(admin: Client, *people: User) -> str:
    chosen = {"action": "sign_out", "_selected_action": [person.pk for person in people]}
    return admin.post(reverse("admin:auth_user_changelist"), chosen, follow=True).content.decode()


@pytest.mark.django_db
def test_an_administrator_signs_people_out_everywhere_and_nobody_else(
    admin_client: Client, alice: User, bob: User
) -> None:
    theirs, others = [Client(), Client()], Client()
    for client in theirs:
        client.force_login(alice)
    others.force_login(bob)
    assert "2 sessions were ended." in sign_out_of(admin_client, alice)
    assert [client.get("/").status_code for client in (*theirs, others)] == [302, 302, 200]


@pytest.mark.django_db(transaction=True)
async def test_who_is_signed_out_in_the_admin_is_out_within_a_second(
    alice_tab: Tab, admin_client: Client, alice: User
) -> None:
    await database_sync_to_async(sign_out_of)(admin_client, alice)
    assert await alice_tab.until_closed(seconds=1 + SLACK_SECONDS) == 4401
