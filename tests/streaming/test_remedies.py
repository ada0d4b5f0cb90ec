"""What a refusal lets one change about a request, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.refusals import read_refusal
from streaming.remedies import USUAL, Dialect, Remedy, remedy_for

REQUEST: dict[str, Any] = {"model": "m", "messages": [], "stream_options": {"include_usage": True}}
WITH_LENGTH = REQUEST | {"max_tokens": 100}
WITH_NEW_LENGTH = REQUEST | {"max_completion_tokens": 100}


def error(message: object, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", **more}}


EXTRA = "Extra inputs are not permitted"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("Unknown parameter: 'stream_options'.", param="stream_options", code="unknown_parameter")),
        (400, error("Unrecognized request argument supplied: stream_options")),
        (400, error(f"Validation error at #/stream_options: {EXTRA}")),
        (400, {"error": {"object": "error", "message": f"{EXTRA}, field: 'stream_options', value: …"}}),
        (422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"]}]}}),
        (422, {"detail": [{"loc": ["body", "stream_options", "include_usage"], "msg": EXTRA, "input": True}]}),
        (400, {"object": "error", "message": f"[{{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': '{EXTRA}'}}]"}),
        (400, error("Additional properties are not allowed ('stream_options' was unexpected) - 'messages'")),
        (400, error("stream_options is not supported with this model")),
        (400, error("This endpoint does not support include_usage")),
        (400, error("The 'stream_options' parameter is only allowed when 'stream' is enabled.")),
        (400, "unknown field stream_options"),
        (500, {"error": "ChatRequest.__init__() got an unexpected keyword argument 'stream_options'"}),
    ],
)  # fmt: skip
def test_a_server_that_does_not_know_stream_options_is_asked_without(status: int, body: object) -> None:
    assert remedy_for(read_refusal(status, body), REQUEST) is Remedy.NO_USAGE


@pytest.mark.parametrize(
    ("status", "body", "request_"),
    [
        (400, error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", code="unsupported_parameter"), WITH_LENGTH),
        (400, {"object": "error", "message": f"[{{'type': 'extra_forbidden', 'loc': ('body', 'max_completion_tokens'), 'msg': '{EXTRA}', 'input': 8192}}]"}, WITH_NEW_LENGTH),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": EXTRA}]}, WITH_NEW_LENGTH),
        (400, error("Unrecognized request argument supplied: max_completion_tokens"), WITH_NEW_LENGTH),
    ],
)  # fmt: skip
def test_the_length_is_called_by_its_other_name(status: int, body: object, request_: dict[str, Any]) -> None:
    assert remedy_for(read_refusal(status, body), request_) is Remedy.OTHER_LENGTH


WITH_ALL = WITH_LENGTH | {"temperature": 0.5, "top_p": 0.9, "reasoning_effort": "minimal"}


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (400, error("Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.", param="temperature", code="unsupported_value"), Remedy.NO_TEMPERATURE),
        (400, error("Unsupported parameter: 'top_p' is not supported with this model.", param="top_p"), Remedy.NO_TOP_P),
        (400, error("litellm.UnsupportedParamsError: openai does not support parameters: ['temperature'], for model=o3"), Remedy.NO_TEMPERATURE),
        (400, error("invalid temperature: only 1 is allowed for this model"), Remedy.NO_TEMPERATURE),
        (400, error("`temperature` may only be set to 1 when thinking is enabled."), Remedy.NO_TEMPERATURE),
        (400, error("`temperature` is deprecated for this model."), Remedy.NO_TEMPERATURE),
        (400, error("`temperature` and `top_p` cannot both be specified for this model. Please use only one."), Remedy.NO_TOP_P),
        (400, error("Unrecognized request argument supplied: reasoning_effort"), Remedy.NO_EFFORT),
        (400, error("Unsupported value: 'reasoning_effort' does not support 'minimal' with this model."), Remedy.NO_EFFORT),
        (400, {"error": '"llama3" does not support thinking'}, Remedy.NO_EFFORT),
        (422, {"detail": [{"type": "extra_forbidden", "loc": ["body", "reasoning_effort"], "msg": EXTRA}]}, Remedy.NO_EFFORT),
    ],
)  # fmt: skip
def test_what_somebody_has_set_is_left_out_where_a_model_does_not_know_it(
    status: int, body: object, remedy: Remedy
) -> None:
    assert remedy_for(read_refusal(status, body), WITH_ALL) is remedy
    assert remedy_for(read_refusal(status, body), REQUEST) is None


def test_another_value_of_what_was_refused_is_tried() -> None:
    dialect = USUAL.after(Remedy.NO_EFFORT, WITH_ALL)
    assert dialect.known_of({"reasoning_effort": "minimal", "temperature": 0.5}) == {"temperature": 0.5}
    assert dialect.known_of({"reasoning_effort": "high"}) == {"reasoning_effort": "high"}


@pytest.mark.parametrize("request_", [REQUEST, WITH_LENGTH, WITH_NEW_LENGTH])
def test_a_conversation_that_is_too_long_is_shortened(request_: dict[str, Any]) -> None:
    refusal = read_refusal(400, error("no", code="context_length_exceeded"))
    assert remedy_for(refusal, request_) is Remedy.SHORTER


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, error("Invalid value for 'max_tokens': must be greater than 0.", param="max_tokens")),
        (400, error("max_tokens is too large: 100000. This model supports at most 4096 completion tokens.")),
        (400, error("Unsupported value: 'temperature' does not support 0.5 with this model.", param="temperature")),
        (401, error("Unknown key; stream_options")),
        (429, error("Unsupported speed; stream_options, max_tokens")),
        (422, {"detail": [{"type": "missing", "loc": ["body", "messages"]}]}),
        (400, None),
        (500, None),
    ],
)
def test_what_is_refused_for_another_reason_is_not_changed(status: int, body: object) -> None:
    assert remedy_for(read_refusal(status, body), WITH_LENGTH) is None


def test_what_was_not_sent_is_not_left_out() -> None:
    unknown = read_refusal(400, error("Unknown parameter: 'stream_options', 'max_tokens'"))
    assert remedy_for(unknown, {"model": "m"}) is None


def test_one_refusal_of_two_fields_has_two_remedies_one_after_the_other() -> None:
    both = read_refusal(
        422, {"detail": [{"loc": ["body", "stream_options"], "msg": EXTRA}, {"loc": ["body", "max_tokens"]}]}
    )
    assert remedy_for(both, WITH_LENGTH) is Remedy.NO_USAGE
    without = {name: value for name, value in WITH_LENGTH.items() if name != "stream_options"}
    assert remedy_for(both, without) is Remedy.OTHER_LENGTH


def test_a_dialect_remembers_each_change() -> None:
    dialect = USUAL.after(Remedy.NO_USAGE, WITH_LENGTH).after(Remedy.OTHER_LENGTH, WITH_LENGTH)
    assert dialect == Dialect(tells_usage=False, length="max_completion_tokens")
    assert dialect.after(Remedy.OTHER_LENGTH, WITH_NEW_LENGTH).length == "max_tokens"
    assert dialect.after(Remedy.SHORTER, WITH_LENGTH) == dialect
