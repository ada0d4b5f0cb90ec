"""What servers say when they refuse, in their own forms, and what it means here."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.refusals import (
    DAILY,
    FILTERED,
    NO_MODEL,
    NOT_A_STREAM,
    OVERLOADED,
    QUOTA,
    REFUSED,
    SERVER_ERROR,
    STATUSES,
    TOO_FAST,
    TOO_LONG,
    Meaning,
    read_error,
    read_refusal,
)
from tests.cases import hundreds, jsons

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


def error(message: str, code: Any = None, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


# A conversation that is too long, with the limit and the count that the server names

TOO_LONG_FORMS = [
    pytest.param(
        400,
        error(
            "This model's maximum context length is 4097 tokens. However, your messages resulted in 5001 tokens. "
            "Please reduce the length of the messages.",
            "context_length_exceeded",
            "invalid_request_error",
        ),
        4097,
        5001,
        id="OpenAI",
    ),
    pytest.param(
        400,
        error("Your input exceeds the context window of this model. Please adjust your input and try again."),
        None,
        None,
        id="OpenAI, without a number",
    ),
    pytest.param(
        400,
        error(
            "This model's maximum context length is 128,000 tokens, however you requested 140000 tokens "
            "(136000 in the messages, 4000 in the completion). Please reduce the length of the messages or completion.",
            "context_length_exceeded",
        ),
        128_000,
        136_000,
        id="Azure",
    ),
    pytest.param(
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 16384 tokens. However, you requested 17000 tokens "
            "(16500 in the messages, 500 in the completion). Please reduce the length of the messages or completion.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        16_384,
        16_500,
        id="vLLM",
    ),
    pytest.param(
        400,
        error(
            "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context length is 4096 "
            "tokens and your request has 2104 input tokens (2000 > 4096 - 2104).",
            400,
            "BadRequestError",
        ),
        4096,
        2104,
        id="vLLM, together with the reply",
    ),
    pytest.param(
        400,
        error(
            "the request exceeds the available context size. try increasing the context size or enable context shift",
            400,
            "exceed_context_size_error",
            n_prompt_tokens=1407,
            n_ctx=256,
        ),
        256,
        1407,
        id="llama.cpp",
    ),
    pytest.param(
        500,
        error("request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it", 500),
        8192,
        9000,
        id="llama.cpp, as an error of its own",
    ),
    pytest.param(
        400,
        error("Requested tokens (2285) exceed context window of 2048", "context_length_exceeded"),
        2048,
        None,
        id="llama-cpp-python",
    ),
    pytest.param(400, error("the input length exceeds the context length", None, "api_error"), None, None, id="Ollama"),
    pytest.param(
        400, error("prompt too long; exceeded max context length by 1200 tokens"), None, None, id="Ollama, cloud"
    ),
    pytest.param(
        400,
        error(
            "This endpoint's maximum context length is 1048576 tokens. However, you requested about 1293741 tokens "
            "(1227853 of text input, 353 of tool input, 65535 in the output). Please reduce the length of either one.",
            400,
        ),
        1_048_576,
        1_227_853,
        id="OpenRouter",
    ),
    pytest.param(
        400,
        {
            "error": "Trying to keep the first 14538 tokens when context the overflows. However, the model is loaded "
            "with context length of only 2048 tokens, which is not enough. Try to load the model with a larger "
            "context length, or provide a shorter input"
        },
        2048,
        14_538,
        id="LM Studio",
    ),
    pytest.param(
        400,
        error("The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 9000)"),
        None,
        None,
        id="LM Studio, in other words",
    ),
    pytest.param(
        413,
        error(
            "Request too large for model `m` in organization `o` service tier `on_demand` on tokens per minute (TPM): "
            "Limit 6000, Requested 7405, please reduce your message size and try again.",
            "rate_limit_exceeded",
            "tokens",
        ),
        6000,
        None,
        id="Groq",
    ),
    pytest.param(
        429,
        error(
            "Request too large for gpt-4o in organization o on tokens per min (TPM): Limit 30000, Requested 41000. "
            "The input or output tokens must be reduced in order to run successfully.",
            "rate_limit_exceeded",
            "tokens",
        ),
        30_000,
        None,
        id="OpenAI, too much for one minute",
    ),
    pytest.param(
        400,
        [
            error(
                "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
                400,
                status="INVALID_ARGUMENT",
            )
        ],
        1_048_575,
        1_196_265,
        id="Gemini",
    ),
    pytest.param(
        400,
        error("prompt is too long: 213462 tokens > 200000 maximum", None, "invalid_request_error"),
        200_000,
        213_462,
        id="Anthropic",
    ),
    pytest.param(
        400,
        {"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but …"},
        131_072,
        None,
        id="xAI",
    ),
    pytest.param(
        400, error("Range of input length should be [1, 30720]", "invalid_parameter_error"), 30_720, None, id="Qwen"
    ),
    pytest.param(413, "<html><h1>413 Request Entity Too Large</h1></html>", None, None, id="nginx"),
    pytest.param(413, None, None, None, id="no body"),
]


@pytest.mark.parametrize(("status", "body", "limit", "counted"), TOO_LONG_FORMS)
def test_a_conversation_that_is_too_long_is_known_in_every_form(
    status: int, body: object, limit: int | None, counted: int | None
) -> None:
    refusal = read_refusal(status, body)
    assert refusal.meaning == TOO_LONG
    assert (refusal.context_limit, refusal.counted_tokens) == (limit, counted)
    assert not refusal.is_retryable


# What else they mean

OPENAI_QUOTA = "You exceeded your current quota, please check your plan and billing details."
GEMINI = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
OPENROUTER_DAILY = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"


@pytest.mark.parametrize(
    ("status", "body", "meaning", "retryable"),
    [
        (429, error(OPENAI_QUOTA, "insufficient_quota", "insufficient_quota"), QUOTA, False),
        (429, error(OPENAI_QUOTA, None, "insufficient_quota"), QUOTA, False),
        (429, error("Your account … has exceeded", None, "exceeded_current_quota_error"), QUOTA, False),
        (402, error("Insufficient Balance", "invalid_request_error"), QUOTA, False),
        (402, error("This request requires more credits, or fewer max_tokens.", 402), QUOTA, False),
        (402, "", QUOTA, False),
        (403, {"code": 30001, "message": "Sorry, your account balance is insufficient; insufficient balance"}, QUOTA, False),
        (400, error("Your credit balance is too low to access the API."), QUOTA, False),
        (400, error("Access denied", "Arrearage"), QUOTA, False),
        (429, error("余额不足或无可用资源包,请充值。", "1113"), QUOTA, False),
        (429, error("Rate limit reached on requests per min (RPM): Limit 3, Used 3.", "rate_limit_exceeded"), TOO_FAST, True),
        (429, "Too Many Requests", TOO_FAST, True),
        (429, None, TOO_FAST, True),
        (429, [error(f"{OPENAI_QUOTA} Please retry in 34.07s.", 429, details=[GEMINI])], TOO_FAST, True),
        (429, error("Rate limit reached on requests per day (RPD): Limit 200, Used 200."), DAILY, True),
        (429, error(OPENROUTER_DAILY, 429), DAILY, True),
        (400, error("The response was filtered … content management policy", "content_filter"), FILTERED, False),
        (400, error("Input data may contain inappropriate content.", "data_inspection_failed"), FILTERED, False),
        (403, error("Your chosen model requires moderation and your input was flagged", 403), FILTERED, False),
        (400, error("Model Not Exist", "invalid_request_error"), NO_MODEL, False),
        (404, error("The model `m` does not exist", "model_not_found"), NO_MODEL, False),
        (404, error("model 'm' not found, try pulling it first"), STATUSES[404], False),
        (404, "404 page not found", STATUSES[404], False),
        (401, error("Incorrect API key provided: sk-…", "invalid_api_key"), STATUSES[401], False),
        (403, error("Country, region, or territory not supported"), STATUSES[403], False),
        (408, None, STATUSES[408], True),
        (409, None, REFUSED, True),
        (400, error("Invalid value for 'temperature'", None, "invalid_request_error"), REFUSED, False),
        (422, {"detail": [{"type": "missing", "loc": ["body", "messages"]}]}, REFUSED, False),
        (500, error("The server had an error while processing your request."), SERVER_ERROR, True),
        (502, "<html>502 Bad Gateway</html>", SERVER_ERROR, True),
        (503, error("The engine is currently overloaded"), OVERLOADED, True),
        (529, error("Overloaded", None, "overloaded_error"), OVERLOADED, True),
        (307, "", NOT_A_STREAM, False),
    ],
)  # fmt: skip
def test_a_refusal_means_what_its_server_means(status: int, body: object, meaning: Meaning, retryable: bool) -> None:
    refusal = read_refusal(status, body)
    assert (refusal.meaning, refusal.is_retryable) == (meaning, retryable)


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        (error("no", 429), TOO_FAST),
        (error("no", "429"), TOO_FAST),
        (error("no", "rate_limit_exceeded"), TOO_FAST),
        (error("Overloaded", None, "overloaded_error"), OVERLOADED),
        (error("no", 503), OVERLOADED),
        (error("no", 502), SERVER_ERROR),
        (error("no", "server_error"), SERVER_ERROR),
        (error("no", None), SERVER_ERROR),
        (error("no", 400), REFUSED),
        (error("no", 401), STATUSES[401]),
        (error("no", "insufficient_quota"), QUOTA),
        (error("no", "context_length_exceeded"), TOO_LONG),
        (error("prompt is too long: 1284668 tokens > 1000000 maximum", 400), TOO_LONG),
        (error("no", True), SERVER_ERROR),
        (error("no", 10**30), SERVER_ERROR),
    ],
)
def test_an_error_inside_a_stream_has_its_status_in_its_code(body: dict[str, Any], meaning: Meaning) -> None:
    assert read_error(body["error"]).meaning == meaning


@hundreds
@given(st.integers(100, 599), jsons())
def test_any_body_means_something(status: int, body: object) -> None:
    for refusal in (read_refusal(status, body), read_refusal(status, {"error": body})):
        assert refusal.meaning.detail.endswith(".")
        assert refusal.is_retryable in (True, False)
        assert refusal.context_limit is None
        assert refusal.seconds_asked(NOW) is None


def test_a_body_as_deep_as_it_gets_means_what_its_status_does() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert read_refusal(401, deep).meaning == STATUSES[401]


def test_a_body_that_never_ends_is_looked_at_in_no_time() -> None:
    words = "context " * 1_000_000 + "context length exceeded"
    assert read_refusal(400, error(words)).meaning == REFUSED


# For how long it asks to be left alone


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (error("no"), {"Retry-After": "20"}, 20.0),
        (error("Please try again in 7m12s."), {}, 432.0),
        (error("Please try again in 7m12s."), {"Retry-After": "20"}, 20.0),
        (error("Please try again in 86ms. Visit …"), {}, 0.086),
        (error("Please retry after 26 seconds."), {}, 26.0),
        ([error("no", details=[GEMINI])], {}, 34.0),
        (error("no"), {"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "6m0s"}, 360.0),
        (error("no"), {"X-RateLimit-Remaining-Requests": "5", "X-RateLimit-Reset-Requests": "6m0s"}, None),
        (error("no"), {"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "120ms"}, 0.12),
        (error("no"), {"RateLimit-Remaining": "0", "RateLimit-Reset": "50"}, 50.0),
        (
            error("no"),
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-05-04T03:03:01Z",
            },
            60.0,
        ),
        (error("no", metadata={"headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1777863781000"}}), {}, 60.0),
        (error("no"), {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1777863781"}, 60.0),
        (error("no"), {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, None),
        (error("Please try again later."), {}, None),
    ],
)  # fmt: skip
def test_how_long_a_server_wants_to_be_left_alone_is_found_wherever_it_says_so(
    body: object, headers: dict[str, str], seconds: float | None
) -> None:
    asked = read_refusal(429, body, headers).seconds_asked(NOW)
    assert asked == (None if seconds is None else pytest.approx(seconds))


def test_counters_that_start_anew_are_no_reason_to_wait_after_another_fault() -> None:
    headers = {"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "6m0s"}
    assert read_refusal(500, error("no"), headers).seconds_asked(NOW) is None


def test_a_date_is_meant_by_the_clock_of_the_server() -> None:
    def http_date(when: datetime) -> str:
        return when.strftime("%a, %d %b %Y %H:%M:%S GMT")

    wrong = NOW + timedelta(hours=5)
    headers = {"Date": http_date(wrong), "Retry-After": http_date(wrong + timedelta(seconds=30))}
    assert read_refusal(503, None, headers).seconds_asked(NOW) == 30.0


def test_nothing_of_a_refusal_is_shown() -> None:
    said = json.dumps(error("sk-secret is not a key", "sk-secret"))
    assert "secret" not in "".join(read_refusal(400, said).meaning)
