"""The boundary to the models: the only module that knows the openai package.

The SDK brings authentication, connections and typed refusals. Its retries, its typed
chunks and its time-outs are not used: retries would POST again behind our back, typed
chunks cost six times as much as reading the bytes ourselves, and its time-outs are per
read, so that keep-alive comments hold a dead stream open for ever.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient

from . import retry

log = logging.getLogger(__name__)

Request = dict[str, Any]


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, and with which key. `key` is never part of its repr."""

    name: str
    base_url: str
    key: str = field(default="", repr=False)
    provider_id: int | None = None
    key_id: Any = None
    models: tuple[str, ...] = ()

    def length_limit(self, tokens: int) -> Request:
        """Return the field of a request that ends a reply after so many tokens."""
        # OpenAI's newer models refuse the old name, most other servers the new one.
        is_openai = self.base_url.startswith("https://api.openai.com/")
        return {"max_completion_tokens" if is_openai else "max_tokens": tokens}


class UpstreamError(Exception):
    """An upstream did not do what was asked.

    `code` is a word for programs, `detail` a sentence for a person (it never quotes the
    upstream, whose words may contain the key), `retryable` whether the same request may
    fare better later, `retry_after` the seconds that it asked for.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.retry_after = retry_after


class Upstream:
    """One server. Its client is kept: a new one costs 20 to 60 ms and a handshake."""

    def __init__(self, base_url: str, connect_seconds: float) -> None:
        timeout = httpx2.Timeout(None, connect=connect_seconds, pool=connect_seconds)
        self._client = AsyncOpenAI(
            base_url=base_url,
            # Servers without keys still want the header to be there.
            api_key="none",
            max_retries=0,
            http_client=DefaultAioHttpClient(
                timeout=timeout,
                # A redirect could carry the key to another host.
                follow_redirects=False,
                # Proxies and .netrc of the environment are nobody's decision here.
                trust_env=False,
                limits=httpx2.Limits(max_connections=None),
            ),
        )

    @asynccontextmanager
    async def stream(self, endpoint: Endpoint, request: Request) -> AsyncIterator[AsyncIterator[bytes]]:
        """POST a chat completion and give the bytes of its stream as they come.

        Leaving the block closes the connection, and with it the generation. Raises
        UpstreamError for a refusal, and in the block for a connection that breaks.
        """
        client = self._client.with_options(api_key=endpoint.key or "none")
        create = client.chat.completions.with_streaming_response.create
        try:
            async with create(**request, stream=True) as response:
                _check_kind(response.headers.get("content-type", ""))
                yield response.iter_bytes()
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            raise _as_upstream_error(error, endpoint) from error

    async def models(self, endpoint: Endpoint) -> list[str]:
        """Return the names of the models that the server offers. Raises UpstreamError."""
        client = self._client.with_options(api_key=endpoint.key or "none")
        try:
            listed = [getattr(model, "id", None) async for model in client.models.list(timeout=10)]
            return [name for name in listed if isinstance(name, str) and name]
        # The SDK looks for attributes in whatever JSON it was sent.
        except (openai.OpenAIError, httpx2.HTTPError, ValueError, TypeError, AttributeError) as error:
            raise _as_upstream_error(error, endpoint) from error

    async def close(self) -> None:
        await self._client.close()


class Upstreams:
    """The upstreams of one process, made when they are first needed."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._known: dict[str, Upstream] = {}

    def at(self, base_url: str) -> Upstream:
        if base_url not in self._known:
            self._known[base_url] = Upstream(base_url, self._connect_seconds)
        return self._known[base_url]

    async def close(self) -> None:
        for upstream in self._known.values():
            await upstream.close()
        self._known.clear()


def error_in_stream(error: dict[str, Any], endpoint: Endpoint) -> UpstreamError:
    """Return what an error object means that came instead of a chunk."""
    log.warning("%s: error in the stream: %s", endpoint.name, _scrubbed(error, endpoint))
    code = error.get("code")
    if code in CODES:
        return UpstreamError(code, CODES[code])
    status = code if isinstance(code, int) else 500
    return UpstreamError(
        "upstream_error",
        "The model's server reported an error in the middle of its reply.",
        retryable=retry.is_retryable_status(status),
    )


#: Codes of the API that say more than the status they come with.
CODES = {
    "insufficient_quota": "The quota of the API key is used up.",
    "billing_hard_limit_reached": "The quota of the API key is used up.",
    "context_length_exceeded": "The conversation is too long for this model.",
    "model_not_found": "The server does not offer this model.",
}

STATUSES = {
    400: ("refused", "The server refused the request."),
    401: ("key_refused", "The server refused the API key."),
    402: ("insufficient_quota", "The quota of the API key is used up."),
    403: ("key_refused", "The API key may not do this."),
    404: ("model_not_found", "The server does not offer this model, or not here."),
    408: ("slow", "The server took too long."),
    413: ("context_length_exceeded", "The conversation is too long for this model."),
    422: ("refused", "The server refused the request."),
    429: ("rate_limited", "The server is asked too often."),
    503: ("overloaded", "The model is overloaded."),
    529: ("overloaded", "The model is overloaded."),
}


def _check_kind(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/json"):
        raise UpstreamError("not_a_stream", "The server answered with something else than a stream.")


def _as_upstream_error(error: Exception, endpoint: Endpoint) -> UpstreamError:
    log.warning("%s: %s: %s", endpoint.name, type(error).__name__, _scrubbed(error, endpoint))
    if isinstance(error, openai.APIStatusError):
        return _refusal(error)
    timed_out = isinstance(error, openai.APITimeoutError | httpx2.TimeoutException)
    if timed_out and not _was_refused(error):
        return UpstreamError("unreachable", "The model's server does not answer.", retryable=True)
    if timed_out or isinstance(error, openai.APIConnectionError):
        return UpstreamError("unreachable", "The model's server cannot be reached.", retryable=True)
    if isinstance(error, httpx2.HTTPError):
        return UpstreamError("cut_off", "The connection to the model broke.", retryable=True)
    return UpstreamError("garbage", "The server's answer cannot be understood.")


def _was_refused(error: BaseException | None) -> bool:
    """Was there nobody to connect to? The aiohttp backend calls that a time-out, too."""
    while error is not None:
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _refusal(error: openai.APIStatusError) -> UpstreamError:
    status = error.status_code
    if isinstance(error.code, str) and error.code in CODES:
        return UpstreamError(error.code, CODES[error.code])
    default = (
        ("server_error", "The model's server has a problem.")
        if status >= 500
        else ("refused", "The server refused the request.")
    )
    code, detail = STATUSES.get(status, default)
    return UpstreamError(
        code,
        detail,
        retryable=retry.is_retryable_status(status),
        retry_after=retry.retry_after(error.response.headers, datetime.now(UTC)),
    )


def _scrubbed(words: object, endpoint: Endpoint) -> str:
    """Return what an upstream said, fit for a log: shortened, without the key."""
    text = str(words)
    if endpoint.key:
        text = text.replace(endpoint.key, "[key]")
    return re.sub(r"\b(sk|key)-[\w*.-]{4,}", "[key]", text)[:500]
