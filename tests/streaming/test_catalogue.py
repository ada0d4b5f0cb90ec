"""Who answers: providers of the admin, config.yaml, or the demo where there is neither."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from channels.db import database_sync_to_async

from conversations.models import Message
from streaming import catalogue
from streaming.demo import answer_to, deltas
from streaming.endpoint import Endpoint
from streaming.models import APIKey, Provider
from tests.conftest import Chat
from tests.scripts import Script
from tests.tab import Event, Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "sk-of-the-other-provider"


@pytest.fixture(autouse=True)
def lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """What servers said in another test is not known in this one."""
    monkeypatch.setattr(catalogue, "_lists", {})


@pytest.fixture
async def other() -> AsyncIterator[Upstream]:
    async with Upstream(key=KEY, models=("theirs",)) as other:
        yield other


@database_sync_to_async
def provide(base_url: str, *, models: str = "theirs", key: str = KEY, **fields: bool) -> Provider:
    """A provider as the admin makes one."""
    provider = Provider.objects.create(name="Other", base_url=base_url, model_list=models)
    if key:
        sealed = APIKey(provider=provider, **fields)
        sealed.put(key)
        sealed.save()
    return provider


async def ending_of(tab: Tab, text: str = "Hello", **fields: str) -> Event:
    asked = await tab.ask(text, **fields)
    return await tab.until_ended(asked.reply, seconds=30)


async def test_the_demo_answers_where_nothing_is_configured(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(base_url="", app_key="", models=())
    ended = await ending_of(alice_tab, "What are you?")
    assert (ended["status"], ended["error"], ended["finish_reason"]) == ("done", None, "stop")
    assert not ended["usage"]["estimated"]
    assert alice_tab.texts[ended["reply"]] == answer_to("What are you?")
    assert (await Message.objects.aget(pk=ended["reply"])).provider == "demo"
    assert upstream.posts == []


async def test_a_provider_of_the_admin_answers_with_its_own_key(
    alice_tab: Tab, upstream: Upstream, other: Upstream
) -> None:
    await provide(other.base_url)
    other.answer(Script(["From the other."]))
    ended = await ending_of(alice_tab, model="theirs")
    assert alice_tab.texts[ended["reply"]] == "From the other."
    assert other.posts[0].headers["authorization"] == f"Bearer {KEY}"
    assert upstream.posts == []
    assert (await Message.objects.aget(pk=ended["reply"])).provider == "Other"


async def test_the_demo_is_off_as_soon_as_there_is_a_provider(alice_tab: Tab, other: Upstream, chat: Chat) -> None:
    chat(base_url="", app_key="", models=())
    await provide(other.base_url)
    other.answer(Script(["From the other."]))
    ended = await ending_of(alice_tab)
    assert alice_tab.texts[ended["reply"]] == "From the other."


async def test_a_provider_without_a_list_is_asked_for_it(alice_tab: Tab, other: Upstream, chat: Chat) -> None:
    chat(base_url="", app_key="", models=())
    await provide(other.base_url, models="")
    other.answer(Script(["From the other."]))
    ended = await ending_of(alice_tab)
    assert (ended["status"], ended["model"]) == ("done", "theirs")


@pytest.mark.parametrize("off", ["provider", "key", "locked"])
async def test_a_provider_that_is_off_or_has_no_key_left_is_not_asked(
    alice_tab: Tab, other: Upstream, settings: object, chat: Chat, off: str
) -> None:
    provider = await provide(other.base_url, enabled=off != "key")
    if off == "provider":
        await Provider.objects.aupdate(enabled=False)
    elif off == "locked":
        chat(encryption_key="QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=")
    ended = await ending_of(alice_tab, model="theirs")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "model_not_found")
    assert other.posts == []
    assert provider.name == "Other"


# Pure


def endpoint(name: str, *models: str) -> Endpoint:
    return Endpoint(name, f"http://{name}.example/v1", models=models)


def test_the_first_that_offers_a_model_is_asked() -> None:
    found = catalogue.find("b", [endpoint("one", "a"), endpoint("two", "a", "b"), endpoint("three", "b")])
    assert found is not None
    assert (found[0].name, found[1]) == ("two", "b")


def test_without_a_name_it_is_the_default_model(chat: Chat) -> None:
    among = [endpoint("one", "a"), endpoint("two", "b")]
    found = catalogue.find("", among)
    assert found is not None
    assert found[1] == "a"
    chat(default_model="b")
    found = catalogue.find("", among)
    assert found is not None
    assert found[1] == "b"


def test_a_server_that_told_no_list_may_know_the_name() -> None:
    found = catalogue.find("b", [endpoint("one", "a"), endpoint("two")])
    assert found is not None
    assert found[0].name == "two"


def test_what_nobody_offers_is_not_found() -> None:
    assert catalogue.find("b", [endpoint("one", "a")]) is None


@pytest.mark.parametrize("question", ["", "Hi", "你好", "x" * 10_000, "{question} {0} %s", "```\n> quote"])
def test_the_demo_says_back_what_it_was_asked(question: str) -> None:
    answer = answer_to(question)
    assert "".join(deltas(answer)) == answer
    assert all(line[:100] in answer for line in question.splitlines())
    assert ("内置演示模型" in answer) is (question == "你好")
