"""What becomes of a reply when its provider misbehaves: one end, a sentence for a person, and never a second question
after the first byte of an answer."""

from __future__ import annotations

import itertools
import re
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from conversations.models import Message
from streaming.endpoint import IN_THE_MIDDLE
from streaming.models import Provider, Run
from tests.conftest import Chat
from tests.scripts import (
    Chunk,
    Data,
    Drop,
    Hold,
    Raw,
    Reason,
    Reset,
    Script,
    Stall,
    Step,
    Wait,
    daily_limit,
    in_seconds,
    out_of_quota,
    overloaded,
    page,
    redirects,
    refuses,
    too_fast,
)
from tests.services import free_port
from tests.tab import Event, Tab
from tests.upstream import Answer, Upstream

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


async def ending_of(tab: Tab, text: str = "Talk", seconds: float = 10.0) -> Event:
    asked = await tab.ask(text)
    return await tab.until_ended(asked.reply, seconds)


async def is_told(tab: Tab, ended: Event) -> None:
    """The end that the tab was told is the end that is kept, and says a sentence."""
    reply = await Message.objects.aget(pk=ended["reply"])
    assert (reply.status, reply.error) == (ended["status"], ended["error"])
    assert reply.text == tab.texts.get(ended["reply"], "")
    if ended["status"] in ("failed", "interrupted"):
        assert ended["error"]["code"]
        assert ended["error"]["detail"].endswith(".")
    assert len(tab.endings[ended["reply"]]) == 1


# Broken off after the first byte: interrupted, what was said is kept, and nothing is asked again


@pytest.mark.parametrize(
    ("steps", "more"),
    [
        pytest.param([Reset()], {}, id="reset"),
        pytest.param([Drop()], {}, id="closed in the middle of the body"),
        pytest.param([], {"finish": None, "done": False}, id="a clean end without a finish"),
        pytest.param([Stall()], {}, id="silence"),
        pytest.param([Stall(comments=0.05)], {}, id="nothing but keep-alive comments"),
        pytest.param(
            [Data({"error": {"message": "sk-secret overloaded", "code": 500}})], {}, id="an error in the stream"
        ),
        pytest.param([Data("{not json"), Stall()], {}, id="bad JSON"),
        pytest.param([Data("[1, 2]"), Stall()], {}, id="JSON that is no chunk"),
        pytest.param([Data({"choices": [{"delta": {"content": 5}}]}), Stall()], {}, id="a text that is none"),
        pytest.param([Chunk({}, "error")], {}, id="an error as the reason of the end"),
    ],
)
async def test_a_reply_that_breaks_off_keeps_its_text_and_says_so(
    alice_tab: Tab, upstream: Upstream, chat: Chat, steps: list[Step], more: dict[str, object]
) -> None:
    chat(silence_seconds=0.4)
    upstream.always(Script(["Hello", " world", *steps], **more))  # type: ignore[arg-type]
    ended = await ending_of(alice_tab)
    assert ended["status"] == "interrupted"
    assert alice_tab.texts[ended["reply"]] == "Hello world"
    assert "sk-secret" not in str(alice_tab.events)
    await is_told(alice_tab, ended)
    assert len(upstream.posts) == 1
    await upstream.posts[0].until_ended()


#: What an error inside a stream looks like at OpenAI, OpenRouter, vLLM (now and before), Ollama, Anthropic and Gemini.
ERRORS_IN_A_STREAM: list[tuple[Any, str]] = [
    ({"error": {"message": "sk-secret", "type": "server_error", "param": None, "code": None}}, "server_error"),
    ({"error": {"message": "sk-secret", "code": "rate_limit_exceeded"}}, "rate_limited"),
    ({"error": {"message": "sk-secret", "code": 429}}, "rate_limited"),
    ({"error": {"message": "sk-secret", "code": "503"}}, "overloaded"),
    ({"error": {"code": 502, "message": "sk-secret"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}, "server_error"),
    ({"error": {"message": "sk-secret", "type": "BadRequestError", "param": None, "code": 400}}, "refused"),
    ({"object": "error", "message": "sk-secret", "type": "BadRequestError", "param": None, "code": 400}, "refused"),
    ({"error": "sk-secret: model runner has unexpectedly stopped"}, "server_error"),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "sk-secret"}}, "overloaded"),
    ({"error": {"code": 429, "message": "sk-secret", "status": "RESOURCE_EXHAUSTED"}}, "rate_limited"),
    ({"error": {"message": "sk-secret", "code": "insufficient_quota"}}, "insufficient_quota"),
    ({"error": {"message": "sk-secret: maximum context length is 5 tokens", "code": 400}}, "context_length_exceeded"),
]  # fmt: skip


@pytest.mark.parametrize("before", [[], ["Hello"]], ids=["before the first word", "after it"])
async def test_an_error_in_the_stream_ends_the_reply_in_every_form(
    alice_tab: Tab, upstream: Upstream, before: list[Step]
) -> None:
    for error, code in ERRORS_IN_A_STREAM:
        upstream.answer(Script([*before, Data(error), Stall()]))
        ended = await ending_of(alice_tab)
        assert ended["status"] == ("interrupted" if before else "failed")
        assert ended["error"]["code"] == (
            code if code not in ("server_error", "refused") or not before else IN_THE_MIDDLE[0]
        )
        await is_told(alice_tab, ended)
    assert "sk-secret" not in str(alice_tab.events)
    assert len(upstream.posts) == len(ERRORS_IN_A_STREAM)


async def test_words_in_the_chunk_of_an_error_are_kept(alice_tab: Tab, upstream: Upstream) -> None:
    chunk = {
        "choices": [{"index": 0, "delta": {"content": " world"}, "finish_reason": "error"}],
        "error": {"code": 502},
    }
    upstream.answer(Script(["Hello", Data(chunk)]))
    ended = await ending_of(alice_tab)
    assert (ended["status"], alice_tab.texts[ended["reply"]]) == ("interrupted", "Hello world")


async def test_bad_utf8_is_shown_as_such_and_loses_nothing_else(alice_tab: Tab, upstream: Upstream) -> None:
    bad = b'data: {"choices": [{"index": 0, "delta": {"content": "b\xff\xfeb"}}]}\n\n'
    upstream.answer(Script(["a", Raw(bad), "c"]))
    ended = await ending_of(alice_tab)
    assert ended["status"] == "done"
    assert alice_tab.texts[ended["reply"]] == "ab\ufffd\ufffdbc"
    await is_told(alice_tab, ended)


async def test_a_total_time_ends_a_reply_that_never_does(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(total_seconds=0.6)
    upstream.answer(Script(["x"] * 10_000, pace=0.02))
    ended = await ending_of(alice_tab)
    assert ended["status"] == "interrupted"
    await is_told(alice_tab, ended)
    await upstream.posts[0].until_closed(seconds=1)


async def test_a_reply_past_the_limit_ends_there(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(reply_characters=20)
    upstream.answer(Script(["0123456789"] * 5 + [Stall()]))
    ended = await ending_of(alice_tab)
    assert (ended["finish_reason"], ended["length"]) == ("length", 20)
    await is_told(alice_tab, ended)


# Whole, though unusual


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 17])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_bytes_cut_anywhere_are_the_same_text(
    alice_tab: Tab, upstream: Upstream, cut: int, line_end: str
) -> None:
    upstream.answer(Script(["é", "漢字", "🙂", "\r\n", " end"], cut=cut, line_end=line_end))
    ended = await ending_of(alice_tab)
    assert (ended["status"], alice_tab.texts[ended["reply"]]) == ("done", "é漢字🙂\r\n end")
    await is_told(alice_tab, ended)


@pytest.mark.parametrize(
    "steps",
    [
        ["a", Chunk(None), Chunk({}), Chunk({"content": None}), Chunk({"content": ""}), "b"],
        ["a", Data({"choices": []}), Data({"choices": None}), Data({}), "b"],
        ["a", Chunk({"content": "other"}, index=1), "b"],
        [Chunk({"role": "assistant"}), "a", Raw(b": keep-alive\n\n"), Raw(b"event: ping\nid: 1\nretry: 5\n\n"), "b"],
        ["a", Raw(b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "b"}}]}\n\n')],
        [Raw(b'\xef\xbb\xbfdata:{"choices":[{"delta":{"content":"ab"}}]}\n\n')],
        ["a", Data({"choices": [{"index": 1, "delta": {"content": "x"}}, {"index": 0, "delta": {"content": "b"}}]})],
        [Chunk({"content": "x"}, "length", index=1), "a", Chunk({"content": "x"}, "stop", index=2), "b"],
        ["a", Data({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}), "b"],
        ["a", Data({"choices": None, "usage": None, "error": None}), Data({"id": "x", "object": "ping"}), "b"],
        [
            "a",
            Data({"choices": [{"delta": {"content": "b"}, "finish_reason": None, "logprobs": {"x": [1]}}], "x_new": 1}),
        ],
    ],
)
async def test_what_carries_no_text_is_read_past(alice_tab: Tab, upstream: Upstream, steps: list[Step]) -> None:
    upstream.answer(Script(steps))
    ended = await ending_of(alice_tab)
    assert (ended["status"], alice_tab.texts[ended["reply"]]) == ("done", "ab")


@pytest.mark.parametrize("more", [{"done": False}, {"finish": None}], ids=["no [DONE]", "no finish_reason"])
async def test_one_word_of_the_end_is_enough(alice_tab: Tab, upstream: Upstream, more: dict[str, object]) -> None:
    upstream.answer(Script(["Hello"], **more))  # type: ignore[arg-type]
    assert (await ending_of(alice_tab))["status"] == "done"


async def test_a_server_that_keeps_the_connection_after_its_end_is_not_waited_for(
    alice_tab: Tab, upstream: Upstream, chat: Chat
) -> None:
    upstream.answer(Script(["Hello", Chunk({}, "stop"), Data("[DONE]"), Stall()]))
    assert (await ending_of(alice_tab, seconds=3))["status"] == "done"


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_the_reason_of_the_end_is_told(alice_tab: Tab, upstream: Upstream, reason: str) -> None:
    upstream.answer(Script(["Hello"], finish=reason))
    ended = await ending_of(alice_tab)
    assert (ended["status"], ended["finish_reason"]) == ("done", reason)
    await is_told(alice_tab, ended)


async def test_usage_is_kept_as_the_provider_counts_it(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["Hello"], usage={"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}))
    ended = await ending_of(alice_tab)
    usage = ended["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["estimated"]) == (7, 3, False)
    assert (await Message.objects.aget(pk=ended["reply"])).usage == usage


async def test_how_long_it_took_is_kept_with_the_usage(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(refuses(503), Script([Reason("Hm."), "Hello"]))
    usage = (await ending_of(alice_tab))["usage"]
    assert usage["attempts"] == 2
    assert 0 <= usage["thought_ms"] <= usage["duration_ms"]
    assert 0 < usage["first_token_ms"] <= usage["duration_ms"]


async def test_usage_is_estimated_where_the_provider_says_nothing(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["Hello", Drop()]))
    ended = await ending_of(alice_tab)
    assert ended["usage"]["estimated"]


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [Chunk({"content": ""})],
        [Chunk({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{}"}}]})],
        [Reason("only thoughts")],
    ],
    ids=["nothing", "an empty delta", "a tool call", "only reasoning"],
)
async def test_an_empty_reply_is_a_failure_that_says_so(alice_tab: Tab, upstream: Upstream, steps: list[Step]) -> None:
    upstream.answer(Script(steps))
    ended = await ending_of(alice_tab)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "empty")
    await is_told(alice_tab, ended)


# Refused before the first byte: failed at once where another try would not help


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(refuses(400, "sk-secret: bad request"), id="400"),
        pytest.param(refuses(401, "sk-secret is no key", "invalid_api_key"), id="401"),
        pytest.param(refuses(402), id="402"),
        pytest.param(refuses(403), id="403"),
        pytest.param(refuses(404, "The model `small` does not exist", "model_not_found"), id="404"),
        pytest.param(refuses(422), id="422"),
        pytest.param(out_of_quota(), id="429 out of quota"),
        pytest.param(refuses(429, "No", "insufficient_quota", Retry_After="1"), id="429 out of quota, with a wait"),
        pytest.param(daily_limit(), id="429 daily limit"),
        pytest.param(
            refuses(429, "Rate limit exceeded: free-models-per-day."), id="429 daily limit without a word when"
        ),
        pytest.param(refuses(413), id="413"),
        pytest.param(refuses(400, "Refused by the content management policy", "content_filter"), id="400 filtered"),
        pytest.param(Script(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), id="no HTTP"),
        pytest.param(Script(raw=b"HTTP/1.1 401 No\r\nContent-Length: 99\r\n\r\n{"), id="401 cut off"),
        pytest.param(page(), id="a web page"),
        pytest.param(page(404), id="a web page that is not found"),
        pytest.param(redirects("/v1/elsewhere"), id="a redirect"),
    ],
)
async def test_what_another_try_would_not_change_fails_at_once(
    alice_tab: Tab, upstream: Upstream, script: Script
) -> None:
    upstream.always(script)
    ended = await ending_of(alice_tab)
    assert ended["status"] == "failed"
    assert "sk-secret" not in str(ended)
    await is_told(alice_tab, ended)
    assert len(upstream.posts) == 1
    assert len(upstream.requests) == 1


async def test_each_refusal_has_a_sentence_of_its_own(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(attempts=1)
    daily = refuses(429, "Rate limit exceeded: free-models-per-day.")
    scripts = [refuses(status) for status in (400, 401, 403, 404, 408, 429, 500, 503)]
    scripts += [out_of_quota(), daily_limit(), daily, page(), Script(before=[Reset()]), Script(raw=b"no HTTP\r\n\r\n")]
    sentences = set()
    for script in scripts:
        upstream.answer(script)
        asked = await alice_tab.ask("Talk")
        ended = await alice_tab.until_ended(asked.reply)
        sentences.add(ended["error"]["detail"])
    assert len(sentences) == len(scripts)


# Refused before the first byte: tried again where that may help


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(refuses(408), id="408"),
        pytest.param(refuses(409), id="409"),
        pytest.param(too_fast(), id="429 too fast"),
        pytest.param(refuses(500), id="500"),
        pytest.param(refuses(502), id="502"),
        pytest.param(overloaded(), id="503"),
        pytest.param(refuses(504), id="504"),
        pytest.param(refuses(529, "Overloaded", "overloaded_error"), id="529"),
        pytest.param(Script(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), id="closed after the head"),
        pytest.param(Script(before=[Reset()]), id="reset before the head"),
        pytest.param(Script(before=[Drop()]), id="closed before the head"),
    ],
)
async def test_what_may_pass_is_tried_again(alice_tab: Tab, upstream: Upstream, script: Script) -> None:
    upstream.answer(script, script, Script(["At last."]))
    ended = await ending_of(alice_tab)
    assert (ended["status"], alice_tab.texts[ended["reply"]]) == ("done", "At last.")
    await is_told(alice_tab, ended)
    assert len(upstream.posts) == 3


@pytest.mark.parametrize("script", [refuses(500), overloaded(), too_fast()], ids=["500", "503", "429"])
async def test_after_some_attempts_it_fails(alice_tab: Tab, upstream: Upstream, chat: Chat, script: Script) -> None:
    chat(attempts=3)
    upstream.always(script)
    ended = await ending_of(alice_tab)
    assert ended["status"] == "failed"
    assert ended["error"]["retryable"]
    await is_told(alice_tab, ended)
    assert len(upstream.posts) == 3


async def test_the_waits_between_attempts_grow(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(attempts=4, retry_seconds=0.1)
    upstream.always(refuses(500))
    await ending_of(alice_tab)
    at = [request.arrived_at for request in upstream.posts]
    waits = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert 0.05 <= waits[0] <= 0.45
    assert waits[2] > 0.2


async def test_a_refused_connection_fails_in_the_end(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(attempts=2, base_url=f"http://127.0.0.1:{free_port()}/v1")
    ended = await ending_of(alice_tab)
    assert ended["status"] == "failed"
    assert ended["error"]["detail"] == "The model's server cannot be reached."
    await is_told(alice_tab, ended)
    assert (await Run.objects.aget(reply_id=ended["reply"])).attempts == 2


async def test_an_upstream_that_comes_back_is_reached(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(retry_seconds=0.3)
    await upstream.stop()
    asked = await alice_tab.ask("Talk")
    await alice_tab.wait_for("reply_waiting", reply=asked.reply)
    await upstream.start()
    assert (await alice_tab.until_ended(asked.reply))["status"] == "done"


async def test_silence_before_the_first_token_fails(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(first_token_seconds=0.3, attempts=1)
    upstream.always(Script(before=[Stall()]))
    began = time.monotonic()
    ended = await ending_of(alice_tab)
    assert (ended["status"], ended["error"]["detail"]) == ("failed", "The model said nothing for too long.")
    assert 0.25 < time.monotonic() - began < 3
    await is_told(alice_tab, ended)
    await upstream.posts[0].until_closed(seconds=1)


async def test_keep_alive_comments_are_no_tokens(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(first_token_seconds=0.3, attempts=1)
    upstream.always(Script([Stall(comments=0.05)]))
    ended = await ending_of(alice_tab)
    assert ended["status"] == "failed"
    await is_told(alice_tab, ended)


async def test_the_first_token_has_more_time_than_the_others(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(first_token_seconds=3, silence_seconds=0.3)
    upstream.answer(Script(["Hello"], before=[Wait(0.8)]))
    assert (await ending_of(alice_tab))["status"] == "done"


# Retry-After


@pytest.mark.parametrize("form", ["seconds", "fraction", "date", "milliseconds", "words", "counter", "overloaded"])
async def test_retry_after_is_honoured(alice_tab: Tab, upstream: Upstream, chat: Chat, form: str) -> None:
    chat(retry_seconds=0.01)
    asks = {
        "seconds": lambda: too_fast("1"),
        "fraction": lambda: too_fast("1.2"),
        "date": lambda: too_fast(in_seconds(2)),
        "milliseconds": lambda: too_fast(None, retry_after_ms="1000"),
        "words": lambda: refuses(429, "Rate limit reached. Please try again in 1.1s."),
        "counter": lambda: too_fast(None, x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="1s50ms"),
        "overloaded": lambda: overloaded("1"),
    }
    upstream.answer(lambda request: asks[form](), Script(["At last."]))
    ended = await ending_of(alice_tab)
    assert ended["status"] == "done"
    first, second = upstream.posts
    # A date has whole seconds only.
    assert 0.9 < second.arrived_at - first.arrived_at < 3


@pytest.mark.parametrize(
    "nonsense",
    ["soon", "-5", "nan", "-inf", "5 seconds", "Mon, 99 May 2026 03:02:31 GMT", "Mon, 04 May 2020 03:02:31 GMT"],
)
async def test_a_retry_after_that_says_nothing_is_as_good_as_none(
    alice_tab: Tab, upstream: Upstream, chat: Chat, nonsense: str
) -> None:
    chat(retry_seconds=0.01)
    upstream.answer(too_fast(nonsense), Script(["At last."]))
    assert (await ending_of(alice_tab))["status"] == "done"
    assert len(upstream.posts) == 2


@pytest.mark.parametrize(
    "script",
    [
        too_fast("3600"),
        lambda request: too_fast(in_seconds(3600)),
        too_fast(None, retry_after_ms="3600000"),
        overloaded("3600"),
        refuses(429, "Rate limit reached on requests per day (RPD): Limit 200. Please try again in 1h0m0s."),
        too_fast(None, x_ratelimit_remaining_requests="0", x_ratelimit_reset_requests="60m"),
    ],
    ids=["seconds", "date", "milliseconds", "overloaded", "words", "counter"],
)
async def test_a_limit_that_ends_much_later_fails_at_once_and_says_when(
    alice_tab: Tab, upstream: Upstream, script: Answer
) -> None:
    upstream.always(script)
    ended = await ending_of(alice_tab)
    told = re.fullmatch(r"The server takes no more questions until (.*) UTC\.", ended["error"]["detail"])
    assert told
    when = datetime.strptime(f"{told[1]} +0000", "%Y-%m-%d %H:%M %z") - timezone.now()
    assert timedelta(minutes=50) < when < timedelta(minutes=70)
    assert ended["error"]["retryable"]
    await is_told(alice_tab, ended)
    assert len(upstream.posts) == 1


async def test_a_limit_that_ends_in_a_thousand_years_is_no_time_to_be_told(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.always(too_fast("9" * 300))
    ended = await ending_of(alice_tab)
    assert (ended["status"], ended["error"]["detail"]) == ("failed", "The server is asked too often.")


async def test_a_daily_limit_is_waited_for_where_it_is_over_in_a_moment(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(refuses(429, "Requests per day (RPD): please try again in 400ms."), Script(["At last."]))
    assert (await ending_of(alice_tab))["status"] == "done"


async def test_a_wait_is_visible(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(too_fast("1"), Script(["At last."]))
    asked = await alice_tab.ask("Talk")
    waiting = await alice_tab.wait_for("reply_waiting", reply=asked.reply)
    assert waiting["reason"].endswith(".")
    assert waiting["until"].endswith("Z")
    await alice_tab.until_ended(asked.reply)


async def test_who_comes_during_a_wait_sees_it(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(too_fast("1"), Script(["At last."]))
    asked = await alice_tab.ask("Talk")
    await alice_tab.wait_for("reply_waiting", reply=asked.reply)
    await alice_tab.close()
    alice_tab.events.clear()
    await alice_tab.open()
    snapshot = await alice_tab.wait_for("conversation_snapshot")
    assert snapshot["replies"][0]["waiting"]["reason"]
    await alice_tab.until_ended(asked.reply)


async def test_a_wait_can_be_stopped(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.always(too_fast("4"))
    asked = await alice_tab.ask("Talk")
    await alice_tab.wait_for("reply_waiting", reply=asked.reply)
    await alice_tab.command("stop_reply", reply=asked.reply)
    assert (await alice_tab.until_ended(asked.reply, seconds=1))["status"] == "stopped"
    assert len(upstream.posts) == 1


async def test_nobody_waits_longer_than_the_longest_wait(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(retry_max_seconds=2)
    upstream.always(too_fast("3600"))
    ended = await ending_of(alice_tab, seconds=3)
    assert ended["status"] == "failed"
    await is_told(alice_tab, ended)
    assert len(upstream.posts) == 1


# The key


async def test_the_key_goes_to_its_provider_alone(alice_tab: Tab, upstream: Upstream) -> None:
    async with Upstream() as other:
        upstream.always(redirects(f"{other.base_url}/chat/completions"))
        ended = await ending_of(alice_tab)
        assert ended["status"] == "failed"
        assert upstream.posts[0].headers["authorization"] == f"Bearer {upstream.key}"
        assert other.requests == []


async def test_a_wrong_key_is_a_failure_that_does_not_show_it(alice_tab: Tab, upstream: Upstream) -> None:
    key, upstream.key = upstream.key, "another"
    ended = await ending_of(alice_tab)
    assert ended["status"] == "failed"
    assert str(key) not in str(alice_tab.events)


async def test_stop_in_the_very_moment_of_the_end_is_one_end(alice_tab: Tab, upstream: Upstream) -> None:
    for _ in range(10):
        upstream.answer(Script(["Hello", Hold()]))
        asked = await alice_tab.ask("Talk")
        await alice_tab.until_said(asked.reply, 5)
        await alice_tab.send("stop_reply", reply=asked.reply)
        upstream.posts[-1].go_on()
        ended = await alice_tab.until_ended(asked.reply)
        assert ended["status"] in ("done", "stopped")
        await is_told(alice_tab, ended)


# Our own fault


async def test_a_reply_that_cannot_be_begun_fails_and_is_not_waited_for(alice_tab: Tab, upstream: Upstream) -> None:
    """An address that cannot be read, say, which only a database can hold."""
    await Provider.objects.acreate(name="broken", base_url="http://[::1/v1")
    ended = await ending_of(alice_tab)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "internal")
    await is_told(alice_tab, ended)
    assert not upstream.posts
