"""The protocol over real sockets: command by command, and what a tab does that is no command."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from conversations.models import Conversation, Message
from tests.conftest import SLACK_SECONDS, Chat, LiveServer, OpenTab
from tests.scripts import Hold, Reason, Script, Stall, many
from tests.tab import CommandRefused, Event, Tab
from tests.upstream import Upstream

pytestmark = pytest.mark.django_db(transaction=True)


def new_id() -> str:
    return str(uuid.uuid4())


async def refusal(tab: Tab, kind: str, **fields: Any) -> str:
    with pytest.raises(CommandRefused) as refused:
        await tab.command(kind, **fields)
    assert refused.value.answer["detail"]
    return refused.value.code


async def stored(pk: str) -> Message:
    return await Message.objects.aget(pk=pk)


# send_message


async def test_an_acknowledged_message_is_committed(alice_tab: Tab) -> None:
    asked = await alice_tab.ask("What is the answer?")
    message = await Message.objects.select_related("author").aget(pk=asked.message)
    assert (message.text, message.author.username if message.author else "") == ("What is the answer?", "alice")
    assert (await stored(asked.reply)).parent_id == message.pk


async def test_a_reply_streams_to_its_end(alice_tab: Tab, upstream: Upstream) -> None:
    script = many(30)
    upstream.answer(script)
    asked = await alice_tab.ask("Count.")
    ended = await alice_tab.until_ended(asked.reply)
    assert (ended["status"], ended["finish_reason"], ended["error"]) == ("done", "stop", None)
    assert alice_tab.texts[asked.reply] == script.text == (await stored(asked.reply)).text


async def test_reasoning_streams_beside_the_text(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script([Reason("Hm. "), Reason("Well.", key="reasoning"), "Yes."]))
    asked = await alice_tab.ask("Is it?")
    await alice_tab.until_ended(asked.reply)
    reply = await stored(asked.reply)
    assert alice_tab.reasonings[asked.reply] == reply.reasoning == "Hm. Well."
    assert alice_tab.texts[asked.reply] == reply.text == "Yes."


async def test_a_command_is_answered_with_its_ref_and_client_id(alice_tab: Tab) -> None:
    client_id = new_id()
    answer = await alice_tab.command("send_message", client_id=client_id, text="Hello")
    assert answer["type"] == "command_done"
    assert answer["client_id"] == client_id


async def test_the_writer_learns_of_his_message_by_the_same_event_as_everybody(alice_tab: Tab) -> None:
    client_id = new_id()
    asked = await alice_tab.ask("Hello", client_id=client_id)
    event = await alice_tab.until_event(
        lambda event: event.get("message", {}) != {} and event["type"] == "message_created"
    )
    assert (event["message"]["id"], event["message"]["client_id"]) == (asked.message, client_id)


async def test_the_same_client_id_is_one_message_and_one_reply(alice_tab: Tab, upstream: Upstream) -> None:
    client_id = new_id()
    first = await alice_tab.ask("Once", client_id=client_id)
    await alice_tab.until_ended(first.reply)
    assert await alice_tab.ask("Once", client_id=client_id) == first
    assert await Message.objects.acount() == 2
    assert len(upstream.posts) == 1


async def test_the_same_client_id_from_two_tabs_at_the_same_instant_is_one_message(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    tabs = [await open_tab(alice, conversation) for _ in range(6)]
    client_id = new_id()
    asked = await asyncio.gather(*(tab.ask("Once", client_id=client_id) for tab in tabs))
    assert len(set(asked)) == 1
    await asyncio.gather(*(tab.until_ended(asked[0].reply) for tab in tabs))
    assert await Message.objects.acount() == 2
    assert len(upstream.posts) == 1


async def test_the_model_is_sent_the_branch_so_far(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["One."]), Script(["Two."]))
    for text in ("First", "Second"):
        await alice_tab.until_ended((await alice_tab.ask(text)).reply)
    sent = [(message["role"], message["content"]) for message in upstream.posts[-1].messages]
    assert sent == [("user", "First"), ("assistant", "One."), ("user", "Second")]


async def test_the_model_that_was_asked_for_answers(alice_tab: Tab, upstream: Upstream) -> None:
    await alice_tab.until_ended((await alice_tab.ask("Hello", model="large")).reply)
    assert upstream.posts[-1].model == "large"


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
async def test_an_empty_message_is_refused(alice_tab: Tab, text: str) -> None:
    assert await refusal(alice_tab, "send_message", client_id=new_id(), text=text) == "invalid"


async def test_a_message_at_the_limit_is_taken(alice_tab: Tab, chat: Chat) -> None:
    chat(message_characters=10)
    assert await alice_tab.ask("漢" * 10)


async def test_a_message_past_the_limit_is_refused(alice_tab: Tab, chat: Chat) -> None:
    chat(message_characters=10)
    assert await refusal(alice_tab, "send_message", client_id=new_id(), text="x" * 11) == "too_large"
    assert await Message.objects.acount() == 0


async def test_nothing_is_asked_while_the_branch_is_being_answered(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["a", Stall()]))
    asked = await alice_tab.ask("First")
    await alice_tab.until_said(asked.reply)
    assert await refusal(alice_tab, "send_message", client_id=new_id(), text="Second") == "busy"


async def test_a_message_may_follow_any_message(alice_tab: Tab, upstream: Upstream) -> None:
    first = await alice_tab.ask("First")
    await alice_tab.until_ended(first.reply)
    second = await alice_tab.ask("Second")
    await alice_tab.until_ended(second.reply)
    third = await alice_tab.ask("Third", parent=first.reply)
    await alice_tab.until_ended(third.reply)
    assert [message["content"] for message in upstream.posts[-1].messages] == ["First", "You said: First", "Third"]


async def test_a_parent_of_another_conversation_is_not_found(alice_tab: Tab, bob: User) -> None:
    foreign = await Conversation.objects.acreate()
    message = await Message.objects.acreate(conversation=foreign, role="user", text="Secret", status="done")
    code = await refusal(alice_tab, "send_message", client_id=new_id(), text="Hello", parent=str(message.pk))
    assert (
        code
        == await refusal(alice_tab, "send_message", client_id=new_id(), text="Hello", parent="12345")
        == "not_found"
    )


async def test_questions_keep_the_interval(alice_tab: Tab, chat: Chat) -> None:
    chat(interval_seconds=60)
    await alice_tab.until_ended((await alice_tab.ask("First")).reply)
    with pytest.raises(CommandRefused) as refused:
        await alice_tab.ask("Second")
    assert refused.value.code == "too_fast"
    assert 50 < refused.value.answer["retry_after"] <= 60


async def test_one_user_has_a_number_of_running_replies(alice_tab: Tab, upstream: Upstream, chat: Chat) -> None:
    chat(running_per_user=1)
    upstream.always(Script(["a", Stall()]))
    first = await alice_tab.ask("First")
    await alice_tab.until_said(first.reply)
    code = await refusal(alice_tab, "edit_message", message=first.message, client_id=new_id(), text="Other")
    assert code == "busy"


# stop_reply


async def test_stop_keeps_what_was_said(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["Hello", " world", Stall()]))
    asked = await alice_tab.ask("Talk")
    await alice_tab.until_said(asked.reply, len("Hello world"))
    await alice_tab.command("stop_reply", reply=asked.reply)
    ended = await alice_tab.until_ended(asked.reply)
    reply = await stored(asked.reply)
    assert (ended["status"], reply.status) == ("stopped", "stopped")
    assert alice_tab.texts[asked.reply] == reply.text == "Hello world"


async def test_stop_closes_the_upstream_within_a_second(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["a", Stall()]))
    asked = await alice_tab.ask("Talk")
    await alice_tab.until_said(asked.reply)
    stopped = asyncio.get_running_loop().time()
    await alice_tab.command("stop_reply", reply=asked.reply)
    assert await upstream.posts[0].until_closed() - stopped < 1 + SLACK_SECONDS


async def test_stop_before_the_first_byte_closes_the_upstream(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(before=[Stall()]))
    asked = await alice_tab.ask("Talk")
    request = await upstream.until_asked()
    await alice_tab.command("stop_reply", reply=asked.reply)
    await request.until_closed(seconds=1 + SLACK_SECONDS)
    assert (await alice_tab.until_ended(asked.reply))["status"] == "stopped"


async def test_stop_does_not_wait_for_a_list_of_models(
    alice_tab: Tab, upstream: Upstream, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat(models=())
    monkeypatch.setattr(upstream, "list_of_models", lambda: Script(before=[Stall()]))
    asked = await alice_tab.ask("Talk")
    await upstream.until(lambda: any(request.method == "GET" for request in upstream.requests))
    await alice_tab.command("stop_reply", reply=asked.reply)
    assert (await alice_tab.until_ended(asked.reply, seconds=1 + SLACK_SECONDS))["status"] == "stopped"
    assert not upstream.posts


async def test_a_second_stop_changes_nothing(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["a", Stall()]))
    asked = await alice_tab.ask("Talk")
    await alice_tab.until_said(asked.reply)
    await asyncio.gather(*(alice_tab.send("stop_reply", reply=asked.reply) for _ in range(5)))
    await alice_tab.until_ended(asked.reply)
    await alice_tab.command("ping")
    assert len(alice_tab.endings[asked.reply]) == 1


async def test_stop_of_what_is_no_reply_is_not_found(alice_tab: Tab) -> None:
    assert await refusal(alice_tab, "stop_reply", reply="999999") == "not_found"


# retry_reply, continue_reply, edit_message, select_branch


async def test_retry_is_a_sibling_of_the_reply(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["First try."]), Script(["Second try."]))
    asked = await alice_tab.ask("Try")
    await alice_tab.until_ended(asked.reply)
    answer = await alice_tab.command("retry_reply", reply=asked.reply, client_id=new_id())
    await alice_tab.until_ended(answer["reply"])
    assert alice_tab.texts[answer["reply"]] == "Second try."
    assert (await stored(asked.reply)).text == "First try."
    assert (await stored(answer["reply"])).parent_id == (await stored(asked.reply)).parent_id
    assert [message["content"] for message in upstream.posts[-1].messages] == ["Try"]


async def test_retry_with_the_same_client_id_is_one_retry(alice_tab: Tab, upstream: Upstream) -> None:
    asked = await alice_tab.ask("Try")
    await alice_tab.until_ended(asked.reply)
    client_id = new_id()
    answers = [await alice_tab.command("retry_reply", reply=asked.reply, client_id=client_id) for _ in range(2)]
    await alice_tab.until_ended(answers[0]["reply"])
    assert answers[0]["reply"] == answers[1]["reply"]
    assert len(upstream.posts) == 2


async def test_retry_with_another_model_asks_it(alice_tab: Tab, upstream: Upstream) -> None:
    asked = await alice_tab.ask("Try", model="small")
    await alice_tab.until_ended(asked.reply)
    answer = await alice_tab.command("retry_reply", reply=asked.reply, client_id=new_id(), model="large")
    await alice_tab.until_ended(answer["reply"])
    assert [request.model for request in upstream.posts] == ["small", "large"]


async def test_continue_goes_on_where_the_reply_was_cut_off(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["One, two"], finish="length"), Script([", three."]))
    asked = await alice_tab.ask("Count")
    await alice_tab.until_ended(asked.reply)
    answer = await alice_tab.command("continue_reply", reply=asked.reply, client_id=new_id())
    await alice_tab.until_ended(answer["reply"])
    reply = await stored(answer["reply"])
    assert alice_tab.texts[answer["reply"]] == reply.text == "One, two, three."
    assert "One, two" in [message["content"] for message in upstream.posts[-1].messages]


async def test_what_was_not_cut_off_cannot_be_continued(alice_tab: Tab) -> None:
    asked = await alice_tab.ask("Hello")
    await alice_tab.until_ended(asked.reply)
    assert await refusal(alice_tab, "continue_reply", reply=asked.reply, client_id=new_id()) == "invalid"


async def test_an_edit_is_a_new_branch_and_overwrites_nothing(alice_tab: Tab, upstream: Upstream) -> None:
    asked = await alice_tab.ask("Old")
    await alice_tab.until_ended(asked.reply)
    answer = await alice_tab.command("edit_message", message=asked.message, client_id=new_id(), text="New")
    await alice_tab.until_ended(answer["reply"])
    assert (await stored(asked.message)).text == "Old"
    assert alice_tab.texts[answer["reply"]] == "You said: New"
    assert [message["content"] for message in upstream.posts[-1].messages] == ["New"]


async def test_a_reply_cannot_be_edited(alice_tab: Tab) -> None:
    asked = await alice_tab.ask("Hello")
    await alice_tab.until_ended(asked.reply)
    assert await refusal(alice_tab, "edit_message", message=asked.reply, client_id=new_id(), text="Mine") == "invalid"


async def test_a_selected_branch_is_shown_to_all(
    alice_tab: Tab, open_tab: OpenTab, alice: User, conversation: Conversation
) -> None:
    asked = await alice_tab.ask("Old")
    await alice_tab.until_ended(asked.reply)
    edited = await alice_tab.command("edit_message", message=asked.message, client_id=new_id(), text="New")
    await alice_tab.until_ended(edited["reply"])
    other = await open_tab(alice, conversation)
    await other.wait_for("conversation_snapshot")
    await alice_tab.command("select_branch", message=asked.message)
    await other.wait_for("conversation_changed", head=asked.reply)
    late = await open_tab(alice, conversation)
    snapshot = await late.wait_for("conversation_snapshot")
    assert [message["text"] for message in snapshot["messages"]] == ["Old", "You said: Old"]


async def test_siblings_are_told_with_each_message(
    alice_tab: Tab, open_tab: OpenTab, alice: User, conversation: Conversation
) -> None:
    asked = await alice_tab.ask("Old")
    await alice_tab.until_ended(asked.reply)
    edited = await alice_tab.command("edit_message", message=asked.message, client_id=new_id(), text="New")
    await alice_tab.until_ended(edited["reply"])
    snapshot = await (await open_tab(alice, conversation)).wait_for("conversation_snapshot")
    assert snapshot["messages"][0]["siblings"] == [asked.message, edited["message"]]
    assert snapshot["messages"][1]["siblings"] == [edited["reply"]]


# rename_conversation, sync, ping


async def test_a_title_is_told_to_all(
    alice_tab: Tab, open_tab: OpenTab, alice: User, conversation: Conversation
) -> None:
    other = await open_tab(alice, conversation)
    await other.wait_for("conversation_snapshot")
    await alice_tab.command("rename_conversation", title="  Of  ships ")
    assert await other.wait_for("conversation_changed", title="Of ships")


@pytest.mark.parametrize(("title", "code"), [("", "invalid"), ("  ", "invalid"), ("x" * 201, "too_large")])
async def test_a_bad_title_is_refused(alice_tab: Tab, title: str, code: str) -> None:
    assert await refusal(alice_tab, "rename_conversation", title=title) == code


async def test_the_first_question_gives_the_title(alice_tab: Tab) -> None:
    await alice_tab.ask("What of ships?\nAnd of shoes?")
    assert await alice_tab.wait_for("conversation_changed", title="What of ships?")


async def test_sync_from_a_version_tells_what_came_after_it(alice_tab: Tab) -> None:
    asked = await alice_tab.ask("Hello")
    await alice_tab.until_ended(asked.reply)
    seen = len(alice_tab.events)
    await alice_tab.send("sync", version=0)

    def told() -> list[str]:
        later = [event["type"] for event in alice_tab.events[seen:]]
        return [kind for kind in later if kind != "sidebar_changed"]

    await alice_tab.until(told)
    assert told()[0] in ("message_created", "conversation_snapshot")


async def test_sync_of_a_reply_tells_the_text_after_a_position(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["Hello", " world", Stall()]))
    asked = await alice_tab.ask("Talk")
    await alice_tab.until_said(asked.reply, 11)
    seen = len(alice_tab.events)
    await alice_tab.send("sync", replies={asked.reply: {"text": 5, "reasoning": 0}})

    def told() -> list[Event]:
        return [event for event in alice_tab.events[seen:] if event["type"] == "reply_delta"]

    await alice_tab.until(told)
    assert "".join(event["text"] for event in told()) == " world"
    assert told()[0]["start"] == 5


async def test_sync_without_a_version_is_answered_by_a_snapshot(alice_tab: Tab) -> None:
    await alice_tab.send("sync")
    await alice_tab.until(lambda: len(alice_tab.of_type("conversation_snapshot")) == 2)


async def test_sync_of_a_foreign_reply_tells_nothing(alice_tab: Tab, bob: User) -> None:
    foreign = await Conversation.objects.acreate()
    reply = await Message.objects.acreate(conversation=foreign, role="assistant", text="Secret", status="done")
    await alice_tab.send("sync", replies={str(reply.pk): {"text": 0, "reasoning": 0}, "nonsense": {"text": 0}, "²": {}})
    await alice_tab.command("ping")
    assert "Secret" not in str(alice_tab.events)


@pytest.mark.parametrize("at", [-1, -(10**12), 10**12])
async def test_sync_from_a_nonsensical_position_harms_nobody(alice_tab: Tab, upstream: Upstream, at: int) -> None:
    upstream.answer(Script(["Hello", Hold(), " world"]))
    asked = await alice_tab.ask("Talk")
    await alice_tab.until_said(asked.reply)
    await alice_tab.send("sync", replies={asked.reply: {"text": at, "reasoning": at}})
    await alice_tab.command("ping")
    await alice_tab.sync_reply(asked.reply)
    upstream.posts[0].go_on()
    await alice_tab.until_ended(asked.reply)
    assert alice_tab.texts[asked.reply] == "Hello world"


async def test_ping_is_answered_by_pong(alice_tab: Tab) -> None:
    assert (await alice_tab.command("ping"))["type"] == "pong"


# Frames that are no commands


@pytest.mark.parametrize(
    "frame",
    ["", "hello", "{", "[]", "null", '"ping"', "{}", '{"type": 5}', '{"type": null}', "[" * 5000, b"\x00\xff", b"{}"],
)
async def test_a_frame_that_cannot_be_read_is_refused_and_the_socket_lives_on(
    alice_tab: Tab, frame: str | bytes
) -> None:
    await alice_tab.send_frame(frame)
    await alice_tab.wait_for("command_refused", code="bad_frame")
    assert await alice_tab.command("ping")


async def test_an_unknown_command_is_refused_by_name_with_its_ref(alice_tab: Tab) -> None:
    assert await refusal(alice_tab, "make_coffee") == "unknown_type"
    assert await alice_tab.command("ping")


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "send_message"},
        {"type": "send_message", "client_id": "x", "text": None},
        {"type": "send_message", "client_id": 5, "text": "x"},
        {"type": "send_message", "client_id": "", "text": "x"},
        {"type": "send_message", "client_id": "x" * 65, "text": "x"},
        {"type": "stop_reply"},
        {"type": "stop_reply", "reply": 1},
        {"type": "ack", "frames": "many"},
        {"type": "sync", "version": "new"},
        {"type": "sync", "replies": []},
    ],
)
async def test_wrong_fields_are_invalid(alice_tab: Tab, fields: dict[str, Any]) -> None:
    await alice_tab.send_frame(json.dumps(fields))
    await alice_tab.wait_for("command_refused", code="invalid")
    assert await alice_tab.command("ping")


@pytest.mark.parametrize("frames", [-1, 0, 10**9, 10**30])
async def test_a_wrong_count_of_frames_harms_nobody(alice_tab: Tab, frames: int) -> None:
    await alice_tab.send_frame(json.dumps({"type": "ack", "frames": frames}))
    asked = await alice_tab.ask("Hello")
    assert await alice_tab.until_ended(asked.reply)


async def test_unknown_fields_are_ignored(alice_tab: Tab) -> None:
    assert await alice_tab.ask("Hello", weather="fine")


def ping_of(size: int) -> str:
    frame = json.dumps({"type": "ping", "ref": "big", "padding": ""})
    return frame[:-2] + "x" * (size - len(frame)) + frame[-2:]


async def test_a_frame_at_the_limit_is_taken(alice_tab: Tab) -> None:
    await alice_tab.send_frame(ping_of(256 * 1024))
    assert await alice_tab.wait_for("pong", ref="big")


async def test_a_frame_past_the_limit_closes_the_socket(alice_tab: Tab) -> None:
    await alice_tab.send_frame(ping_of(256 * 1024 + 1))
    assert await alice_tab.until_closed() == 4413


async def test_too_many_frames_close_the_socket(
    open_tab: OpenTab, alice: User, conversation: Conversation, chat: Chat
) -> None:
    chat(frames_per_minute=20)
    tab = await open_tab(alice, conversation)
    for _ in range(20):
        await tab.command("ping")
    await tab.send("ping")
    assert await tab.until_closed() == 4429
    assert float(tab.close_reason) > 0


# Coming late, going away, coming back


async def test_a_reload_in_the_middle_shows_all_that_was_said(
    alice_tab: Tab, open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.answer(Script(["One, ", "two, ", Hold(), "three."]))
    asked = await alice_tab.ask("Count")
    await alice_tab.until_said(asked.reply, len("One, two, "))
    await alice_tab.close()
    reloaded = await open_tab(alice, conversation)
    snapshot = await reloaded.wait_for("conversation_snapshot")
    assert snapshot["replies"][0]["text"] == "One, two, "
    upstream.posts[0].go_on()
    assert (await reloaded.until_ended(asked.reply))["status"] == "done"
    assert reloaded.texts[asked.reply] == "One, two, three."


async def test_a_reply_goes_on_when_nobody_looks(alice_tab: Tab, upstream: Upstream) -> None:
    upstream.answer(Script(["One, ", Hold(), "two."]))
    asked = await alice_tab.ask("Count")
    await alice_tab.until_said(asked.reply)
    await alice_tab.close()
    upstream.posts[0].go_on()
    await upstream.posts[0].until_ended()
    await alice_tab.resume()
    await alice_tab.until_ended(asked.reply)
    assert alice_tab.texts[asked.reply] == "One, two."


async def test_a_second_tab_is_told_the_same(
    alice_tab: Tab, open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    other = await open_tab(alice, conversation)
    await other.wait_for("conversation_snapshot")
    script = many(50, pace=0.001)
    upstream.answer(script)
    asked = await alice_tab.ask("Count")
    for tab in (alice_tab, other):
        await tab.until_ended(asked.reply)
        assert tab.texts[asked.reply] == script.text


@pytest.mark.parametrize("seed", range(8))
async def test_a_socket_lost_at_any_moment_loses_nothing(alice_tab: Tab, upstream: Upstream, seed: int) -> None:
    script = many(60, pace=0.004)
    upstream.answer(script)
    asked = await alice_tab.ask("Count")
    for part in range(1, 4):
        await alice_tab.until_said(asked.reply, part * len(script.text) // 5 + seed * 7)
        await alice_tab.cut()
        await alice_tab.resume()
    await alice_tab.until_ended(asked.reply)
    assert alice_tab.texts[asked.reply] == script.text


@pytest.mark.parametrize("every", [1, 2, 3, 7])
async def test_lost_deltas_are_found_by_their_positions(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream, every: int
) -> None:
    lost: list[Event] = []

    def loses(event: Event) -> bool:
        """Every n-th delta, but never twice the same place: a sync has to get through."""
        seen.append(event) if (is_delta := event["type"] == "reply_delta") else None
        known = any(event["start"] == other["start"] for other in lost) if is_delta else True
        if known or len(seen) % every:
            return False
        lost.append(event)
        return True

    seen: list[Event] = []
    tab = await open_tab(alice, conversation, loses=loses)
    script = many(40, pace=0.004)
    upstream.answer(script)
    asked = await tab.ask("Count")
    await tab.until_ended(asked.reply)
    assert lost
    assert tab.repairs
    assert tab.texts[asked.reply] == script.text


async def test_an_old_snapshot_plus_the_events_after_it_is_the_new_snapshot(
    alice_tab: Tab, open_tab: OpenTab, alice: User, conversation: Conversation
) -> None:
    asked = await alice_tab.ask("First")
    await alice_tab.until_ended(asked.reply)
    retried = await alice_tab.command("retry_reply", reply=asked.reply, client_id=new_id())
    await alice_tab.until_ended(retried["reply"])
    await alice_tab.command("rename_conversation", title="A title")
    await alice_tab.command("select_branch", message=asked.reply)
    await alice_tab.wait_for("conversation_changed", head=asked.reply)
    fresh = await open_tab(alice, conversation)
    snapshot = await fresh.wait_for("conversation_snapshot")
    assert alice_tab.version == snapshot["version"]
    assert alice_tab.conversation == snapshot["conversation"]
    assert [alice_tab.texts[message["id"]] for message in snapshot["messages"]] == ["First", "You said: First"]
    assert alice_tab.repairs == 0


async def test_versions_have_no_gaps(alice_tab: Tab) -> None:
    asked = await alice_tab.ask("First")
    await alice_tab.until_ended(asked.reply)
    await alice_tab.command("rename_conversation", title="A title")
    await alice_tab.wait_for("conversation_changed", title="A title")
    versions = [event["version"] for event in alice_tab.events if "version" in event]
    assert versions == list(range(versions[0], versions[0] + len(versions)))


async def test_coming_back_with_a_version_tells_only_what_changed(alice_tab: Tab) -> None:
    asked = await alice_tab.ask("First")
    await alice_tab.until_ended(asked.reply)
    await alice_tab.close()
    seen = len(alice_tab.events)
    await alice_tab.open(version=alice_tab.version)
    await alice_tab.command("rename_conversation", title="A title")
    await alice_tab.wait_for("conversation_changed", title="A title")
    assert {event["type"] for event in alice_tab.events[seen:]} <= {
        "conversation_changed",
        "command_done",
        "sidebar_changed",
    }


@pytest.mark.parametrize("version", ["-1", "1e9", "abc", "99999999999999999999999", ""])
async def test_a_nonsensical_version_is_answered_by_a_snapshot(
    server: LiveServer, alice: User, conversation: Conversation, version: str
) -> None:
    tab = await server.tab(alice, conversation)
    tab.url += f"?version={version}"
    async with tab:
        assert await tab.wait_for("conversation_snapshot")


# Readers who read slowly


def long_script() -> Script:
    return Script([f"{number:05d} " + "x" * 8000 for number in range(100)])


async def test_a_reader_who_never_acknowledges_is_closed(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream, chat: Chat
) -> None:
    chat(ack_seconds=0.3)
    upstream.answer(long_script())
    tab = await open_tab(alice, conversation, acks=False)
    asked = await tab.ask("Talk")
    assert await tab.until_closed() == 4408
    assert 0 < sum(event.size for event in tab.of_type("reply_delta")) < 300 * 1024
    await upstream.posts[0].until_ended()
    tab.acks = True
    await tab.resume()
    await tab.until_ended(asked.reply)
    assert tab.texts[asked.reply] == long_script().text


async def test_a_slow_reader_gets_the_rest_in_few_frames(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    script = Script([f"{number:05d} " + "x" * 400 for number in range(2000)])
    upstream.answer(script)
    tab = await open_tab(alice, conversation, acks=False)
    other = await open_tab(alice, conversation)
    await other.wait_for("conversation_snapshot")
    asked = await other.ask("Talk")
    await other.until_ended(asked.reply)
    assert len(tab.texts[asked.reply]) < len(script.text)
    tab.acks = True
    await tab.until_ended(asked.reply)
    assert tab.texts[asked.reply] == script.text
    assert len(tab.of_type("reply_delta")) < len(script.steps) / 3


async def test_a_slow_reader_changes_nothing_for_the_others(
    open_tab: OpenTab, alice: User, conversation: Conversation, upstream: Upstream
) -> None:
    upstream.answer(long_script())
    slow = await open_tab(alice, conversation, acks=False)
    quick = await open_tab(alice, conversation)
    asked = await quick.ask("Talk")
    assert (await quick.until_ended(asked.reply))["status"] == "done"
    assert (await stored(asked.reply)).text == long_script().text
    assert len(slow.texts[asked.reply]) < len(long_script().text)
