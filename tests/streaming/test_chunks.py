"""What the data lines of upstreams say, in all the shapes they were met in, and in none."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.chunks import BadChunk, Chunk, Usage, parse_chunk
from tests.cases import hundreds, jsons, texts

LARGEST = 2**31 - 1
HALF = chr(0xD83D)  # of an emoji


def chunk(delta: Any = None, finish_reason: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({"id": "x", "object": "chat.completion.chunk", "choices": [choice], **more}).encode()


def read(data: bytes) -> Chunk | None:
    """The chunk, or None where it is refused in the one way it may be refused."""
    try:
        return parse_chunk(data)
    except BadChunk:
        return None


def joined(text: str) -> str:
    """Two halves of an emoji beside each other are that emoji, in any JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def assert_sound(chunk: Chunk | None) -> None:
    if chunk is not None:
        assert isinstance(chunk.text, str)
        assert isinstance(chunk.reasoning, str)
        assert isinstance(chunk.finish_reason, str)
        assert chunk.error is None or isinstance(chunk.error, dict)


@hundreds
@given(st.binary())
def test_bytes_of_all_kinds_are_read_or_refused(data: bytes) -> None:
    assert_sound(read(data))


@hundreds
@given(jsons())
def test_json_of_all_shapes_is_read_or_refused(value: object) -> None:
    assert_sound(read(json.dumps(value).encode()))


@hundreds
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "choices": jsons()
            | st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "index": jsons() | st.just(0),
                        "finish_reason": jsons(),
                        "delta": jsons()
                        | st.dictionaries(
                            st.sampled_from(
                                ("content", "reasoning", "reasoning_content", "tool_calls", "refusal", "role")
                            ),
                            jsons(),
                        ),
                    },
                ),
                max_size=2,
            ),
            "usage": jsons() | st.dictionaries(st.sampled_from(("prompt_tokens", "completion_tokens")), jsons()),
            "error": jsons(),
        },
    )
)
def test_chunks_with_any_value_anywhere_are_read_or_refused(value: object) -> None:
    assert_sound(read(json.dumps(value).encode()))


@hundreds
@given(texts(), texts())
def test_text_and_reasoning_come_through_as_they_are(text: str, reasoning: str) -> None:
    said = parse_chunk(chunk({"content": text, "reasoning_content": reasoning}))
    assert (said.text, said.reasoning) == (joined(text), joined(reasoning))


@hundreds
@given(texts())
def test_text_comes_through_also_as_plain_utf8(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    data = json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False).encode()
    assert parse_chunk(data).text == text


@pytest.mark.parametrize("half", [HALF, f"a{HALF}"])
def test_half_an_emoji_is_kept_for_its_other_half(half: str) -> None:
    assert parse_chunk(chunk({"content": half})).text == half


def test_bytes_that_are_no_utf8_are_replaced_and_the_rest_is_kept() -> None:
    data = b'{"choices":[{"delta":{"content":"a\xff\xc3 b"}}]}'
    assert parse_chunk(data).text == "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} b"


@pytest.mark.parametrize("field", ["error", "choices", "usage", "unknown"])
def test_json_as_deep_as_it_gets_is_refused(field: str) -> None:
    deep = sys.getrecursionlimit() * 200
    with pytest.raises(BadChunk):
        parse_chunk(b'{"%b":%b%b}' % (field.encode(), b"[" * deep, b"]" * deep))


@pytest.mark.parametrize("data", [b"", b"[DONE", b"null", b"[]", b"5", b'"text"', b"{", b'{"choices":[1]}', b"<html>"])
def test_what_is_no_chunk_is_refused(data: bytes) -> None:
    with pytest.raises(BadChunk):
        parse_chunk(data)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"choices":null}',
        b'{"choices":[]}',
        b'{"choices":[{}]}',
        b'{"choices":[{"index":0,"delta":null}]}',
        b'{"choices":[{"index":0,"delta":{}}]}',
        b'{"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}',
        b'{"choices":[{"index":1,"delta":{"content":"another choice"}}]}',
        b'{"choices":[],"usage":null,"error":null,"x_groq":{"id":"1"}}',
        b'{"choices":5,"usage":"none"}',
    ],
)
def test_chunks_that_add_nothing_are_read_past(data: bytes) -> None:
    assert parse_chunk(data) == Chunk()


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls"])
def test_the_finish_reason_is_told_with_and_without_a_delta(reason: str) -> None:
    assert parse_chunk(chunk({}, reason)).finish_reason == reason
    assert parse_chunk(chunk(None, reason)).finish_reason == reason


def test_reasoning_has_two_names() -> None:
    assert parse_chunk(chunk({"reasoning": "hm"})).reasoning == "hm"
    assert parse_chunk(chunk({"reasoning_content": "hm"})).reasoning == "hm"


def test_reasoning_under_both_names_is_the_same_and_comes_once() -> None:
    assert parse_chunk(chunk({"reasoning": "hm", "reasoning_content": "hm"})).reasoning == "hm"


def test_a_content_in_parts_is_text_and_reasoning() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]}
    said = parse_chunk(chunk({"content": [thinking, {"type": "text", "text": "a"}, {"type": "image"}, 5]}))
    assert (said.text, said.reasoning) == ("a", "hm")


@pytest.mark.parametrize(
    "odd",
    [
        {"index": None},
        {"index": "0"},
        {"finish_reason": 5},
        {"delta": {"content": "a", "tool_calls": {}}},
        {"delta": {"content": "a", "role": 7}},
        {"logprobs": "none"},
    ],
)
def test_an_odd_field_beside_the_text_costs_no_text(odd: dict[str, Any]) -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None, **odd}
    assert parse_chunk(json.dumps({"choices": [choice]}).encode()) == Chunk(text="a")


def test_only_the_first_of_several_choices_is_the_reply() -> None:
    choices = [{"index": n, "delta": {"content": f"{n}"}} for n in (2, 0, 1)]
    assert parse_chunk(json.dumps({"choices": choices}).encode()).text == "0"


@pytest.mark.parametrize("content", [5, True, {"text": "a"}])
def test_a_text_that_cannot_be_read_is_refused_and_not_left_out(content: object) -> None:
    with pytest.raises(BadChunk):
        parse_chunk(chunk({"content": content}))


def test_a_refusal_is_said_as_text() -> None:
    assert parse_chunk(chunk({"refusal": "I cannot."})).text == "I cannot."


def test_a_call_of_a_tool_is_noticed() -> None:
    assert parse_chunk(chunk({"tool_calls": [{"index": 0}]})).tool_call


@pytest.mark.parametrize(
    ("error", "said"),
    [({"message": "no", "code": 1}, {"message": "no", "code": 1}), ("no", {"message": "no"}), (5, {"message": "5"})],
)
def test_an_error_in_the_stream_is_told_whatever_its_shape(error: Any, said: dict[str, Any]) -> None:
    assert parse_chunk(json.dumps({"error": error}).encode()).error == said


def test_an_error_without_an_object_around_it_is_one_too() -> None:
    said = parse_chunk(b'{"object":"error","message":"no","type":"BadRequestError","param":null,"code":400}')
    assert said.error == {"message": "no", "code": 400, "type": "BadRequestError"}


def test_a_finish_for_the_reason_of_an_error_is_an_error_after_what_was_said() -> None:
    said = parse_chunk(chunk({"content": "last words"}, "error"))
    assert said.text == "last words"
    assert said.error


@pytest.mark.parametrize("nothing", [None, False, "", {}, []])
def test_an_error_that_is_none_is_none(nothing: object) -> None:
    assert parse_chunk(chunk({"content": "a"}, error=nothing)) == Chunk(text="a")


# Usage


def usage(**counts: Any) -> Usage | None:
    return parse_chunk(json.dumps({"choices": [], "usage": counts}).encode()).usage


def test_usage_comes_with_its_details() -> None:
    assert usage(
        prompt_tokens=12,
        completion_tokens=7,
        prompt_tokens_details={"cached_tokens": 4},
        completion_tokens_details={"reasoning_tokens": 3},
    ) == Usage(12, 7, 4, 3)


def test_usage_without_details_has_none() -> None:
    assert usage(prompt_tokens=12, completion_tokens=7, prompt_tokens_details=None) == Usage(12, 7)


@pytest.mark.parametrize("wrong", [None, "7", 7.5, -1, LARGEST + 1, 10**30, True, [7]])
def test_a_count_that_no_database_keeps_is_as_good_as_none(wrong: object) -> None:
    assert usage(prompt_tokens=12, completion_tokens=LARGEST) == Usage(12, LARGEST)
    assert usage(prompt_tokens=12, completion_tokens=wrong) is None
    assert usage(prompt_tokens=wrong, completion_tokens=7) is None
