"""Chat completion chunks: what one data line of an upstream says. Pure.

Strict where a wrong reading would lose text, lenient everywhere else: unknown fields,
nulls, empty deltas, several choices and usage-only chunks are all met in the wild.
https://platform.openai.com/docs/api-reference/chat-streaming
"""

import json
from dataclasses import dataclass
from typing import Any

import msgspec

DONE = b"[DONE]"
#: Of tokens, as a column of whole numbers can keep it.
LARGEST_COUNT = 2**31 - 1


class BadChunk(ValueError):
    """A data line that is not JSON, or not an object; nothing of it can be used."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt, as the provider counts them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a chunk adds. `error` is the upstream's own word, not fit for a page."""

    text: str = ""
    reasoning: str = ""
    finish_reason: str = ""
    usage: Usage | None = None
    error: dict[str, Any] | None = None
    tool_call: bool = False


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    index: int | None = 0
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    object: Any = None
    message: Any = None
    code: Any = None
    type: Any = None


_decoder = msgspec.json.Decoder(_Chunk)


def parse_chunk(data: bytes) -> Chunk:
    """Return what one data line adds. Raises BadChunk where it cannot be read."""
    try:
        return _read(_decoder.decode(data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Half of an emoji as a lone \ud83d, bytes that are no UTF-8, fields of another
        # type than usual: rare, so the slow and patient way may cost what it costs.
        return _read(_patient(data))


def _patient(data: bytes) -> _Chunk:
    try:
        value = json.loads(data.decode("utf-8", "replace"))
        if isinstance(value, dict):
            return msgspec.convert(_only_known(value), _Chunk, strict=False)
    except (ValueError, RecursionError) as error:
        raise BadChunk("not a chunk of a chat completion") from error
    raise BadChunk("not an object")


def _only_known(value: dict[str, Any]) -> dict[str, Any]:
    """Drop what has an unexpected type and carries no text."""
    choices = value.get("choices")
    usage = value.get("usage")
    return {
        **{name: value.get(name) for name in ("error", "object", "message", "code", "type")},
        "choices": [_known_choice(choice) for choice in choices] if isinstance(choices, list) else None,
        "usage": usage if isinstance(usage, dict) else None,
    }


def _known_choice(choice: Any) -> Any:
    if not isinstance(choice, dict):
        return choice
    index, delta, reason = choice.get("index"), choice.get("delta"), choice.get("finish_reason")
    return {
        "index": index if type(index) is int else 0,
        "delta": _known_delta(delta) if isinstance(delta, dict) else None,
        "finish_reason": reason if isinstance(reason, str) else None,
    }


def _known_delta(delta: dict[str, Any]) -> dict[str, Any]:
    calls = delta.get("tool_calls")
    known = {name: delta.get(name) for name in ("content", "reasoning_content", "reasoning", "refusal")}
    if isinstance(known["content"], list):
        known["content"], thoughts = _parts(known["content"])
        known["reasoning_content"] = known["reasoning_content"] or thoughts
    return known | {"tool_calls": calls if isinstance(calls, list) else None}


def _parts(parts: list[Any]) -> tuple[str, str]:
    """Return text and reasoning of a content that comes in parts, as Mistral's thinking models
    send it: `[{"type": "thinking", "thinking": […]}, {"type": "text", "text": "…"}]`."""
    text, reasoning = "", ""
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            text += part["text"]
        elif isinstance(part, dict) and isinstance(part.get("thinking"), list):
            reasoning += "".join(_parts(part["thinking"]))
    return text, reasoning


def _read(chunk: _Chunk) -> Chunk:
    # We ask for one choice; should several come, the first is the reply.
    choice = next((c for c in chunk.choices or () if not c.index), None)
    delta = choice.delta if choice else None
    finish_reason = (choice.finish_reason if choice else "") or ""
    usage = _usage(chunk.usage) if chunk.usage else None
    error = _error(chunk, finish_reason)
    if delta is None:
        return Chunk(finish_reason=finish_reason, usage=usage, error=error)
    return Chunk(
        text=(delta.content or "") + (delta.refusal or ""),
        reasoning=delta.reasoning_content or delta.reasoning or "",
        finish_reason=finish_reason,
        usage=usage,
        error=error,
        tool_call=bool(delta.tool_calls),
    )


def _error(chunk: _Chunk, finish_reason: str) -> dict[str, Any] | None:
    """Return what went wrong at the upstream, in whatever form it says so."""
    if chunk.error:
        return chunk.error if isinstance(chunk.error, dict) else {"message": str(chunk.error)}
    # vLLM used to send its errors without the object around them.
    if isinstance(chunk.object, str) and chunk.object.lower() == "error":
        return {"message": chunk.message, "code": chunk.code, "type": chunk.type}
    # OpenRouter's word for it, with which some of its like send nothing else.
    return {"message": "finish_reason: error"} if finish_reason == "error" else None


def _usage(usage: dict[str, Any]) -> Usage | None:
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if prompt is None or completion is None:
        return None
    return Usage(
        prompt,
        completion,
        _detail(usage, "prompt_tokens_details", "cached_tokens"),
        _detail(usage, "completion_tokens_details", "reasoning_tokens"),
    )


def _detail(usage: dict[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return (_count(details, name) or 0) if isinstance(details, dict) else 0


def _count(counts: dict[str, Any], name: str) -> int | None:
    # A reply whose end the database refuses, for a wrong number, would never end.
    value = counts.get(name)
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None
