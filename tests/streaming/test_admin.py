"""Providers and keys in the admin: what goes in, what never comes out, and the test that makes a real call."""

from __future__ import annotations

import base64
import logging
import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from chatproject.logs import SafeFormatter
from conversations.models import Conversation, Message
from streaming.admin import is_open_to_all
from streaming.models import APIKey, Provider, Run
from tests.conftest import Chat
from tests.scripts import Data, Reset, Script, Stall, refuses, unknown_field
from tests.upstream import Upstream, UpstreamThread

SECRET = "a-secret-which-no-pattern-knows-1234"
OTHER = "another-secret-of-the-same-team-9876"
LIST = "/admin/streaming/provider/"

pytestmark = pytest.mark.django_db


@pytest.fixture
def home() -> Iterator[Upstream]:
    """A server that wants the secret."""
    with UpstreamThread(key=SECRET) as upstream:
        yield upstream


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(name="Home", base_url="https://home.example/v1", model_list="small\nlarge")


def with_key(provider: Provider, secret: str = SECRET, **fields: Any) -> APIKey:
    key = APIKey(provider=provider, **{"label": "Team", **fields})
    key.put(secret)
    key.save()
    return key


def page_of(provider: Provider) -> str:
    return f"{LIST}{provider.pk}/change/"


def form(provider: Provider, *rows: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """What a browser sends: the provider with its keys, then rows for new ones."""
    fields = {
        "name": provider.name,
        "base_url": provider.base_url,
        "model_list": provider.model_list,
        "enabled": "on",
        "order": provider.order,
    }
    keys = list(provider.keys.all()) if provider.pk else []
    all_rows = [
        {"id": key.pk, "provider": provider.pk, "label": key.label, "enabled": "on", "secret": ""} for key in keys
    ]
    all_rows += [{"id": "", "provider": provider.pk or "", "label": "", "enabled": "on", **row} for row in rows]
    sent = {"keys-TOTAL_FORMS": len(all_rows), "keys-INITIAL_FORMS": len(keys), **fields}
    for number, row in enumerate(all_rows):
        sent |= {f"keys-{number}-{name}": value for name, value in row.items() if value is not None}
    return {**sent, **changed}


def told(response: Any) -> list[str]:
    """What the page that followed says, in order."""
    assert response.status_code == 200
    items = re.findall(r'<ul class="messagelist">(.*?)</ul>', response.content.decode(), re.DOTALL)
    return [
        re.sub(r"<[^>]+>", "", item).replace("&#x27;", "'").strip()
        for item in re.findall(r"<li.*?</li>", "".join(items), re.DOTALL)
    ]


def errors_on(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(re.findall(r'<ul class="errorlist.*?</ul>', response.content.decode(), re.DOTALL))


# Putting keys in


def test_a_provider_is_made_with_its_key(admin_client: Client) -> None:
    new = Provider(name="Home", base_url="https://home.example/v1/")
    admin_client.post(f"{LIST}add/", form(new, {"label": "Team", "secret": f"  {SECRET} "}))
    key = APIKey.objects.get()
    assert (key.reveal(), key.label, key.last_four) == (SECRET, "Team", "1234")
    assert key.provider.base_url == "https://home.example/v1"


def test_a_stored_key_is_shown_by_its_end_and_never_whole(admin_client: Client, provider: Provider) -> None:
    key = with_key(provider)
    page = admin_client.get(page_of(provider)).content.decode()
    assert "…1234" in page
    assert key.fingerprint in page
    assert SECRET not in page
    fields = re.findall(r'<input type="password"[^>]*>', page)
    assert fields
    assert not any(" value=" in field for field in fields)
    assert all('autocomplete="new-password"' in field for field in fields)


def test_an_empty_field_keeps_the_key(admin_client: Client, provider: Provider) -> None:
    with_key(provider)
    admin_client.post(page_of(provider), form(provider, **{"keys-0-label": "Everybody"}))
    key = APIKey.objects.get()
    assert (key.label, key.reveal()) == ("Everybody", SECRET)


def test_a_new_key_replaces_the_old(admin_client: Client, provider: Provider) -> None:
    old = with_key(provider)
    admin_client.post(page_of(provider), form(provider, **{"keys-0-secret": OTHER}))
    key = APIKey.objects.get()
    assert (key.pk, key.reveal(), key.last_four) == (old.pk, OTHER, "9876")
    assert key.fingerprint != old.fingerprint


def test_a_key_is_deleted(admin_client: Client, provider: Provider) -> None:
    with_key(provider)
    admin_client.post(page_of(provider), form(provider, **{"keys-0-DELETE": "on"}))
    assert not APIKey.objects.exists()


@pytest.mark.parametrize(
    "secret",
    [
        "sk-with blank-in-it",
        "Bearer sk-something",
        "sk-with\nline-break",
        "sk-with\tab",
        "sk-mit-ümlaut",
        "密钥密钥密钥",
        "sk-\x7f-delete",
    ],
)
def test_what_cannot_be_a_key_is_refused_in_a_sentence(admin_client: Client, provider: Provider, secret: str) -> None:
    response = admin_client.post(page_of(provider), form(provider, {"secret": secret}))
    assert "only visible ASCII characters" in errors_on(response)
    assert secret not in response.content.decode()
    assert not APIKey.objects.exists()


def test_a_row_without_a_key_is_refused(admin_client: Client, provider: Provider) -> None:
    response = admin_client.post(page_of(provider), form(provider, {"label": "Team", "secret": "   "}))
    assert "Enter the key." in errors_on(response)


def test_after_another_mistake_the_key_has_to_be_entered_again_and_the_page_says_so(
    admin_client: Client, provider: Provider
) -> None:
    response = admin_client.post(page_of(provider), form(provider, {"secret": SECRET}, base_url="nonsense"))
    assert SECRET not in response.content.decode()
    assert "enter the keys again" in told(response)[0]


@pytest.mark.parametrize(
    ("base_url", "words"),
    [
        ("ftp://home.example", "An address like"),
        ("http://[::1/v1", "An address like"),
        ("http://home.example:99999/v1", "An address like"),
        ("http://home.example:0/v1", "An address like"),
        ("https://user:pass@home.example/v1", "not the address"),
        ("https://home.example/v1?key=x", "without ? or #"),
    ],
)
def test_an_address_that_is_none_is_refused(
    admin_client: Client, provider: Provider, base_url: str, words: str
) -> None:
    assert words in errors_on(admin_client.post(page_of(provider), form(provider, base_url=base_url)))


def test_an_address_that_was_none_can_be_put_right(admin_client: Client, provider: Provider) -> None:
    with_key(provider)
    Provider.objects.update(base_url="http://home.example:99999/v1")
    admin_client.post(page_of(provider), form(provider, base_url="http://home.example:999/v1"))
    found = Provider.objects.get()
    assert found.base_url == "http://home.example:999/v1"
    assert not found.keys.exists()


# A key belongs to its host


def test_another_host_drops_the_keys_and_says_so(admin_client: Client, provider: Provider) -> None:
    with_key(provider)
    with_key(provider, OTHER)
    response = admin_client.post(page_of(provider), form(provider, base_url="https://thief.example/v1"), follow=True)
    assert "the 2 keys of the old one were dropped" in told(response)[0]
    assert not APIKey.objects.exists()


def test_a_row_that_was_changed_at_the_same_time_does_not_bring_the_key_to_the_new_host(
    admin_client: Client, provider: Provider
) -> None:
    with_key(provider)
    sent = form(provider, base_url="https://thief.example/v1", **{"keys-0-label": "Changed"})
    admin_client.post(page_of(provider), sent)
    assert Provider.objects.get().base_url == "https://thief.example/v1"
    assert not APIKey.objects.exists()


def test_a_new_key_for_the_new_host_is_stored(admin_client: Client, provider: Provider) -> None:
    with_key(provider)
    sent = form(provider, base_url="https://new.example/v1", **{"keys-0-secret": OTHER})
    admin_client.post(page_of(provider), sent)
    assert APIKey.objects.get().reveal() == OTHER


@pytest.mark.parametrize(
    ("base_url", "is_open"),
    [
        ("http://api.example.com/v1", True),
        ("http://8.8.8.8/v1", True),
        ("https://api.example.com/v1", False),
        ("http://127.0.0.1:11434/v1", False),
        ("http://[::1]:11434/v1", False),
        ("http://192.168.1.7/v1", False),
        ("http://localhost:11434/v1", False),
        ("http://ollama:11434/v1", False),
        ("http://gpu.local/v1", False),
    ],
)
def test_http_to_the_world_is_warned_of(admin_client: Client, provider: Provider, base_url: str, is_open: bool) -> None:
    assert is_open_to_all(base_url) == is_open
    response = admin_client.post(page_of(provider), form(provider, base_url=base_url), follow=True)
    assert any("unencrypted" in words for words in told(response)) == is_open


def test_a_locked_key_is_shown_as_locked(admin_client: Client, provider: Provider, chat: Chat) -> None:
    with_key(provider)
    chat(encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode())
    assert "stored with another encryption key" in admin_client.get(page_of(provider)).content.decode()
    response = admin_client.post(f"{LIST}{provider.pk}/test/", follow=True)
    assert "the key is locked" in told(response)[0]
    admin_client.post(page_of(provider), form(provider, **{"keys-0-secret": OTHER}))
    assert APIKey.objects.get().reveal() == OTHER


# The secret stays inside


@pytest.fixture
def written(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """All that was logged, as it was said and with tracebacks."""
    caplog.set_level(logging.DEBUG)

    def written() -> str:
        plain = logging.Formatter("%(message)s %(args)s")
        return "\n".join(plain.format(record) for record in caplog.records)

    return written


def everything_stored() -> str:
    rows = [repr(row) for model in apps.get_models(include_auto_created=True) for row in model._base_manager.values()]
    return "\n".join(rows)


def test_no_page_log_or_row_has_the_secret(admin_client: Client, home: Upstream, written: Callable[[], str]) -> None:
    new = Provider(name="Home", base_url=home.base_url)
    home.answer(Script([Data({"error": {"message": f"What is {SECRET}?"}})]), refuses(401, f"Incorrect key {SECRET}"))
    pages = [admin_client.post(f"{LIST}add/", form(new, {"label": "Team", "secret": SECRET}, _test="1"), follow=True)]
    made = Provider.objects.get()
    pages.append(admin_client.post(f"{LIST}{made.pk}/test/", follow=True))
    pages.append(admin_client.post(page_of(made), form(made, **{"keys-0-secret": SECRET}, order="nonsense")))
    pages += [
        admin_client.get(url) for url in (LIST, page_of(made), f"{LIST}{made.pk}/history/", f"{LIST}{made.pk}/delete/")
    ]
    assert APIKey.objects.get().reveal() == SECRET  # there was something to see
    assert len(home.posts) == 2
    assert LogEntry.objects.exists()
    assert not [page for page in pages if SECRET in page.content.decode()]
    assert SECRET not in everything_stored()
    assert SECRET not in written()
    assert written()


@pytest.mark.django_db(transaction=True)
def test_no_file_of_the_database_has_the_secret(admin_client: Client, provider: Provider) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite has its files here")
    admin_client.post(page_of(provider), form(provider, {"label": "Mark-of-the-row", "secret": SECRET}))
    name = str(connection.settings_dict["NAME"])
    content = b""
    for end in ("", "-wal"):
        if os.path.exists(name + end):
            with open(name + end, "rb") as file:
                content += file.read()
    assert b"Mark-of-the-row" in content
    assert SECRET.encode() not in content


@pytest.mark.parametrize("debug", [True, False])
def test_no_report_of_an_error_has_the_secret(
    admin_client: Client,
    provider: Provider,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    debug: bool,
) -> None:
    def fail(self: Provider, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("a bug")

    settings.DEBUG = debug
    monkeypatch.setattr(Provider, "save", fail)
    admin_client.raise_request_exception = False
    response = admin_client.post(page_of(provider), form(provider, {"secret": SECRET}))
    assert response.status_code == 500
    assert ("a bug" in response.content.decode()) == debug
    assert SECRET not in response.content.decode()
    assert caplog.records
    assert SECRET not in "\n".join(SafeFormatter().format(record) for record in caplog.records)


@pytest.mark.parametrize("place", ["seal", "fingerprint"])
def test_not_even_a_bug_in_sealing_shows_it(
    admin_client: Client, provider: Provider, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("a bug")

    settings.DEBUG = True
    monkeypatch.setattr(f"streaming.keys.{place}", fail)
    admin_client.raise_request_exception = False
    response = admin_client.post(page_of(provider), form(provider, {"secret": SECRET}))
    assert response.status_code == 500
    assert "a bug" in response.content.decode()
    assert SECRET not in response.content.decode()


# The test


def test_a_provider_is_tested_with_a_real_call(admin_client: Client, home: Upstream) -> None:
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    response = admin_client.post(f"{LIST}{provider.pk}/test/", follow=True)
    assert re.fullmatch(
        r"Home, Team …1234: The server lists 2 models \(small, large\)\. "
        r"small answers: its first token came after [\d,]+ ms\.",
        told(response)[0],
    )
    asked = home.posts[0].json
    assert (asked["model"], asked["stream"]) == ("small", True)
    assert asked["max_tokens"] <= 16
    assert Provider.objects.get().model_list == ""


def test_saving_and_testing_is_one_step(admin_client: Client, home: Upstream) -> None:
    new = Provider(name="Home", base_url=home.base_url, model_list="large")
    response = admin_client.post(f"{LIST}add/", form(new, {"secret": SECRET}, _test="1"), follow=True)
    assert "large answers" in told(response)[-1]
    assert response.redirect_chain[-1][0] == page_of(Provider.objects.get())


@pytest.mark.django_db(transaction=True)
def test_the_call_is_made_outside_of_the_transaction(
    admin_client: Client, home: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr("streaming.admin.run_all", lambda trials: seen.append(connection.in_atomic_block))
    new = Provider(name="Home", base_url=home.base_url)
    admin_client.post(f"{LIST}add/", form(new, {"secret": SECRET}, _test="1"))
    assert seen == [False]


def test_one_key_is_tested_alone(admin_client: Client, home: Upstream) -> None:
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    wrong = with_key(provider, OTHER, label="Old", enabled=False)
    response = admin_client.post(f"{LIST}{provider.pk}/test/", {"key": str(wrong.pk)}, follow=True)
    assert told(response) == ["Home, Old …9876: The server refused the API key."]


def test_the_list_tests_what_was_selected_with_each_enabled_key(admin_client: Client, home: Upstream) -> None:
    one = Provider.objects.create(name="One", base_url=home.base_url, model_list="small")
    with_key(one)
    with_key(one, OTHER, label="Wrong")
    with_key(one, OTHER, label="Off", enabled=False)
    two = Provider.objects.create(name="Two", base_url=home.base_url, model_list="small")
    sent = {"action": "test", "_selected_action": [one.pk, two.pk]}
    words = told(admin_client.post(LIST, sent, follow=True))
    assert [line.split(":")[0] for line in words] == ["One, Team …1234", "One, Wrong …9876", "Two"]
    assert "small answers" in words[0]
    assert "refused the API key" in words[1]
    assert "refused the API key" in words[2]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (refuses(429, "No.", "insufficient_quota"), "The quota of the API key is used up."),
        (refuses(404, "No."), "does not offer this model"),
        (Script([Reset()]), "The connection to the model broke."),
        (Script([Stall(0.05)]), "said nothing for 0.5 seconds"),
        (Script([], finish=None, done=False), "ended before the model had said anything"),
    ],
)
def test_what_went_wrong_is_a_sentence(
    admin_client: Client, home: Upstream, monkeypatch: pytest.MonkeyPatch, script: Script, words: str
) -> None:
    monkeypatch.setattr("streaming.probe.ANSWER_SECONDS", 0.5)
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    home.answer(script)
    [line] = told(admin_client.post(f"{LIST}{provider.pk}/test/", follow=True))
    assert "Asked for small:" in line
    assert words in line


def test_a_server_that_wants_to_be_asked_in_its_own_way_is(admin_client: Client, home: Upstream) -> None:
    home.when(lambda request: "stream_options" in request.json, unknown_field("stream_options"))
    home.when(lambda request: "max_tokens" in request.json, unknown_field("max_tokens"))
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    assert "small answers" in told(admin_client.post(f"{LIST}{provider.pk}/test/", follow=True))[0]
    assert len(home.posts) == 3


def test_a_server_without_a_list_is_asked_for_what_is_named(admin_client: Client, home: Upstream) -> None:
    home.list_of_models = lambda: refuses(404, "No such address")  # type: ignore[method-assign]
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    assert "no list of models at this address" in told(admin_client.post(f"{LIST}{provider.pk}/test/", follow=True))[0]
    Provider.objects.update(model_list="large")
    assert "large answers" in told(admin_client.post(f"{LIST}{provider.pk}/test/", follow=True))[0]


@pytest.mark.parametrize("body", [b"<html>", b"[1]", b'{"data": null}', b'{"data": [{}]}', b'{"data": [3]}', b"\xff"])
def test_a_list_that_is_none_is_no_crash(admin_client: Client, home: Upstream, body: bytes) -> None:
    home.list_of_models = lambda: Script(body=body)  # type: ignore[method-assign]
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    [line] = told(admin_client.post(f"{LIST}{provider.pk}/test/", follow=True))
    assert "cannot be understood" in line or "offers no models" in line


def test_names_that_a_server_lists_are_no_markup(admin_client: Client, home: Upstream) -> None:
    home.models[:] = ["<script>alert(1)</script>"]
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    with_key(provider)
    page = admin_client.post(f"{LIST}{provider.pk}/test/", follow=True).content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


def test_a_test_needs_a_post_and_the_permission_to_change(
    admin_client: Client, client: Client, home: Upstream, bob: User
) -> None:
    provider = Provider.objects.create(name="Home", base_url=home.base_url)
    assert admin_client.get(f"{LIST}{provider.pk}/test/").status_code == 405
    User.objects.filter(pk=bob.pk).update(is_staff=True)
    bob.user_permissions.set(Permission.objects.filter(codename="view_provider"))
    client.force_login(bob)
    client.post(f"{LIST}{provider.pk}/test/")
    client.post(LIST, {"action": "test", "_selected_action": [provider.pk]})
    assert home.requests == []


# What a reply has cost


def test_the_page_of_a_reply_tells_how_it_was_made(
    admin_client: Client, alice: User, conversation: Conversation, provider: Provider
) -> None:
    key = with_key(provider)
    reply = conversation.post(alice, "How?", "1").reply
    Message.objects.filter(pk=reply.pk).update(status="done", text="So.")
    now = timezone.now()
    Run.objects.create(
        reply=reply, attempts=3, provider=provider, api_key=key, prompt_tokens=12, completion_tokens=34,
        started_at=now, first_token_at=now + timedelta(seconds=0.25), ended_at=now + timedelta(seconds=4),
    )  # fmt: skip
    page = admin_client.get(f"/admin/conversations/message/{reply.pk}/change/").content.decode()
    for words in ("Team …1234", "12 + 34", "0.25 s", "4.0 s", page_of(provider)):
        assert words in page
    assert SECRET not in page


def test_the_list_of_providers_asks_the_database_as_often_for_many_as_for_few(
    admin_client: Client, provider: Provider, django_assert_max_num_queries: Any
) -> None:
    for number in range(10):
        with_key(Provider.objects.create(name=f"Provider {number}", base_url="https://home.example/v1"))
    admin_client.get(LIST)
    with django_assert_max_num_queries(8):
        admin_client.get(LIST)
