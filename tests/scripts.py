"""What the upstream of the tests can be told to say: steps, scripts made of them, and some scripts with a name."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, TypeAlias

JSON = dict[str, Any]


# Steps of a script


@dataclass(frozen=True)
class Reason:
    """A delta of reasoning; `key` is `reasoning_content` (DeepSeek and others) or `reasoning` (OpenRouter, Ollama)."""

    text: str
    key: str = "reasoning_content"


@dataclass(frozen=True)
class Chunk:
    """A chunk with any delta, or with none."""

    delta: JSON | None
    finish_reason: str | None = None
    index: int = 0


@dataclass(frozen=True)
class Data:
    """One event of the stream with any payload: a string as it is, anything else as JSON."""

    payload: Any


@dataclass(frozen=True)
class Raw:
    """Bytes of the body."""

    data: bytes


@dataclass(frozen=True)
class Wait:
    seconds: float


@dataclass(frozen=True)
class Hold:
    """Waits until the test says `request.go_on()`."""


@dataclass(frozen=True)
class Stall:
    """Nothing more, until the client leaves. With `comments`, keep-alive comments at that pace."""

    comments: float | None = None


@dataclass(frozen=True)
class Reset:
    """Breaks the connection with a TCP reset."""


@dataclass(frozen=True)
class Drop:
    """Closes the connection in the middle of the body."""


Step: TypeAlias = str | Reason | Chunk | Data | Raw | Wait | Hold | Stall | Reset | Drop


@dataclass(frozen=True)
class Script:
    """How one request is answered. `before` happens before the first byte of the head.

    `finish=None` with `done=False` is a stream that just ends. `cut` is how many bytes go at a time (0: as they come).
    A `body` is sent instead of a stream, `raw` instead of a whole answer with its head, be it HTTP or not.
    """

    steps: Sequence[Step] = ()
    pace: float = 0.0
    finish: str | None = "stop"
    done: bool = True
    usage: JSON | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    raw: bytes | None = None
    before: Sequence[Step] = ()
    cut: int = 0
    line_end: str = "\n"

    @property
    def text(self) -> str:
        return "".join(said(step)[0] for step in self.steps)

    @property
    def reasoning(self) -> str:
        return "".join(said(step)[1] for step in self.steps)


def said(step: Step) -> tuple[str, str]:
    """The text and the reasoning that a step says in the first choice."""
    match step:
        case str():
            return step, ""
        case Reason(text):
            return "", text
        case Chunk(delta, index=0) if delta:
            return delta.get("content") or "", delta.get("reasoning_content") or delta.get("reasoning") or ""
        case _:
            return "", ""


# Scripts with a name


def error_body(message: str, code: str | None = None, kind: str | None = None) -> bytes:
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}).encode()


def phrase(status: int) -> str:
    """What the standard calls a status; some that are in use it does not know."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else "Unknown"


def refuses(status: int, message: str = "", code: str | None = None, **headers: str) -> Script:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = error_body(message or phrase(status), code)
    return Script(status=status, headers={"Content-Type": "application/json", **named}, body=body)


def too_fast(retry_after: str | None = None, **headers: str) -> Script:
    if retry_after is not None:
        headers["Retry_After"] = retry_after
    return refuses(429, "Rate limit reached for requests per min. Please slow down.", "rate_limit_exceeded", **headers)


def out_of_quota() -> Script:
    body = error_body(
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    )
    return Script(status=429, headers={"Content-Type": "application/json"}, body=body)


def daily_limit() -> Script:
    text = "Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s."
    return refuses(429, text, "rate_limit_exceeded", Retry_After="432")


def overloaded(retry_after: str | None = None) -> Script:
    headers = {} if retry_after is None else {"Retry_After": retry_after}
    return refuses(503, "The engine is currently overloaded, please try again later", **headers)


def too_long(limit: int | None = None) -> Script:
    """The conversation does not fit; some servers say what would."""
    known = f"This model's maximum context length is {limit} tokens. " if limit else "The context window is exceeded. "
    return refuses(400, f"{known}Please reduce the length of the messages.", "context_length_exceeded")


def unknown_field(name: str, status: int = 400, instead: str = "") -> Script:
    use = f" Use '{instead}' instead." if instead else ""
    return refuses(status, f"Unsupported parameter: '{name}' is not supported with this model.{use}")


def redirects(location: str) -> Script:
    return Script(status=307, headers={"Location": location}, body=b"")


def page(status: int = 200) -> Script:
    """A web page where an API should be."""
    return Script(status=status, headers={"Content-Type": "text/html"}, body=b"<!doctype html><h1>It works!</h1>")


def in_seconds(seconds: float) -> str:
    """Retry-After as a date."""
    return formatdate(time.time() + seconds, usegmt=True)


def many(count: int, pace: float = 0.0, seed: str = "word") -> Script:
    """`count` deltas that are all different, with a character of each length in UTF-8."""
    return Script([f"{seed}-{number} é漢🙂 " for number in range(count)], pace=pace)


def script_in(words: str) -> Script | None:
    """A script written in a message, for those who can only talk: `/script {"deltas": 300, "pace": 0.02}`."""
    if not words.startswith("/script "):
        return None
    told: JSON = json.loads(words.removeprefix("/script "))
    if "status" in told:
        return refuses(told["status"], **told.get("headers", {}))
    steps: Sequence[Step] = many(told["deltas"]).steps if "deltas" in told else [str(told.get("text", ""))]
    ends = told.get("finish", "stop")
    return Script(steps, pace=told.get("pace", 0.0), finish=ends, done=ends is not None, cut=told.get("cut", 0))
