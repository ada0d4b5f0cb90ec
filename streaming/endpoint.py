"""Whom a model is asked at, and the ways in which that may fail. What asks is `upstream`."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from .refusals import DAILY, REFUSED, SERVER_ERROR, Refusal, read_error

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

    def length_limit(self, tokens: int, name: str = "") -> Request:
        """Return the field of a request that ends a reply after so many tokens; `name` is
        what it is called there, where that is known."""
        # OpenAI's newer models refuse the old name, most other servers the new one.
        is_openai = self.base_url.startswith("https://api.openai.com/")
        return {name or ("max_completion_tokens" if is_openai else "max_tokens"): tokens}


class UpstreamError(Exception):
    """An upstream did not do what was asked.

    `code` is a word for programs, `detail` a sentence for a person (it never quotes the
    upstream, whose words may contain the key), `retryable` whether the same request may
    fare better later, `retry_after` the seconds that it asked for, `refusal` what it said.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retryable = retryable
        self.retry_after = retry_after
        self.refusal = refusal


def as_error(refusal: Refusal) -> UpstreamError:
    code, detail = refusal.meaning
    asked = refusal.seconds_asked(datetime.now(UTC))
    # Of a daily limit nobody knows when it is over, unless the server tells.
    retryable = refusal.is_retryable and (refusal.meaning is not DAILY or asked is not None)
    return UpstreamError(code, detail, retryable=retryable, retry_after=asked, refusal=refusal)


def error_in_stream(error: dict[str, Any], endpoint: Endpoint, has_spoken: bool = False) -> UpstreamError:
    """Return what an error object means that came instead of a chunk."""
    log.warning("%s: error in the stream: %s", endpoint.name, scrubbed(error, endpoint))
    refusal = read_error(error)
    meant = as_error(refusal)
    if has_spoken and refusal.meaning in (SERVER_ERROR, REFUSED):
        meant.code, meant.detail = IN_THE_MIDDLE
    return meant


IN_THE_MIDDLE = ("upstream_error", "The model's server reported an error in the middle of its reply.")


def scrubbed(words: object, endpoint: Endpoint) -> str:
    """Return what an upstream said, fit for a log: shortened, without the key."""
    text = str(words)
    if endpoint.key:
        text = text.replace(endpoint.key, "[key]")
    return re.sub(r"\b(sk|key)-[\w*.-]{4,}", "[key]", text)[:500]
