"""The words on the wire: garbage is refused by name, and what is said comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.refusals import Refused
from streaming import events
from streaming.events import COMMANDS, LONGEST_REF, MOST_SYNCED, BadCommand, parse_command
from streaming.rooms import LONGEST_DELTA
from tests.cases import hundreds, jsons, texts, whole_texts

EXAMPLES: dict[str, dict[str, Any]] = {
    "send_message": {"client_id": "a1", "text": "Hi", "parent": "7", "model": "small", "attachments": []},
    "stop_reply": {"reply": "7"},
    "retry_reply": {"reply": "7", "client_id": "a1", "model": "large"},
    "continue_reply": {"reply": "7", "client_id": "a1"},
    "edit_message": {"message": "7", "client_id": "a1", "text": "Hello"},
    "select_branch": {"message": "7"},
    "delete_branch": {"message": "7"},
    "rename_conversation": {"title": "Greetings"},
    "change_settings": {"system_prompt": "Be brief.", "parameters": {"temperature": 0.2, "top_p": None}},
    "keep_conversation": {},
    "sync": {"version": 7, "replies": {"7": {"text": 3, "reasoning": 0}}},
    "ack": {"frames": 32},
    "ping": {},
}
OPTIONAL = {"parent", "model", "attachments", "version", "replies", "system_prompt", "parameters"}
names = st.sampled_from(sorted(COMMANDS))


def frame(name: str, **fields: Any) -> str:
    return json.dumps({"type": name, **EXAMPLES.get(name, {}), **fields})


def refusal(frame: str | bytes) -> BadCommand | None:
    try:
        parse_command(frame)
    except BadCommand as refused:
        return refused
    return None


# Commands


def test_there_is_an_example_of_every_command() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_command_is_read_with_all_its_fields(name: str) -> None:
    command = parse_command(frame(name, ref="r1"))
    assert type(command) is COMMANDS[name]
    assert json.loads(events.encode(command)) == {**EXAMPLES[name], "ref": "r1"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_unknown_fields_are_read_past(name: str) -> None:
    assert parse_command(frame(name, colour="blue", nested={"a": [1]})) == parse_command(frame(name))


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in EXAMPLES.items() for field in fields])
def test_a_field_may_be_missing_only_where_the_protocol_says_so(name: str, field: str) -> None:
    fields = {key: value for key, value in EXAMPLES[name].items() if key != field}
    refused = refusal(json.dumps({"type": name, **fields}))
    assert (refused is None) is (field in OPTIONAL)
    assert refused is None or refused.code == "invalid"


@pytest.mark.parametrize(("name", "field"), [(name, field) for name, fields in EXAMPLES.items() for field in fields])
def test_a_field_of_a_wrong_type_is_invalid(name: str, field: str) -> None:
    refused = refusal(frame(name, **{field: True}))
    assert refused is not None
    assert refused.code == "invalid"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_refusal_never_repeats_the_value(name: str) -> None:
    for field in EXAMPLES[name]:
        refused = refusal(frame(name, **{field: {"secret": "sk-secret"}}))
        assert refused is None or "secret" not in refused.detail


@pytest.mark.parametrize(
    "frame",
    [
        *("", " ", "{", "null", "5", "[]", '"ping"', "ping", "{}", '{"type":null}', '{"type":5}', '{"type":["ping"]}'),
        *(b"\xff", b'{"type":"\xff"}', '{"type":"\ud83d"}', '{"type":"\\ud83d"}', "\ufeff" + '{"type":"ping"}'),
        '{"type":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"ref":' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    ],
)
def test_what_is_no_object_with_a_type_is_a_bad_frame(frame: str | bytes) -> None:
    refused = refusal(frame)
    assert refused is not None
    assert refused.code == "bad_frame"


@pytest.mark.parametrize("depth", [100, 400, 500, 700, 900, 990, 1000, 100_000])
def test_a_command_as_deep_as_it_gets_is_read_or_refused(depth: int) -> None:
    deep = frame("send_message").replace("[]", "[" * depth + "]" * depth)
    refused = refusal(deep)
    assert refused is None or refused.code in ("bad_frame", "invalid")


@pytest.mark.parametrize(("count", "code"), [(MOST_SYNCED, ""), (MOST_SYNCED + 1, "invalid")])
def test_a_sync_names_so_many_replies_and_no_more(count: int, code: str) -> None:
    refused = refusal(json.dumps({"type": "sync", "replies": {str(pk): {"text": 0} for pk in range(count)}}))
    assert (refused.code if refused else "") == code


def test_a_command_that_there_is_not_is_named() -> None:
    refused = refusal('{"type":"open_the_pod_bay_doors","ref":1,"client_id":"a1"}')
    assert refused is not None
    assert (refused.code, refused.facts) == ("unknown_type", {"ref": 1, "client_id": "a1"})
    assert "open_the_pod_bay_doors" in refused.detail


@hundreds
@given(st.text() | st.binary())
def test_garbage_is_refused_and_nothing_else_happens(garbage: str | bytes) -> None:
    refused = refusal(garbage)
    assert refused is None or refused.code in ("bad_frame", "unknown_type")


@hundreds
@given(
    names | texts(),
    st.dictionaries(st.sampled_from(sorted({f for e in EXAMPLES.values() for f in e})), jsons()),
    jsons(),
)
def test_commands_with_any_value_anywhere_are_read_or_refused_with_an_answer(
    name: str, fields: dict[str, Any], ref: Any
) -> None:
    raw = json.dumps({"type": name, **fields, "ref": ref})
    try:
        command = parse_command(raw)
    except BadCommand as refused:
        answer = json.loads(events.encode(events.command_refused(refused)))
        assert answer["code"] in ("bad_frame", "unknown_type", "invalid")
    else:
        answer = json.loads(events.encode(events.command_done(command)))
        assert answer.get("ref") == ref


@hundreds
@given(names, st.integers(-(2**70), 2**70) | whole_texts(LONGEST_REF), st.booleans())
def test_the_answer_carries_ref_and_client_id_back(name: str, ref: int | str, refused: bool) -> None:
    command = parse_command(frame(name, ref=ref))
    said = events.command_refused(Refused("busy", "Wait."), command) if refused else events.command_done(command)
    answer = json.loads(events.encode(said))
    assert answer["ref"] == ref
    assert answer.get("client_id") == EXAMPLES[name].get("client_id")


@hundreds
@given(st.integers(-(2**70), 2**70) | whole_texts(30), whole_texts(10))
def test_also_the_refusal_of_a_command_that_could_not_be_read_carries_them(ref: int | str, client_id: str) -> None:
    refused = refusal(json.dumps({"type": "send_message", "ref": ref, "client_id": client_id}))
    assert refused is not None
    answer = json.loads(events.encode(events.command_refused(refused)))
    assert (answer["ref"], answer["client_id"]) == (ref, client_id)


def test_a_refusal_does_not_carry_back_a_novel() -> None:
    refused = refusal(json.dumps({"type": "x" * 9999, "ref": "r" * 9999, "client_id": "c" * 9999}))
    assert len(events.encode(events.command_refused(refused or BadCommand("", "")))) < 500


@pytest.mark.parametrize(("length", "is_read"), [(LONGEST_REF, True), (LONGEST_REF + 1, False)])
def test_a_ref_is_as_long_as_it_may_be(length: int, is_read: bool) -> None:
    assert (refusal(json.dumps({"type": "ping", "ref": "r" * length})) is None) is is_read


def test_an_answer_does_not_carry_back_a_novel() -> None:
    command = parse_command(json.dumps({"type": "retry_reply", "reply": "1", "client_id": "c" * 9999}))
    assert len(events.encode(events.command_refused(Refused("invalid", "No."), command))) < 200


# Events


def test_a_command_that_was_done_names_what_it_made() -> None:
    command = parse_command(frame("send_message", ref=1))
    assert events.command_done(command, 7, 8) == {
        "type": "command_done",
        "ref": 1,
        "client_id": "a1",
        "message": "7",
        "reply": "8",
    }


def test_a_refusal_has_its_facts() -> None:
    refused = Refused("too_fast", "Wait a moment.", retry_after=1.5)
    assert events.command_refused(refused, parse_command(frame("send_message"))) == {
        "type": "command_refused",
        "client_id": "a1",
        "code": "too_fast",
        "detail": "Wait a moment.",
        "retry_after": 1.5,
    }


def test_a_ping_is_answered_by_a_pong() -> None:
    assert events.pong(parse_command(frame("ping", ref=5))) == {"type": "pong", "ref": 5}


@hundreds
@given(st.integers(0, 2**63), st.sampled_from(("text", "reasoning")), st.integers(0, 2**40), whole_texts())
def test_a_delta_counts_code_points(reply: int, part: str, start: int, text: str) -> None:
    assert json.loads(events.reply_delta(reply, part, start, text)) == {
        "type": "reply_delta",
        "reply": str(reply),
        "part": part,
        "start": start,
        "end": start + len(text),
        "text": text,
    }


@pytest.mark.parametrize("character", ["a", "你", "😀", '"', "\\", "\n", "\x01", "\x7f", "\u2028"])
def test_the_longest_delta_stays_below_the_bound_of_a_socket(character: str) -> None:
    frame = events.reply_delta(2**63, "reasoning", 2**40, character * LONGEST_DELTA)
    assert len(frame.encode()) < 256 * 1024
