"""What replies say is committed under their lease, and under no other."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DataError, InterfaceError, InternalError, OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.models import Change, Conversation, Message, Piece, grown_texts
from conversations.status import Status
from streaming import store
from streaming.jobs import note_sight
from streaming.models import Run
from streaming.reply import Ending, Gain, Reply
from streaming.store import Writer, end_reply, insert_gains
from streaming.threads import is_away
from tests.cases import together

pytestmark = pytest.mark.django_db

DONE = Ending(Status.DONE, "stop")
TEXTS = {"text": "Two.", "reasoning": "1 + 1"}


@pytest.fixture
def reply(conversation: Conversation, alice: User) -> Message:
    return conversation.post(alice, "What is 1 + 1?", "a1").reply


def claimed(reply: Message, owner: str = "here", dead: tuple[str, ...] = ()) -> Run:
    run = Run.claim(reply.pk, owner, list(dead))
    assert run is not None
    return run


def writer_of(run: Run) -> Writer:
    return Writer(run, run.reply.conversation_id, Reply(), on_lost=lambda: None)


def taken_over(run: Run, owner: str = "there") -> Run:
    """Somebody else has the lease now."""
    return claimed(run.reply, owner, (run.owner,))


def stored(reply: Message) -> str:
    return grown_texts([reply.pk])[reply.pk]["text"]


# Claiming


def test_a_queued_reply_is_claimed_once(reply: Message) -> None:
    run = claimed(reply)
    assert (run.owner, run.epoch) == ("here", 1)
    assert Run.claim(reply.pk, "there", []) is None


def test_a_reply_whose_owner_is_dead_is_taken_over_in_a_new_epoch(reply: Message) -> None:
    run = claimed(reply)
    assert Run.claim(reply.pk, "there", ["somebody else"]) is None
    other = taken_over(run)
    assert (other.owner, other.epoch) == ("there", 2)


def test_a_reply_whose_lease_ran_out_is_taken_over(reply: Message) -> None:
    claimed(reply)
    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert claimed(reply, "there").epoch == 2


def test_a_reply_that_has_ended_or_is_gone_is_not_claimed(reply: Message) -> None:
    end_reply(claimed(reply), reply.conversation_id, TEXTS, DONE)
    assert Run.claim(reply.pk, "there", ["here"]) is None
    assert Run.claim(0, "there", []) is None


def test_a_lease_is_no_longer_mine_when_somebody_else_has_it(reply: Message) -> None:
    run = claimed(reply)
    assert run.mine().exists()
    taken_over(run)
    assert not run.mine().exists()


@pytest.mark.django_db(transaction=True)
def test_of_many_who_claim_at_once_exactly_one_wins(reply: Message) -> None:
    runs = together(lambda number: Run.claim(reply.pk, f"process {number}", []))
    winners = [run for run in runs if run is not None]
    assert [(run.owner, run.epoch) for run in winners] == [(Run.objects.get().owner, 1)]


@pytest.mark.django_db(transaction=True)
def test_of_many_who_take_over_at_once_exactly_one_wins(reply: Message) -> None:
    claimed(reply, "dead")
    runs = together(lambda number: Run.claim(reply.pk, f"process {number}", ["dead"]))
    assert [run.epoch for run in runs if run is not None] == [2]


# Gains


def test_gains_of_many_replies_are_stored_in_one_statement(alice: User, django_assert_num_queries: Any) -> None:
    replies = [Conversation.start(alice).post(alice, "Hi", f"a{number}").reply for number in range(4)]
    writers = [writer_of(claimed(reply)) for reply in replies]
    assert insert_gains([(writer, [Gain("text", 0, "a"), Gain("reasoning", 0, "b")]) for writer in writers]) == set()
    with django_assert_num_queries(1):
        assert insert_gains([(writer, [Gain("text", 1, "😀")]) for writer in writers]) == set()
    assert grown_texts(reply.pk for reply in replies) == {
        reply.pk: {"text": "a😀", "reasoning": "b"} for reply in replies
    }


def test_the_first_gain_makes_a_reply_streaming(reply: Message) -> None:
    writer = writer_of(claimed(reply))
    insert_gains([(writer, [Gain("text", 0, "a")])])
    reply.refresh_from_db()
    assert (reply.status, writer.announced) == (Status.STREAMING, True)
    assert Run.objects.get().first_token_at is not None


def test_of_many_replies_each_becomes_streaming_under_its_own_epoch(reply: Message, bob: User) -> None:
    """Also where the same process has lost one and got it again: its older writer announces nothing."""
    other = Conversation.start(bob).post(bob, "Hi", "b1").reply
    older, alive = writer_of(claimed(reply)), writer_of(claimed(other))
    taken_over(older.run, owner=older.run.owner)
    insert_gains([(older, [Gain("text", 0, "a")]), (alive, [Gain("text", 0, "a")])])
    assert dict(Message.objects.filter(role="assistant").values_list("pk", "status")) == {
        reply.pk: Status.QUEUED,
        other.pk: Status.STREAMING,
    }
    assert list(Run.objects.exclude(first_token_at=None)) == [alive.run]


def test_a_batch_larger_than_a_statement_is_stored_whole(reply: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "ROWS_PER_INSERT", 3)
    writer = writer_of(claimed(reply))
    assert insert_gains([(writer, [Gain("text", number, "a") for number in range(10)])]) == set()
    assert stored(reply) == "a" * 10


@pytest.mark.parametrize("rows", [1, 5000])
def test_a_statement_has_room_for_so_many_rows(reply: Message, rows: int) -> None:
    writer = writer_of(claimed(reply))
    insert_gains([(writer, [Gain("text", number, "a") for number in range(rows)])])
    assert Piece.objects.count() == rows


def test_nothing_to_store_is_no_loss(reply: Message) -> None:
    assert insert_gains([(writer_of(claimed(reply)), [])]) == set()


def test_a_gain_under_a_wrong_epoch_is_not_stored_and_is_told(reply: Message) -> None:
    zombie = writer_of(claimed(reply))
    assert insert_gains([(zombie, [Gain("text", 0, "a")])]) == set()
    taken_over(zombie.run)
    assert insert_gains([(zombie, [Gain("text", 1, "late")])]) == {reply.pk}
    assert stored(reply) == "a"


def test_a_zombie_in_a_batch_does_not_hold_up_the_others(reply: Message, bob: User) -> None:
    other = Conversation.start(bob).post(bob, "Hi", "b1").reply
    zombie, alive = writer_of(claimed(reply)), writer_of(claimed(other))
    taken_over(zombie.run)
    gains = [Gain("text", 0, "a")]
    assert insert_gains([(zombie, gains), (alive, gains)]) == {reply.pk}
    assert (stored(reply), stored(other)) == ("", "a")


def test_a_zombie_does_not_make_a_reply_streaming(reply: Message) -> None:
    zombie = writer_of(claimed(reply))
    taken_over(zombie.run)
    insert_gains([(zombie, [Gain("text", 0, "a")])])
    reply.refresh_from_db()
    assert reply.status == Status.QUEUED


def test_a_late_gain_of_a_reply_that_has_ended_is_not_stored(reply: Message) -> None:
    writer = writer_of(claimed(reply))
    end_reply(writer.run, reply.conversation_id, TEXTS, DONE)
    assert insert_gains([(writer, [Gain("text", 4, "late")])]) == {reply.pk}
    assert not Piece.objects.exists()


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["gains", "claim"])
def test_who_takes_over_has_counted_all_that_was_stored_before(reply: Message, first: str) -> None:
    """Whichever of the two is in the middle of its transaction, the other one waits for it: else an owner that loses
    its lease just now could commit behind the back of the next, who has read the pieces already."""
    zombie = writer_of(claimed(reply))
    # Not its first words: with them it would change the row of its lease besides.
    insert_gains([(zombie, [Gain("text", 0, "a")])])
    begun, decided = threading.Event(), threading.Event()

    def store_gains() -> str:
        return "stored" if not insert_gains([(zombie, [Gain("text", 1, "b")])]) else "refused"

    def take_over() -> str:
        taken_over(zombie.run)
        return stored(reply)

    works = (store_gains, take_over) if first == "gains" else (take_over, store_gains)

    def work(number: int) -> str:
        if number == 0:
            with transaction.atomic():
                told = works[0]()
                begun.set()
                assert not decided.wait(0.5), "the other one did not wait"
            return told
        begun.wait(10)
        told = works[1]()
        decided.set()
        return told

    assert together(work, 2) == (["stored", "ab"] if first == "gains" else ["a", "refused"])


def test_a_commit_whose_answer_got_lost_can_be_repeated(reply: Message, bob: User) -> None:
    """The database went away after it had committed: the batch comes again, with what was in it."""
    other = Conversation.start(bob).post(bob, "Hi", "b1").reply
    batch = [(writer_of(claimed(r)), [Gain("text", 0, "ab"), Gain("reasoning", 0, "c")]) for r in (reply, other)]
    assert insert_gains(batch) == set()
    assert insert_gains(batch) == set()
    assert (stored(reply), stored(other), Piece.objects.count()) == ("ab", "ab", 4)


# The end


def test_at_its_end_a_reply_becomes_its_message(reply: Message) -> None:
    run = claimed(reply)
    insert_gains([(writer_of(run), [Gain("text", 0, "Tw")])])
    run.prompt_tokens, run.completion_tokens, run.attempts = 12, 7, 2
    run.times = {"first_token_ms": 300, "duration_ms": 1200}
    assert end_reply(run, reply.conversation_id, TEXTS, DONE)
    reply.refresh_from_db()
    assert (reply.text, reply.reasoning, reply.status, reply.finish_reason) == ("Two.", "1 + 1", "done", "stop")
    assert reply.usage == {
        "prompt_tokens": 12, "completion_tokens": 7, "cost": None, "estimated": False, "attempts": 2,
        "first_token_ms": 300, "duration_ms": 1200,
    }  # fmt: skip
    assert reply.ended_at is not None
    assert not Piece.objects.exists()


def test_the_end_is_the_next_version(reply: Message) -> None:
    before = Conversation.objects.get().version
    end_reply(claimed(reply), reply.conversation_id, TEXTS, DONE)
    change = Change.objects.latest("version")
    assert (change.version, change.kind, change.message) == (before + 1, "reply_ended", reply)


def test_a_reply_ends_once(reply: Message) -> None:
    run = claimed(reply)
    assert end_reply(run, reply.conversation_id, TEXTS, DONE)
    version = Conversation.objects.get().version
    assert not end_reply(run, reply.conversation_id, {"text": "x", "reasoning": ""}, Ending(Status.STOPPED))
    reply.refresh_from_db()
    assert (reply.text, reply.status, Conversation.objects.get().version) == ("Two.", "done", version)


def test_a_zombie_ends_nothing(reply: Message) -> None:
    zombie = claimed(reply)
    taken_over(zombie)
    assert not end_reply(zombie, reply.conversation_id, TEXTS, DONE)
    reply.refresh_from_db()
    assert (reply.status, reply.text) == (Status.QUEUED, "")


@pytest.mark.parametrize("reason", ["x" * 50, "x" * 51, "你" * 100])
def test_a_long_finish_reason_is_shortened(reply: Message, reason: str) -> None:
    assert end_reply(claimed(reply), reply.conversation_id, TEXTS, Ending(Status.DONE, reason))
    reply.refresh_from_db()
    assert reply.finish_reason == reason[:50]


def test_a_failure_keeps_its_reason(reply: Message) -> None:
    ending = Ending(Status.FAILED, "", "model_not_found", "There is no such model.", retryable=False)
    end_reply(claimed(reply), reply.conversation_id, {"text": "", "reasoning": ""}, ending)
    reply.refresh_from_db()
    assert (reply.status, reply.error) == ("failed", ending.error)


def test_a_conversation_that_is_gone_takes_its_runs_along(
    reply: Message, conversation: Conversation, alice: User
) -> None:
    writer = writer_of(claimed(reply))
    conversation.erase()
    assert insert_gains([(writer, [Gain("text", 0, "a")])]) == {reply.pk}
    assert not end_reply(writer.run, conversation.pk, TEXTS, DONE)


@pytest.mark.django_db(transaction=True)
def test_of_many_ends_at_once_exactly_one_counts(reply: Message) -> None:
    run = claimed(reply)
    endings = [Ending(status) for status in (Status.DONE, Status.STOPPED, Status.FAILED, Status.INTERRUPTED)]
    won = together(lambda n: end_reply(run, reply.conversation_id, TEXTS, endings[n]), 4)
    assert sorted(won) == [False, False, False, True]
    reply.refresh_from_db()
    assert reply.status == endings[won.index(True)].status
    assert Change.objects.filter(kind="reply_ended").count() == 1


@pytest.mark.django_db(transaction=True)
def test_ends_of_many_replies_at_once_leave_no_gap(conversation: Conversation, alice: User) -> None:
    first = conversation.post(alice, "Hi", "a1")
    assert first.message is not None
    runs = [claimed(conversation.edit(alice, str(first.message.pk), f"e{n}", "Hello").reply) for n in range(4)]
    version = Conversation.objects.get().version
    assert all(together(lambda n: end_reply(runs[n], conversation.pk, TEXTS, DONE), 4))
    versions = list(conversation.changes.order_by("version").values_list("version", flat=True))
    assert versions == list(range(1, version + 5))


@pytest.mark.services
def test_what_locks_a_conversation_and_its_messages_takes_the_conversation_first(reply: Message, alice: User) -> None:
    """A deletion does, and two that take them the other way round would wait for each other. SQLite has one lock."""
    question = reply.parent_id
    assert question is not None
    for work in (
        lambda: note_sight(claimed(reply), question),
        lambda: end_reply(Run.objects.get(), reply.conversation_id, TEXTS, DONE),
        lambda: reply.conversation.edit(alice, str(question), "b1", "And 2 + 2?"),
        lambda: reply.conversation.remove(alice),
        lambda: reply.conversation.erase(),
    ):
        with CaptureQueriesContext(connection) as asked:
            work()
        statements = [query["sql"] for query in asked if "conversations_" in query["sql"]]
        locking = [sql for sql in statements if sql.startswith(("UPDATE", "INSERT", "DELETE")) or " FOR " in sql]
        assert 'FROM "conversations_conversation"' in locking[0]
        assert locking[0].endswith(("FOR UPDATE", 'FOR NO KEY UPDATE OF "conversations_conversation"'))


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed"), InternalError("read-only")])
async def test_what_a_database_that_is_away_does_not_take_waits_unseen(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    published: list[list[Gain]] = []
    shown_too_early: list[list[Gain]] = []
    tried = 0

    def insert(batch: Sequence[tuple[Writer, list[Gain]]]) -> set[int]:
        nonlocal tried
        tried += 1
        shown_too_early.extend(published)
        if tried < 3:
            raise error
        return set()

    monkeypatch.setattr(store, "insert_gains", insert)
    the_store = store.Store(0.001, lambda writer, gains: published.append(gains))
    committing = asyncio.create_task(the_store.commit_gains())
    writer = Writer(Run(reply_id=1), None, Reply(), on_lost=lambda: None)
    writer.reply.receive_delta("text", "Hello")
    the_store.gained(writer)
    async with asyncio.timeout(5):
        while not published:
            assert (writer.reply.stored["text"], committing.done()) == (0, False)
            await asyncio.sleep(0.001)
    assert (published, writer.reply.stored["text"]) == ([[Gain("text", 0, "Hello")]], 5)
    assert (tried, shown_too_early) == (3, [])
    committing.cancel()
    the_store.close()


@pytest.mark.django_db
def test_what_no_further_try_would_change_is_not_taken_for_a_database_that_is_away() -> None:
    """Both databases call it operational, as they do an outage."""
    impossible = {
        "sqlite": "SELECT nothing_of_that_name",
        "postgresql": "SELECT to_tsvector('simple', string_agg(md5(n::text), ' ')) FROM generate_series(1, 60000) n",
    }
    with pytest.raises(OperationalError) as raised, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(impossible[connection.vendor])
    assert not is_away(raised.value)


async def test_what_replies_say_waits_for_one_end_and_not_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for all the questions that many people ask at once."""
    done: list[str] = []

    def end(*args: Any) -> bool:
        time.sleep(0.02)
        done.append("end")
        return True

    def insert(batch: Sequence[tuple[Writer, list[Gain]]]) -> set[int]:
        done.append("gain")
        return set()

    def ask() -> None:
        done.append("question")

    monkeypatch.setattr(store, "insert_gains", insert)
    monkeypatch.setattr(store, "end_reply", end)
    the_store = store.Store(0.001, lambda writer, gains: None)
    committing = asyncio.create_task(the_store.commit_gains())
    writers = [Writer(Run(reply_id=pk), None, Reply(), on_lost=lambda: None) for pk in range(11)]
    waiting = [asyncio.create_task(the_store.finish(writer, DONE)) for writer in writers[1:]]
    questions = [asyncio.create_task(the_store.in_turn(ask)) for _ in range(10)]
    await asyncio.sleep(0.01)
    writers[0].reply.receive_delta("text", "Hello")
    the_store.gained(writers[0])
    await asyncio.gather(*waiting, *questions)
    assert done.index("gain") <= 2
    assert (done.count("end"), done.count("question")) == (10, 10)
    committing.cancel()
    the_store.close()


@pytest.mark.django_db(transaction=True)
async def test_the_store_waits_for_sqlite_less_long_than_a_lease_lasts() -> None:
    def waits() -> float:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout")
            return float(cursor.fetchone()[0]) / 1000

    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has lock_timeout")
    the_store = store.Store(0.016, lambda writer, gains: None)
    assert await the_store.in_thread(waits) * 2 < settings.CHAT.lease_seconds
    the_store.close()


@pytest.mark.parametrize("error", [DataError("refused"), UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "half")])
async def test_what_cannot_be_stored_of_one_reply_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    published: list[int] = []
    lost: list[int] = []

    def insert(batch: Sequence[tuple[Writer, list[Gain]]]) -> set[int]:
        if any(gain.text == "bad" for _, gains in batch for gain in gains):
            raise error
        return set()

    def a_writer(pk: int) -> Writer:
        return Writer(Run(reply_id=pk), None, Reply(), on_lost=lambda: lost.append(pk))

    def say(writer: Writer, words: str) -> None:
        writer.reply.receive_delta("text", words)
        the_store.gained(writer)

    async def until_told(count: int) -> None:
        async with asyncio.timeout(5):
            while len(published) + len(lost) < count:
                assert not committing.done()
                await asyncio.sleep(0.001)

    monkeypatch.setattr(store, "insert_gains", insert)
    the_store = store.Store(0.001, lambda writer, gains: published.append(writer.run.reply_id))
    committing = asyncio.create_task(the_store.commit_gains())
    good, bad = a_writer(1), a_writer(2)
    say(bad, "bad")
    await until_told(1)
    say(good, "good")
    say(bad, "bad")
    await until_told(3)
    assert (published, sorted(lost)) == ([1], [2, 2])
    committing.cancel()
    the_store.close()
