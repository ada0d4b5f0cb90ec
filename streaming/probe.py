"""Try a provider as a reply would: its list of models, then the first words of a tiny stream.

For the "test" of the admin. Uses a connection of its own and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from django.conf import settings

from .catalogue import OPENAI_MODELS
from .chunks import DONE, BadChunk, parse_chunk
from .endpoint import Endpoint, Request, UpstreamError, error_in_stream
from .remedies import USUAL, Remedy, remedy_for
from .sse import EventStream, EventTooLarge

if TYPE_CHECKING:
    from .upstream import Upstream

#: A person waits in front of the answer.
CONNECT_SECONDS = 5.0
LIST_SECONDS = 10.0
ANSWER_SECONDS = 20.0
#: Enough for a word; a model that thinks first may use them up without one.
TOKENS = 16

QUESTION = {"role": "user", "content": "Say hi."}
NO_LIST = UpstreamError(
    "no_list",
    "There is no list of models at this address. Check the base URL, which mostly ends with /v1, or name the models.",
)


@dataclass(frozen=True)
class Probe:
    """What came of it. `models` is what the server offers, as far as it tells; `error` is why there was no answer."""

    models: tuple[str, ...] = ()
    model: str = ""
    first_token_ms: int | None = None
    error: UpstreamError | None = None

    @property
    def is_good(self) -> bool:
        return self.error is None


async def probe(endpoint: Endpoint, model: str = "") -> Probe:
    """Ask `endpoint` what it offers and `model` (else the first that is likely to chat) for a word."""
    # Not with the pages of the admin: the SDK takes most of a second to import.
    from .upstream import Upstream

    connect_seconds = min(CONNECT_SECONDS, settings.CHAT.connect_seconds)
    upstream = Upstream(endpoint.base_url, connect_seconds)
    try:
        return await _probe(upstream, endpoint, model)
    finally:
        await upstream.close()


async def _probe(upstream: Upstream, endpoint: Endpoint, model: str) -> Probe:
    models: tuple[str, ...] = ()
    try:
        async with _at_most(LIST_SECONDS):
            models = tuple(await upstream.models(endpoint))
    except UpstreamError as error:
        # Some servers have no list of models and answer all the same.
        if not (model or endpoint.models):
            return Probe(error=NO_LIST if error.code == "model_not_found" else error)
    asked = model or _likely_to_chat(endpoint.models or models)
    if not asked:
        return Probe(models, error=UpstreamError("no_models", "The server offers no models."))
    try:
        async with _at_most(ANSWER_SECONDS):
            return Probe(models, asked, await _answer(upstream, endpoint, asked))
    except UpstreamError as error:
        return Probe(models, asked, error=error)


def _likely_to_chat(models: Sequence[str]) -> str:
    """Servers list what only draws or listens, too."""
    preferred = [name for name in (settings.CHAT.default_model, *OPENAI_MODELS) if name in models]
    return next(iter([*preferred, *models]), "")


async def _answer(upstream: Upstream, endpoint: Endpoint, model: str) -> int:
    """Return after how many milliseconds the model began to answer, asked in the way that
    its server wants, as a reply would be."""
    dialect, tried = USUAL, set[Remedy]()
    while True:
        request: Request = {"model": model, "messages": [QUESTION], **endpoint.length_limit(TOKENS, dialect.length)}
        if dialect.tells_usage:
            request["stream_options"] = {"include_usage": True}
        try:
            return await _first_token(upstream, endpoint, request)
        except UpstreamError as error:
            remedy = remedy_for(error.refusal, request) if error.refusal else None
            if remedy is None or remedy is Remedy.SHORTER or remedy in tried:
                raise
            tried.add(remedy)
            dialect = dialect.after(remedy, request)


async def _first_token(upstream: Upstream, endpoint: Endpoint, request: Request) -> int:
    events = EventStream()
    began = monotonic()
    try:
        async with upstream.stream(endpoint, request) as stream:
            async for data in stream:
                if any(_is_answer(payload, endpoint) for payload in events.receive_data(data)):
                    return round((monotonic() - began) * 1000)
    except (BadChunk, EventTooLarge) as error:
        raise UpstreamError("garbage", "The model's server sent something that is no reply.") from error
    raise UpstreamError("empty", "The stream ended before the model had said anything.")


def _is_answer(payload: bytes, endpoint: Endpoint) -> bool:
    if payload == DONE:
        return False
    chunk = parse_chunk(payload)
    if chunk.error:
        raise error_in_stream(chunk.error, endpoint)
    # A model that has thought until its few tokens were used up has answered as well.
    return bool(chunk.text or chunk.reasoning or chunk.finish_reason)


@asynccontextmanager
async def _at_most(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise UpstreamError("slow", f"The model's server said nothing for {seconds:g} seconds.") from error
