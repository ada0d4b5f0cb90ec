"""The boundary to the models, against a real server that misbehaves: each fault has its own word and sentence, and none
of them costs more memory or time than it may."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest

from streaming.endpoint import Endpoint, UpstreamError
from streaming.refusals import NOT_A_STREAM, STATUSES, TOO_LONG
from streaming.upstream import REFUSAL_BYTES
from streaming.upstream import Upstream as Provider
from tests.scripts import Drop, Hold, Raw, Reset, Script, Stall, Step, error_body, page, redirects, refuses
from tests.services import free_port
from tests.upstream import Upstream

#: More than any of these may take, less than anybody waits.
SECONDS = 20.0
#: What a server that sends without end may cost.
MEGABYTES = 8

JSON = {"Content-Type": "application/json"}
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
UNREACHABLE = ("unreachable", "The model's server cannot be reached.")
SILENT = ("unreachable", "The model's server does not answer.")
HUNG_UP = ("hung_up", "The model's server closed the connection before it answered.")
BROKE = ("cut_off", "The connection to the model broke.")
GARBAGE = ("garbage", "The server's answer cannot be understood.")


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


@contextlib.asynccontextmanager
async def asking(base_url: str, connect_seconds: float = SECONDS) -> AsyncIterator[Provider]:
    provider = Provider(base_url, connect_seconds)
    try:
        yield provider
    finally:
        await provider.close()


async def read(provider: Provider, base_url: str) -> bytes:
    endpoint = Endpoint("test", base_url, "sk-secret")
    async with provider.stream(endpoint, {"model": "m", "messages": []}) as stream:
        return b"".join([data async for data in stream])


async def ask(base_url: str, connect_seconds: float = SECONDS) -> bytes:
    async with asyncio.timeout(2 * SECONDS), asking(base_url, connect_seconds) as provider:
        return await read(provider, base_url)


async def fault_of(base_url: str, connect_seconds: float = SECONDS) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await ask(base_url, connect_seconds)
    assert "secret" not in str(caught.value)
    return caught.value


# What goes wrong before an answer


async def test_a_port_where_nobody_listens_cannot_be_reached() -> None:
    fault = await fault_of(f"http://127.0.0.1:{free_port()}/v1")
    assert ((fault.code, fault.detail), fault.retryable) == (UNREACHABLE, True)


async def test_a_host_without_an_address_cannot_be_reached() -> None:
    fault = await fault_of("http://no-such-host.invalid/v1")
    assert ((fault.code, fault.detail), fault.retryable) == (UNREACHABLE, True)


@pytest.fixture
def deaf() -> Iterator[int]:
    """A port whose queue is full: the kernel answers no more connection."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        yield listener.getsockname()[1]


async def test_a_host_that_takes_no_connection_does_not_answer(deaf: int) -> None:
    fault = await fault_of(f"http://127.0.0.1:{deaf}/v1", connect_seconds=0.3)
    assert ((fault.code, fault.detail), fault.retryable) == (SILENT, True)


@pytest.mark.parametrize(
    "script",
    [
        Script(before=[Reset()]),
        Script(before=[Drop()]),
        Script(raw=b"HTTP/1.1 200 OK\r\nContent-"),
        Script(raw=b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["reset", "closed", "half a head", "only a promise"],
)
async def test_a_connection_that_is_closed_before_the_answer_is_no_time_out(upstream: Upstream, script: Script) -> None:
    upstream.answer(script)
    fault = await fault_of(upstream.base_url)
    assert ((fault.code, fault.detail), fault.retryable) == (HUNG_UP, True)


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        EVENTS + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["not HTTP", "no status", "no length", "an endless header", "what it says to be compressed"],
)
async def test_an_answer_that_is_no_http_is_not_a_fault_of_ours(upstream: Upstream, raw: bytes) -> None:
    upstream.answer(Script(raw=raw))
    fault = await fault_of(upstream.base_url)
    assert ((fault.code, fault.detail), fault.retryable) == (GARBAGE, False)


@pytest.mark.parametrize(
    "script",
    [
        Script(["a", Reset()]),
        Script(["a", Drop()]),
        Script(raw=EVENTS + b"Content-Length: 100\r\n\r\ndata: "),
        Script(raw=EVENTS + b"Transfer-Encoding: chunked\r\n\r\n5\r\ndata:\r\nzz\r\n"),
    ],
    ids=["reset", "closed", "shorter than its length", "chunks that are none"],
)
async def test_a_body_that_breaks_off_is_a_broken_connection(upstream: Upstream, script: Script) -> None:
    upstream.answer(script)
    fault = await fault_of(upstream.base_url)
    assert fault.code in ("cut_off", "garbage")
    assert fault.detail in (BROKE[1], GARBAGE[1])


@pytest.mark.parametrize(
    "script", [page(), redirects("/v1/elsewhere"), Script(body=b'{"choices": []}')], ids=["page", "redirect", "JSON"]
)
async def test_what_is_no_stream_is_named_so(upstream: Upstream, script: Script) -> None:
    upstream.answer(script)
    fault = await fault_of(upstream.base_url)
    assert ((fault.code, fault.detail), fault.retryable) == (NOT_A_STREAM, False)


@pytest.mark.parametrize("status", [200, 400])
async def test_a_refusal_means_the_same_with_a_status_of_success(upstream: Upstream, status: int) -> None:
    body = error_body("the request exceeds the available context size", "400")
    upstream.answer(Script(status=status, headers=JSON, body=body))
    fault = await fault_of(upstream.base_url)
    assert (fault.code, fault.detail) == TOO_LONG
    assert fault.refusal is not None
    assert fault.refusal.is_too_long


# Bounds


def endless(count: int) -> list[Step]:
    piece = Raw(b"x" * 65_536)
    return [piece] * (count // 65_536)


@contextlib.contextmanager
def memory_is_bounded() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTES * 2**20


@pytest.mark.parametrize("status", [400, 401, 503])
async def test_a_refusal_of_50_megabytes_is_not_read_to_its_end(upstream: Upstream, status: int) -> None:
    upstream.answer(Script(endless(50_000_000), status=status, headers=JSON))
    with memory_is_bounded():
        fault = await fault_of(upstream.base_url)
    assert fault.code == (STATUSES.get(status, ("refused",)))[0]
    assert fault.refusal is not None
    assert len(fault.refusal.words) <= REFUSAL_BYTES
    await upstream.posts[0].until_closed()


async def test_a_refusal_that_never_ends_is_not_waited_for(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.upstream.REFUSAL_SECONDS", 0.3)
    upstream.answer(Script([Stall(comments=0.05)], status=401))
    fault = await fault_of(upstream.base_url)
    assert (fault.code, fault.detail) == STATUSES[401]
    await upstream.posts[0].until_closed()


async def test_a_refusal_whose_words_are_cut_off_is_the_same_refusal(upstream: Upstream) -> None:
    head = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    upstream.answer(Script(raw=head + b'{"error": {"mess'))
    fault = await fault_of(upstream.base_url)
    assert ((fault.code, fault.detail), fault.retryable) == (STATUSES[401], False)


async def test_a_json_of_50_megabytes_is_no_stream_and_not_read(upstream: Upstream) -> None:
    upstream.answer(Script(endless(50_000_000), headers=JSON))
    with memory_is_bounded():
        fault = await fault_of(upstream.base_url)
    assert (fault.code, fault.detail) == NOT_A_STREAM


async def test_more_replies_than_a_hundred_are_asked_for_at_once(upstream: Upstream) -> None:
    """The HTTP client below would let a hundred through and call it a time-out for the others."""
    count = 130
    upstream.always(Script(["a", Hold()]))
    async with asyncio.timeout(3 * SECONDS), asking(upstream.base_url) as provider:
        running = [asyncio.create_task(read(provider, upstream.base_url)) for _ in range(count)]
        last = await upstream.until_asked(count, seconds=2 * SECONDS)
        await last.until_said()
        for request in upstream.posts:
            request.go_on()
        assert all(await asyncio.gather(*running))


async def test_what_is_asked_for_does_not_come_compressed(upstream: Upstream) -> None:
    """A compressed stream comes in clumps, and a compressed refusal may unfold without end."""
    await ask(upstream.base_url)
    assert upstream.posts[0].headers["accept-encoding"] == "identity"


# The list of models


class Silent(Upstream):
    """Says of its models what the test wants."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.script = script

    def list_of_models(self) -> Script:
        return self.script


@pytest.mark.parametrize(
    "script",
    [
        Script(before=[Stall()]),
        Script(headers=JSON, raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        Script(body=b"[1, 2]"),
        Script(body=b'{"data": 5}'),
        Script(body=b"<html>"),
        Script(raw=b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        refuses(401),
        refuses(500),
    ],
    ids=["silence", "cut off", "a list", "no list", "a page", "no HTTP", "401", "500"],
)
async def test_a_list_of_models_that_does_not_come_is_an_error_in_good_time(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streaming.upstream.LIST_SECONDS", 0.5)
    async with Silent(script) as upstream, asking(upstream.base_url) as provider, asyncio.timeout(SECONDS):
        with pytest.raises(UpstreamError):
            await provider.models(Endpoint("test", upstream.base_url))
