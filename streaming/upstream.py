"""The boundary to the models: the only module that knows the openai package.

The SDK brings authentication, connections and typed refusals. Its retries, its typed
chunks and its time-outs are not used: retries would POST again behind our back, typed
chunks cost six times as much as reading the bytes ourselves, and its time-outs are per
read, so that keep-alive comments hold a dead stream open for ever.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from .endpoint import Endpoint, Request, UpstreamError, as_error, scrubbed
from .refusals import NOT_A_STREAM, read_error, read_refusal
from .remedies import USUAL, Dialect

log = logging.getLogger(__name__)


@functools.cache
def certificates() -> ssl.SSLContext:
    """Whom this machine believes. Reading them holds up the loop for 20 to 60 ms, most of what a client costs."""
    return httpx2.create_ssl_context(trust_env=False)


class Upstream:
    """One server. Its client is kept: a new one costs a handshake."""

    def __init__(self, base_url: str, connect_seconds: float) -> None:
        timeout = httpx2.Timeout(None, connect=connect_seconds, pool=connect_seconds)
        self._client = AsyncOpenAI(
            base_url=base_url,
            # Servers without keys still want the header to be there.
            api_key="none",
            max_retries=0,
            http_client=DefaultAioHttpClient(
                timeout=timeout,
                verify=certificates(),
                # A redirect could carry the key to another host.
                follow_redirects=False,
                # Proxies and .netrc of the environment are nobody's decision here.
                trust_env=False,
                # 0 is without limit; None would be the 100 of the aiohttp below.
                limits=httpx2.Limits(max_connections=0),
                # Compressed, a stream comes in clumps, and a refusal can unfold to gigabytes.
                headers={"Accept-Encoding": "identity"},
                event_hooks={"response": [_bound]},
            ),
        )
        #: key → the client that sends it. The SDK finds out anew about its platform, on a thread, for each that it makes.
        self._clients: dict[str, AsyncOpenAI] = {}
        #: model → how it wants to be asked, as it was found out.
        self._dialects: dict[str, Dialect] = {}

    def dialect_of(self, model: str) -> Dialect:
        return self._dialects.get(model, USUAL)

    def remember_dialect(self, model: str, dialect: Dialect) -> None:
        """Ask for `model` like this from now on; as long as the process lives, because the
        server may be another one after its next update."""
        self._dialects[model] = dialect

    @asynccontextmanager
    async def stream(self, endpoint: Endpoint, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        """POST a chat completion and give the bytes of its stream as they come.

        Leaving the block closes the connection, and with it the generation. Raises
        UpstreamError for a refusal, and in the block for a connection that breaks.
        """
        create = self._client_with(endpoint.key).chat.completions.with_streaming_response.create
        has_begun = False
        try:
            # As the body that it is: of arguments the SDK makes a copy, message by message, while all others wait.
            async with create(model=request["model"], messages=[], extra_body=request, stream=True) as response:
                await _check_kind(response)
                has_begun = True
                yield response.iter_bytes()
        except (openai.OpenAIError, httpx2.HTTPError, aiohttp.ClientError) as error:
            raise _as_upstream_error(error, endpoint, has_begun) from error

    async def models(self, endpoint: Endpoint) -> list[str]:
        """Return the names of the models that the server offers. Raises UpstreamError."""
        client = self._client_with(endpoint.key)
        try:
            async with asyncio.timeout(LIST_SECONDS):
                listed = [getattr(model, "id", None) async for model in client.models.list()]
            return [name for name in listed if isinstance(name, str) and name]
        except TimeoutError as error:
            raise UpstreamError("unreachable", "The model's server does not answer.", retryable=True) from error
        # The SDK looks for attributes in whatever JSON it was sent.
        except (
            openai.OpenAIError,
            httpx2.HTTPError,
            aiohttp.ClientError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:
            raise _as_upstream_error(error, endpoint) from error

    def _client_with(self, key: str) -> AsyncOpenAI:
        if key not in self._clients:
            if len(self._clients) >= MOST_CLIENTS:
                self._clients.clear()
            self._clients[key] = self._client.with_options(api_key=key or "none")
        return self._clients[key]

    async def close(self) -> None:
        await self._client.close()


#: Keys come and go over the months that a process may live.
MOST_CLIENTS = 100
#: Of the body of a refusal. The SDK would read it to its end, however long that takes.
REFUSAL_BYTES = 64 * 1024
REFUSAL_SECONDS = 5.0
#: Of a list of models; the longest that is known has half a megabyte.
LIST_BYTES = 8 * 1024 * 1024
LIST_SECONDS = 10.0


async def _bound(response: httpx2.Response) -> None:
    """Read what is no stream before the SDK does, and no more of it than is of use."""
    if response.is_success and response.request.method == "POST":
        return
    limit = LIST_BYTES if response.is_success else REFUSAL_BYTES
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    body = await _first_bytes(response.stream, limit)
    await response.stream.aclose()
    response.stream = httpx2.ByteStream(body)


async def _first_bytes(stream: AsyncIterable[bytes], limit: int) -> bytes:
    """Return the beginning of a body. One that breaks off, or never ends, has one, too."""
    body = bytearray()
    try:
        async with asyncio.timeout(REFUSAL_SECONDS):
            async for data in stream:
                body += data
                if len(body) >= limit:
                    break
    except (TimeoutError, httpx2.HTTPError, aiohttp.ClientError) as error:
        log.info("the body of a refusal broke off: %r", error)
    return bytes(body[:limit])


async def _check_kind(response: Any) -> None:
    """Raise UpstreamError where a success is none, or no stream."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        # Some servers say 200 to everything, and mean what stands inside.
        body = _as_json(await _first_bytes(response.iter_bytes(), REFUSAL_BYTES))
        if isinstance(body, dict) and isinstance(body.get("error"), dict):
            raise as_error(read_error(body["error"]))
    if kind in ("text/html", "application/json"):
        raise UpstreamError(*NOT_A_STREAM)


def _as_json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _as_upstream_error(error: Exception, endpoint: Endpoint, has_begun: bool = False) -> UpstreamError:
    log.warning("%s: %s: %s", endpoint.name, type(error).__name__, scrubbed(error, endpoint))
    if isinstance(error, openai.APIStatusError):
        return as_error(read_refusal(error.status_code, error.body, error.response.headers))
    if has_begun and not isinstance(error, httpx2.DecodingError):
        return UpstreamError("cut_off", "The connection to the model broke.", retryable=True)
    for cause in _causes(error):
        for kind, code, detail in BREAKS:
            if isinstance(cause, kind):
                return UpstreamError(code, detail, retryable=True)
    return UpstreamError("garbage", "The server's answer cannot be understood.")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and what led to it, the first cause first: the SDK and its HTTP client
    call everything that happens before the answer a time-out."""
    if error is not None:
        yield from _causes(error.__cause__)
        yield error


#: What may go wrong before an answer has begun, the special before the general.
BREAKS: tuple[tuple[type[Exception], str, str], ...] = (
    (aiohttp.ServerTimeoutError, "unreachable", "The model's server does not answer."),
    (aiohttp.ClientConnectorError, "unreachable", "The model's server cannot be reached."),
    (aiohttp.ClientConnectionError, "hung_up", "The model's server closed the connection before it answered."),
)
