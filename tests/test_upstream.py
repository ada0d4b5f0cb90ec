"""The double is itself tried with a client that is not ours: the openai SDK, or plain bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import openai
import pytest

from tests.scripts import (
    Chunk,
    Drop,
    Hold,
    Reason,
    Reset,
    Script,
    Stall,
    Step,
    in_seconds,
    many,
    overloaded,
    refuses,
    too_fast,
)
from tests.upstream import Upstream, UpstreamThread


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@pytest.fixture
async def client(upstream: Upstream) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-test", base_url=upstream.base_url, max_retries=0) as client:
        yield client


async def stream(client: openai.AsyncOpenAI, text: str = "Hello") -> AsyncIterator[str]:
    chunks = await client.chat.completions.create(
        model="small",
        messages=[{"role": "user", "content": text}],
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in chunks:
        for choice in chunk.choices:
            yield choice.delta.content or ""


async def read(client: openai.AsyncOpenAI, text: str = "Hello") -> str:
    return "".join([delta async for delta in stream(client, text)])


async def test_says_back_what_it_was_told(client: openai.AsyncOpenAI) -> None:
    assert await read(client, "two words") == "You said: two words"


async def test_lists_its_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["small", "large"]


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 5, 7])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_cut_anywhere_the_text_is_the_same(
    client: openai.AsyncOpenAI, upstream: Upstream, cut: int, line_end: str
) -> None:
    script = Script(["é漢🙂", "", "b"], cut=cut, line_end=line_end)
    upstream.answer(script)
    assert await read(client) == script.text == upstream.requests[0].text == "é漢🙂b"


async def test_without_streaming_the_completion_is_whole(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.answer(Script(["Hel", Reason("hm"), "lo"]))
    answer = await client.chat.completions.create(model="small", messages=[{"role": "user", "content": "?"}])
    assert answer.choices[0].message.content == "Hello"


async def test_a_hold_waits_for_the_test(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.answer(Script(["a", Hold(), "b"]))
    reading = asyncio.create_task(read(client))
    request = await upstream.until_asked()
    await request.until_said()
    assert request.text == "a"
    request.go_on()
    assert await reading == "ab"


async def test_a_client_that_leaves_is_noticed(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.answer(Script(["a", Stall()]))
    reading = asyncio.create_task(read(client))
    request = await upstream.until_asked()
    await request.until_said()
    reading.cancel()
    left = time.monotonic()
    assert await request.until_closed() - left < 1


async def test_an_answer_that_was_read_to_the_end_was_not_left(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    await read(client)
    await upstream.requests[0].until_ended()
    assert upstream.requests[0].closed_at is None


@pytest.mark.parametrize("end", [Reset(), Drop()])
async def test_a_broken_connection_is_an_error(client: openai.AsyncOpenAI, upstream: Upstream, end: Reset) -> None:
    upstream.answer(Script(["a", end]))
    with pytest.raises(openai.APIConnectionError):
        await read(client)
    assert upstream.requests[0].text == "a"


@pytest.mark.parametrize("before", [Reset(), Drop()])
async def test_a_connection_may_break_before_the_first_byte(
    client: openai.AsyncOpenAI, upstream: Upstream, before: Reset
) -> None:
    upstream.answer(Script(before=[before]))
    with pytest.raises(openai.APIConnectionError):
        await read(client)
    assert upstream.requests[0].first_byte_at is None


async def test_scripts_are_taken_in_order(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.answer(too_fast("2"), overloaded(in_seconds(3)), Script(["at last"]))
    with pytest.raises(openai.RateLimitError) as too_many:
        await read(client)
    with pytest.raises(openai.InternalServerError):
        await read(client)
    assert too_many.value.response.headers["retry-after"] == "2"
    assert await read(client) == "at last"
    assert len(upstream.posts) == 3


async def test_a_rule_goes_before_the_queue(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.when(lambda request: "special" in request.asked, Script(["ruled"]))
    upstream.answer(Script(["queued"]))
    assert await read(client, "special") == "ruled"
    assert await read(client, "other") == "queued"


async def test_a_stopped_upstream_refuses_and_comes_back(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    await upstream.stop()
    with pytest.raises(openai.APIConnectionError):
        await read(client)
    await upstream.start()
    assert await read(client, "x") == "You said: x"


async def test_a_message_may_hold_the_script(client: openai.AsyncOpenAI) -> None:
    assert await read(client, '/script {"deltas": 3}') == many(3).text


async def test_a_wrong_key_is_refused(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.key = "another"
    with pytest.raises(openai.AuthenticationError):
        await read(client)


def test_the_text_of_a_script_is_that_of_its_first_choice() -> None:
    steps: list[Step] = [
        "a",
        Chunk(None),
        Chunk({"content": None}),
        Chunk({"content": "b"}),
        Chunk({"content": "c"}, index=1),
    ]
    assert Script(steps).text == "ab"


def test_serves_from_a_thread() -> None:
    with UpstreamThread() as upstream, openai.OpenAI(api_key="sk", base_url=upstream.base_url) as client:
        assert [model.id for model in client.models.list()] == ["small", "large"]


async def test_of_many_requests_the_last_are_kept_if_so_asked() -> None:
    async with Upstream(keep=5) as upstream, openai.AsyncOpenAI(api_key="sk", base_url=upstream.base_url) as client:
        for number in range(40):
            await read(client, f"question {number}")
        assert upstream.forgotten + len(upstream.posts) == 40
        assert len(upstream.requests) < 12
        last = await upstream.until_asked(40)
        assert last.text == "You said: question 39"


async def test_the_text_of_a_long_answer_can_be_looked_at_while_it_grows(
    client: openai.AsyncOpenAI, upstream: Upstream
) -> None:
    upstream.answer(Script([*many(20).steps, Hold(), *many(20, seed="later").steps]))
    reading = asyncio.create_task(read(client))
    request = await upstream.until_asked()
    await request.until_said(len(many(20).text))
    assert request.text == many(20).text
    request.go_on()
    assert await reading == request.text == many(20).text + many(20, seed="later").text
    assert request.length == len(request.text)


@pytest.mark.parametrize("status", [418, 529])
async def test_any_status_can_be_answered(client: openai.AsyncOpenAI, upstream: Upstream, status: int) -> None:
    upstream.answer(refuses(status))
    with pytest.raises(openai.APIStatusError) as refused:
        await read(client)
    assert refused.value.status_code == status


async def test_an_answer_need_not_be_http(client: openai.AsyncOpenAI, upstream: Upstream) -> None:
    upstream.answer(Script(raw=b"SSH-2.0-OpenSSH_9.2\r\n"))
    with pytest.raises(openai.APIConnectionError):
        await read(client)
