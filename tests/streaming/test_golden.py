"""The logs that the page is tested with are words of this protocol, and true."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from conversations.status import Status

Json = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "events"
LOGS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}

#: Events of the protocol, each with the fields it always has.
EVENTS = {
    "conversation_snapshot": {"protocol", "version", "conversation", "you", "members", "messages", "replies"},
    "message_created": {"version", "message"},
    "reply_delta": {"reply", "part", "start", "end", "text"},
    "reply_snapshot": {"reply", "status", "text", "reasoning", "text_end", "reasoning_end"},
    "reply_waiting": {"reply", "reason", "until"},
    "reply_ended": {"version", "reply", "status", "finish_reason", "length", "sha256", "usage", "error"},
    "conversation_changed": {"version"},
    "message_changed": {"version", "message"},
    "presence": {"present"},
    "typing": {"user"},
    "sidebar_changed": set(),
    "command_done": set(),
    "command_refused": {"code", "detail"},
    "pong": set(),
    "bye": {"reason", "after_ms"},
}
#: These tell what a tab does with what is no event of ours, and with versions that are missing or old.
WITH_UNKNOWN_EVENTS = {"unknown_events"}
WITH_JUMPS = {"version_jump", "old_versions"}

log = pytest.mark.parametrize("name", LOGS)


def events_of(name: str) -> list[Json]:
    events: list[Json] = LOGS[name]["events"]
    return events


def texts_of(snapshot: Json) -> dict[str, str]:
    """The text of each reply in a snapshot, grown as far as it has."""
    texts = {message["id"]: message["text"] for message in snapshot["messages"]}
    return texts | {reply["reply"]: reply["text"] for reply in snapshot["replies"]}


def test_there_are_logs() -> None:
    assert len(LOGS) > 10


@log
def test_every_event_is_one_of_the_protocol_with_its_fields(name: str) -> None:
    unknown = [event for event in events_of(name) if event["type"] not in EVENTS]
    assert bool(unknown) is (name in WITH_UNKNOWN_EVENTS)
    for event in events_of(name):
        assert EVENTS.get(event["type"], set()) <= event.keys(), event


@log
@pytest.mark.parametrize("which", ["snapshot", "after"])
def test_a_snapshot_has_all_its_fields(name: str, which: str) -> None:
    snapshot = LOGS[name][which]
    assert snapshot["type"] == "conversation_snapshot"
    assert EVENTS["conversation_snapshot"] <= snapshot.keys()
    assert snapshot["protocol"] == 1


@log
def test_versions_follow_each_other_without_gaps(name: str) -> None:
    held, has_jumps = LOGS[name]["snapshot"]["version"], False
    for event in events_of(name):
        if event["type"] in EVENTS and "version" in event:
            follows = event["version"] == held + 1 or event["type"] == "conversation_snapshot"
            has_jumps = has_jumps or not follows
            held = max(held, event["version"]) if follows else held
    assert has_jumps is (name in WITH_JUMPS)
    assert LOGS[name]["after"]["version"] == held


@log
def test_positions_count_code_points(name: str) -> None:
    for event in events_of(name):
        if event["type"] == "reply_delta":
            assert event["end"] - event["start"] == len(event["text"])
            assert event["part"] in ("text", "reasoning")
        if event["type"] == "reply_snapshot":
            assert (event["text_end"], event["reasoning_end"]) == (len(event["text"]), len(event["reasoning"]))


@log
def test_the_end_of_a_reply_fits_the_text_that_is_there_after_it(name: str) -> None:
    texts = texts_of(LOGS[name]["after"])
    for event in events_of(name):
        # One on a branch that is not shown has left no text behind.
        if event["type"] == "reply_ended" and event["reply"] in texts:
            assert Status(event["status"]).is_terminal
            text = texts[event["reply"]]
            assert (event["length"], event["sha256"]) == (len(text), hashlib.sha256(text.encode()).hexdigest())


@log
def test_each_reply_ends_once(name: str) -> None:
    ended = [(event["reply"], event["version"]) for event in events_of(name) if event["type"] == "reply_ended"]
    assert len({reply for reply, _ in ended}) == len(set(ended))


@log
@pytest.mark.parametrize("which", ["snapshot", "after"])
def test_a_running_reply_has_a_message_that_runs(name: str, which: str) -> None:
    snapshot = LOGS[name][which]
    running = {message["id"] for message in snapshot["messages"] if not Status(message["status"]).is_terminal}
    shown = {reply["reply"] for reply in snapshot["replies"]}
    known = {message["id"] for message in snapshot["messages"]}
    assert shown & known == running
