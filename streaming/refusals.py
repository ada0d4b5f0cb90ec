"""What a server means by refusing: a word for programs, a sentence for a person. Pure.

Servers agree on the numbers of HTTP and on little else: the same fault has another code and
other words at each of them. Their words are looked at here and never shown, because they
may contain the key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from . import retry

#: What is looked at of a refusal, in characters. Some repeat the whole request.
LONGEST_WORDS = 20_000


class Meaning(NamedTuple):
    code: str
    detail: str


@dataclass(frozen=True)
class Refusal:
    """What a server said instead of a reply: a status, the codes that come with it, and all
    of its words in lower case, for searching."""

    status: int
    codes: frozenset[str] = frozenset()
    words: str = ""
    #: Headers that came with it or, at gateways, in it. Names are in lower case.
    headers: Mapping[str, str] | None = None

    @property
    def is_too_long(self) -> bool:
        return self.meaning is TOO_LONG

    @property
    def meaning(self) -> Meaning:
        for code, meaning in CODES.items():
            if code in self.codes:
                return meaning
        for meaning, statuses, words in WORDS:
            if self.status in statuses and words.search(self.words):
                return meaning
        return _by_status(self.status)

    @property
    def is_retryable(self) -> bool:
        """May the same request fare better in a while?"""
        return retry.is_retryable_status(self.status) and self.meaning not in LASTING

    def seconds_asked(self, now: datetime) -> float | None:
        """Return for how long the server asks to be left alone."""
        headers = self.headers or {}
        if self.status == 429:
            return retry.seconds_asked(headers, self.words, now)
        return retry.retry_after(headers, now)

    @property
    def context_limit(self) -> int | None:
        """How many tokens the model can be given, where the refusal names it."""
        return _first_number(LIMIT, self.words)

    @property
    def counted_tokens(self) -> int | None:
        """How many tokens the server has counted in the request, where it tells."""
        return _first_number(COUNTED, self.words)


def read_refusal(status: int, body: object, headers: Mapping[str, str] | None = None) -> Refusal:
    """Make sense of a refusal's body: JSON in any shape, or text."""
    said = body[0] if isinstance(body, list) and body else body
    error = said.get("error", said) if isinstance(said, dict) else said
    return Refusal(
        status,
        _codes(error) if isinstance(error, dict) else frozenset(),
        _words(body)[:LONGEST_WORDS].lower(),
        {**_headers_within(error), **{name.lower(): value for name, value in (headers or {}).items()}},
    )


def read_error(error: Mapping[str, Any]) -> Refusal:
    """Make sense of an error that came inside a stream, whose status is in it, if at all."""
    refusal = read_refusal(0, dict(error))
    numbers = [int(code) for code in refusal.codes if re.fullmatch(r"[45]\d\d", code)]
    named = [status for code, status in STATUS_OF_CODE.items() if code in refusal.codes]
    return Refusal((numbers + named + [500])[0], refusal.codes, refusal.words, refusal.headers)


def _words(body: object) -> str:
    try:
        return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    except RecursionError:
        return ""


def _codes(error: Mapping[str, Any]) -> frozenset[str]:
    found = (error.get(name) for name in ("code", "type", "status"))
    return frozenset(str(code).lower() for code in found if isinstance(code, str | int))


def _headers_within(error: object) -> dict[str, str]:
    """OpenRouter puts the headers of a limit into the error, too."""
    metadata = error.get("metadata") if isinstance(error, dict) else None
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    return {str(k).lower(): str(v) for k, v in headers.items()} if isinstance(headers, dict) else {}


def _first_number(pattern: re.Pattern[str], words: str) -> int | None:
    if found := pattern.search(words):
        number = next(group for group in found.groups() if group)
        return int(number.replace(",", "")) or None
    return None


def _by_status(status: int) -> Meaning:
    if status in STATUSES:
        return STATUSES[status]
    if status < 400:
        return NOT_A_STREAM
    return SERVER_ERROR if status >= 500 else REFUSED


REFUSED = Meaning("refused", "The server refused the request.")
SERVER_ERROR = Meaning("server_error", "The model's server has a problem.")
NOT_A_STREAM = Meaning("not_a_stream", "The server answered with something else than a stream.")
QUOTA = Meaning("insufficient_quota", "The quota of the API key is used up.")
DAILY = Meaning("daily_limit", "The daily limit of the API key is used up.")
TOO_LONG = Meaning("context_length_exceeded", "The conversation is too long for this model.")
FILTERED = Meaning("content_filter", "The provider's content filter did not let the question through.")
NO_MODEL = Meaning("model_not_found", "The server does not offer this model.")
TOO_FAST = Meaning("rate_limited", "The server is asked too often.")
OVERLOADED = Meaning("overloaded", "The model is overloaded.")

#: What waiting does not change, whatever the status says.
LASTING = (QUOTA, TOO_LONG, FILTERED, NO_MODEL)

STATUSES = {
    401: Meaning("key_refused", "The server refused the API key."),
    402: QUOTA,
    403: Meaning("key_refused", "The API key may not do this."),
    404: Meaning("model_not_found", "The server does not offer this model, or not here."),
    408: Meaning("slow", "The server took too long."),
    413: TOO_LONG,
    429: TOO_FAST,
    503: OVERLOADED,
    529: OVERLOADED,
}

#: Codes and types that say more than the status they come with.
CODES = {
    "insufficient_quota": QUOTA,
    "billing_hard_limit_reached": QUOTA,
    "billing_not_active": QUOTA,
    "exceeded_current_quota_error": QUOTA,
    "arrearage": QUOTA,
    "context_length_exceeded": TOO_LONG,
    "context_window_exceeded": TOO_LONG,
    "model_context_window_exceeded": TOO_LONG,
    "exceed_context_size_error": TOO_LONG,
    "content_filter": FILTERED,
    "content_policy_violation": FILTERED,
    "data_inspection_failed": FILTERED,
    "model_not_found": NO_MODEL,
}

#: For errors inside a stream, whose own status was 200.
STATUS_OF_CODE = {
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "overloaded_error": 529,
    "overloaded": 529,
    "invalid_request_error": 400,
    "badrequesterror": 400,
}


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


#: Too much at once for a limit a minute: waiting does not help, a shorter prompt does.
TOO_LARGE_AT_ONCE = _any_of(r"request too large", r"tokens must be reduced")

#: OpenAI, Azure, vLLM, llama.cpp, Ollama, OpenRouter, LM Studio, Groq, Gemini, Anthropic, xAI, DashScope …
TOO_LONG_WORDS = _any_of(
    r"context[ _](length|window|size)[^.]{0,80}(exceed|overflow|too long|too small|not enough)",
    r"(exceed|longer than|larger than|greater than|overflow)[^.]{0,80}context",
    r"context the overflows",  # as LM Studio says it
    r"maximum (context|prompt|input|sequence|model) length",
    r"(prompt|input|conversation|context|messages?) (is |are |was )?too (long|large)",
    r"prompt exceeds",
    r"reduce the length of (the|your) (messages|prompt|input)",
    r"input token count[^.]{0,40}exceeds",
    r"exceeded model token limit",
    r"prompt token count[^.]{0,40}exceeds",
    r"more than max tokens allowed",
    r"range of input length",
    r"context_length_exceeded",
    r"上下文[^。]{0,20}(过长|超)",
    TOO_LARGE_AT_ONCE.pattern,
)
QUOTA_WORDS = _any_of(
    r"insufficient[ _](account )?(balance|credits?|funds|quota)",
    r"requires more credits",
    r"credit balance is too low",
    r"check your plan and billing",
    r"余额不足|欠费",
)
DAILY_WORDS = _any_of(r"per[ _-]?day", r"\b[rt]pd\b", r"daily (request |token |usage )?(limit|quota)")
FILTERED_WORDS = _any_of(
    r"content (management policy|filter)", r"responsible ?ai", r"content_filter", r"input was flagged"
)
NO_MODEL_WORDS = _any_of(r"model[^.]{0,60}(not exist|not found)", r"(unknown|invalid) model\b")

#: In this order, because some say several of these at once: Gemini asks at each limit to
#: check plan and billing, also when a few seconds help.
WORDS = (
    (DAILY, {429}, DAILY_WORDS),
    (TOO_FAST, {429}, _any_of(r'"retrydelay": ?"', r"please retry in \d")),
    (QUOTA, {400, 402, 403, 429}, QUOTA_WORDS),
    (FILTERED, {400, 403, 422}, FILTERED_WORDS),
    (TOO_LONG, {429}, TOO_LARGE_AT_ONCE),
    (TOO_LONG, {200, 400, 413, 422, 500}, TOO_LONG_WORDS),
    (NO_MODEL, {400, 422}, NO_MODEL_WORDS),
)

LIMIT = _any_of(
    r"maximum (?:context|prompt|input|sequence|model) length (?:is|of) (\d[\d,]*)",
    r"context (?:length|window|size) (?:of|is|of only|is only) (\d[\d,]*)",
    r"context size \((\d[\d,]*)",
    r'"n_ctx": ?(\d+)',
    r"> (\d[\d,]*) maximum",
    r"tokens allowed \((\d[\d,]*)",
    r"exceeds the limit of (\d[\d,]*)",
    r"model token limit: (\d[\d,]*)",
    r"limit (\d[\d,]*), requested",
    r"input length should be \[\d+, ?(\d+)",
)
COUNTED = _any_of(
    r"(\d[\d,]*) (?:in the messages|of text input)",
    r"resulted in (\d[\d,]*) tokens",
    r'"n_prompt_tokens": ?(\d+)',
    r"prompt is too long: (\d[\d,]*) tokens",
    r"request has (\d[\d,]*) input tokens",
    r"input token count \((\d[\d,]*)",
    r"keep the first (\d[\d,]*) tokens",
    r"request \((\d[\d,]*) tokens\)",
)
