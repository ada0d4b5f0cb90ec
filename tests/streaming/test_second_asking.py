"""What a server refuses and would take in another way is asked once more in that way: each thing once, each time counted,
and never after the first byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from conversations.models import Message
from streaming.models import Run
from tests.conftest import Chat
from tests.scripts import Data, Script, refuses, too_long, unknown_field
from tests.tab import Event, Tab
from tests.upstream import Request, Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

TOO_LONG = "The conversation is too long for this model."
EVEN_SO = "The conversation is too long for this model, also without its oldest messages."


async def ask(tab: Tab, text: str) -> Event:
    asked = await tab.ask(text)
    return await tab.until_ended(asked.reply)


async def talk(tab: Tab, upstream: Upstream, turns: int = 4) -> None:
    """Questions and answers of about 25 tokens each."""
    for number in range(turns):
        await ask(tab, f"Question {number} " + "word " * 18)
    upstream.requests.clear()
    upstream.posts.clear()


async def is_counted(ended: Event, posts: list[Request]) -> None:
    run = await Run.objects.aget(reply_id=ended["reply"])
    assert run.attempts == len(posts)


def words_in(request: Request) -> int:
    return sum(len(message["content"].split()) for message in request.messages)


def refuses_long_ones(words: int) -> Callable[[Request], bool]:
    return lambda request: words_in(request) > words


# A conversation that is too long


@pytest.mark.parametrize("limit", [None, 90], ids=["half of it", "as much as the server can take"])
async def test_what_is_too_long_is_shortened_once_and_everybody_sees_where(
    alice_tab: Tab, upstream: Upstream, chat: Chat, limit: int | None
) -> None:
    chat(system_prompt="Be brief.")
    await talk(alice_tab, upstream)
    upstream.when(refuses_long_ones(110), too_long(limit))
    ended = await ask(alice_tab, "The last question")
    assert ended["status"] == "done"
    first, second = upstream.posts
    assert words_in(second) < words_in(first)
    assert second.messages[0] == {"role": "system", "content": "Be brief."}
    assert second.messages[1]["role"] == "user"
    assert second.messages[1:] == first.messages[len(first.messages) - len(second.messages) + 1 :]
    assert second.asked == "The last question"
    await is_counted(ended, upstream.posts)
    # The line on the page stands above the first message that the model was shown.
    sight = await Message.objects.aget(text=second.messages[1]["content"])
    assert (await Message.objects.aget(pk=ended["reply"])).sight_id == sight.pk
    changed = await alice_tab.wait_for("message_changed")
    assert (changed["message"]["id"], changed["message"]["sight"]) == (ended["reply"], str(sight.pk))


async def test_a_limit_leaves_more_of_the_conversation_than_half_where_it_can(
    alice_tab: Tab, upstream: Upstream
) -> None:
    await talk(alice_tab, upstream)
    upstream.answer(too_long(10_000), Script(["Short."]), too_long(260), Script(["Long."]))
    shown = []
    for _ in range(2):
        await ask(alice_tab, "And?")
        shown.append(len(upstream.posts[-1].messages))
    assert shown[1] > shown[0]


async def test_what_is_too_long_also_when_shortened_fails_and_says_so(alice_tab: Tab, upstream: Upstream) -> None:
    await talk(alice_tab, upstream)
    upstream.always(too_long())
    ended = await ask(alice_tab, "The last question")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "context_length_exceeded")
    assert ended["error"]["detail"] == EVEN_SO
    assert len(upstream.posts) == 2
    await is_counted(ended, upstream.posts)


async def test_a_single_question_that_is_too_long_fails_at_once(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.always(too_long(1000))
    ended = await ask(alice_tab, "word " * 5000)
    assert (ended["status"], ended["error"]["detail"]) == ("failed", TOO_LONG)
    assert len(upstream.posts) == 1
    assert await Message.objects.filter(pk=ended["reply"], sight=None).aexists()


async def test_a_body_that_is_too_large_for_a_proxy_is_shortened_too(alice_tab: Tab, upstream: Upstream) -> None:
    await talk(alice_tab, upstream)
    upstream.answer(Script(status=413, headers={"Content-Type": "text/html"}, body=b"<h1>413</h1>"), Script(["Short."]))
    assert (await ask(alice_tab, "And?"))["status"] == "done"


async def test_a_refusal_that_says_200_is_one_all_the_same(alice_tab: Tab, upstream: Upstream) -> None:
    await talk(alice_tab, upstream)
    body = b'{"error": {"code": 400, "message": "the request exceeds the available context size"}}'
    upstream.answer(Script(headers={"Content-Type": "application/json"}, body=body), Script(["Short."]))
    assert (await ask(alice_tab, "And?"))["status"] == "done"


async def test_after_the_first_byte_nothing_is_shortened(alice_tab: Tab, upstream: Upstream) -> None:
    await talk(alice_tab, upstream)
    error = {"message": "Please reduce the length of the messages.", "code": "context_length_exceeded"}
    upstream.always(Script([Data({"error": error})]))
    ended = await ask(alice_tab, "And?")
    assert (ended["status"], ended["error"]["detail"]) == ("failed", TOO_LONG)
    assert len(upstream.posts) == 1


async def test_what_was_shortened_stays_so_when_it_is_tried_again(alice_tab: Tab, upstream: Upstream) -> None:
    await talk(alice_tab, upstream)
    upstream.answer(too_long(), refuses(503), Script(["At last."]))
    ended = await ask(alice_tab, "And?")
    assert ended["status"] == "done"
    counts = [len(request.messages) for request in upstream.posts]
    assert counts[0] > counts[1] == counts[2]
    await is_counted(ended, upstream.posts)


# Fields that a server does not know


def knows_no(name: str) -> Callable[[Request], bool]:
    return lambda request: name in request.json


async def test_a_server_without_stream_options_is_asked_without_them_from_then_on(
    alice_tab: Tab, upstream: Upstream
) -> None:
    upstream.when(knows_no("stream_options"), unknown_field("stream_options"))
    first = await ask(alice_tab, "One")
    assert first["status"] == "done"
    assert ["stream_options" in request.json for request in upstream.posts] == [True, False]
    await is_counted(first, upstream.posts)
    assert first["usage"]["estimated"]
    second = await ask(alice_tab, "Two")
    assert second["status"] == "done"
    assert len(upstream.posts) == 3
    await is_counted(second, upstream.posts[2:])


@pytest.mark.parametrize("status", [400, 422])
async def test_the_length_of_the_reply_is_called_what_the_server_calls_it(
    alice_tab: Tab, upstream: Upstream, chat: Chat, status: int
) -> None:
    chat(max_length=70)
    upstream.when(knows_no("max_tokens"), unknown_field("max_tokens", status, instead="max_completion_tokens"))
    for question in ("One", "Two"):
        assert (await ask(alice_tab, question))["status"] == "done"
    assert [request.json.get("max_completion_tokens") for request in upstream.posts] == [None, 70, 70]


async def test_what_one_model_does_not_know_another_is_still_told(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.when(
        lambda request: request.model == "small" and "stream_options" in request.json, unknown_field("stream_options")
    )
    await ask(alice_tab, "One")
    asked = await alice_tab.ask("Two", model="large")
    await alice_tab.until_ended(asked.reply)
    assert "stream_options" in upstream.posts[-1].json


async def test_a_server_that_refuses_for_ever_is_asked_twice_and_nothing_is_learned(
    alice_tab: Tab, upstream: Upstream
) -> None:
    upstream.always(unknown_field("stream_options"))
    ended = await ask(alice_tab, "One")
    assert (ended["status"], ended["error"]["code"]) == ("failed", "refused")
    assert len(upstream.posts) == 2
    await is_counted(ended, upstream.posts)
    upstream.always(Script(["Hello."]))
    assert (await ask(alice_tab, "Two"))["status"] == "done"
    assert "stream_options" in upstream.posts[-1].json


async def test_a_server_that_knows_neither_name_is_not_asked_for_ever(
    alice_tab: Tab, upstream: Upstream, chat: Chat
) -> None:
    chat(max_length=70)
    upstream.when(knows_no("max_tokens"), unknown_field("max_tokens"))
    upstream.when(knows_no("max_completion_tokens"), unknown_field("max_completion_tokens"))
    ended = await ask(alice_tab, "One")
    assert ended["status"] == "failed"
    assert len(upstream.posts) == 2
    await is_counted(ended, upstream.posts)


async def test_all_remedies_together_are_three_more_posts_even_where_one_attempt_is_allowed(
    alice_tab: Tab, upstream: Upstream, chat: Chat
) -> None:
    await talk(alice_tab, upstream)
    chat(max_length=70, attempts=1)
    upstream.when(knows_no("stream_options"), unknown_field("stream_options"))
    upstream.when(knows_no("max_tokens"), unknown_field("max_tokens"))
    upstream.when(refuses_long_ones(100), too_long())
    ended = await ask(alice_tab, "And?")
    assert ended["status"] == "done"
    assert len(upstream.posts) == 4
    await is_counted(ended, upstream.posts)


# What somebody has set for a conversation


async def test_settings_go_with_the_question_and_what_a_model_refuses_is_left_out_from_then_on(
    alice_tab: Tab, upstream: Upstream, chat: Chat
) -> None:
    chat(max_length=500)
    wanted = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 300, "reasoning_effort": "low"}
    await alice_tab.command("change_settings", system_prompt="Answer in verse.", parameters=wanted)
    upstream.when(
        lambda request: "temperature" in request.json,
        refuses(400, "Unsupported parameter: 'temperature' is not supported with this model.", "unsupported_parameter"),
    )
    for question in ("One", "Two"):
        assert (await ask(alice_tab, question))["status"] == "done"
    sent = [{name: request.json.get(name) for name in wanted} for request in upstream.posts]
    assert sent == [wanted, wanted | {"temperature": None}, wanted | {"temperature": None}]
    assert upstream.posts[0].messages[0] == {"role": "system", "content": "Answer in verse."}


async def test_nobody_asks_for_more_than_the_site_allows(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(max_length=70)
    await alice_tab.command("change_settings", parameters={"max_tokens": 300})
    await ask(alice_tab, "At length, please")
    assert upstream.posts[-1].json["max_tokens"] == 70
