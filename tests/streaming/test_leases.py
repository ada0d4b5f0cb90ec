"""Who may take over a reply, and when: never from an owner who only could not reach the database."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.models import Conversation, Message
from streaming import leases, owners, runner
from streaming.duty import WORKER, Duty
from streaming.hub import Hub
from streaming.layer import Layer
from streaming.models import Run
from streaming.runner import Runner
from streaming.store import Store
from streaming.threads import DatabaseThreads
from tests.plans import way_of_statement

pytestmark = pytest.mark.django_db

LONG_AGO = timedelta(hours=1)


@pytest.fixture
def reply(conversation: Conversation, alice: User) -> Message:
    return conversation.post(alice, "What is 1 + 1?", "a1").reply


@pytest.fixture
def lapsed(reply: Message) -> Message:
    """Somebody of another host has let its lease run out."""
    assert leases.claim(reply.pk, "there")
    Run.objects.update(lease_until=timezone.now() - LONG_AGO)
    return reply


def test_what_nobody_has_begun_is_left_alone_for_a_moment(reply: Message) -> None:
    assert leases.load_unowned("here") == []
    Message.objects.update(created_at=timezone.now() - LONG_AGO)
    assert leases.load_unowned("here") == [reply.pk]


@pytest.mark.parametrize("skew", [timedelta(seconds=-90), timedelta(seconds=90)])
def test_how_long_a_reply_waits_does_not_depend_on_the_clock_of_who_asked(
    conversation: Conversation, alice: User, monkeypatch: pytest.MonkeyPatch, skew: timedelta
) -> None:
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + skew)
    reply = conversation.post(alice, "What is 1 + 1?", "a1").reply
    monkeypatch.undo()
    assert abs(Message.objects.get(pk=reply.pk).created_at - timezone.now()) < timedelta(seconds=30)
    assert leases.load_unowned("here") == []
    assert leases.load_unowned("here", duty=WORKER) == [reply.pk]


def test_a_lease_that_has_run_out_counts_only_where_that_is_wanted(lapsed: Message) -> None:
    assert leases.load_unowned("here", also_lapsed=False) == []
    assert leases.load_unowned("here") == [lapsed.pk]


def test_what_was_given_back_or_belongs_to_the_dead_is_free_at_once(
    reply: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = leases.claim(reply.pk, "there")
    assert run is not None
    assert leases.load_unowned("here", also_lapsed=False) == []
    monkeypatch.setattr(owners, "is_dead", lambda owner: owner == "there")
    assert leases.load_unowned("here", also_lapsed=False) == [reply.pk]
    monkeypatch.undo()
    leases.give_back(run)
    assert leases.load_unowned("here", also_lapsed=False) == [reply.pk]


def test_a_lease_of_our_own_whose_task_has_broken_off_is_taken_again(reply: Message) -> None:
    assert leases.claim(reply.pk, "here")
    assert leases.load_unowned("here", [reply.pk]) == []
    # It may have been taken with its question, and be on its way to whoever runs it.
    assert leases.load_unowned("here", []) == []
    Run.objects.update(lease_until=F("lease_until") - timedelta(seconds=leases.SECONDS_TO_BEGIN))
    assert leases.load_unowned("here", [reply.pk]) == []
    assert leases.load_unowned("here", []) == [reply.pk]
    run = leases.claim(reply.pk, "here")
    assert run is not None
    assert run.epoch == 2


def test_who_had_to_wait_for_a_claim_takes_nothing_from_an_owner(
    lapsed: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What kept us waiting has kept the owner from renewing its lease."""
    monkeypatch.setattr(leases, "SLOW_SECONDS", -1)
    with pytest.raises(leases.WaitedTooLong):
        leases.claim(lapsed.pk, "here")
    run = Run.objects.get()
    assert (run.owner, run.epoch) == ("there", 1)
    monkeypatch.undo()
    assert leases.claim(lapsed.pk, "here")


def test_who_had_to_wait_for_a_claim_takes_what_nobody_owned(reply: Message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "SLOW_SECONDS", -1)
    assert leases.claim(reply.pk, "here")


def test_an_attempt_that_is_counted_twice_is_one(reply: Message) -> None:
    """The database went away after its commit and before its answer."""
    from streaming.endpoint import Endpoint

    run, again = leases.claim(reply.pk, "here"), Run.objects.get()
    assert run is not None
    for each in (run, again):
        assert leases.count_attempt(each, Endpoint("name", "http://localhost/v1"), "small")
    assert Run.objects.get().attempts == 1


@pytest.mark.django_db(transaction=True)
async def test_after_a_gap_owners_are_left_a_moment_to_renew_their_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[bool] = []

    def look(name: str, here: list[int], duty: Duty, *, also_lapsed: bool) -> list[int]:
        looks.append(also_lapsed)
        return []

    monkeypatch.setattr(leases, "load_unowned", look)
    monkeypatch.setattr(runner, "SECONDS_TO_RENEW", 0.2)
    threads = DatabaseThreads("test", 1)
    hub = Hub(Layer("here"), threads)
    store = Store(0.016, hub.publish)
    some = Runner("here", store, hub, threads)
    await some.take_over()
    some._looked_at -= 60
    await some.take_over()
    await some.take_over()
    some._calm_at -= 0.2
    await some.take_over()
    assert looks == [True, True, False, True]
    await some.close()
    store.close()
    threads.close()


def test_who_looks_for_replies_to_run_does_not_read_the_history(lapsed: Message) -> None:
    """It is asked for every other second."""
    with CaptureQueriesContext(connection) as captured:
        assert leases.load_unowned("here") == [lapsed.pk]
    way = way_of_statement(captured[-1]["sql"])
    assert "running_replies" in way
    assert not re.search(
        r"created_at_\w+|SCAN conversations_message$|Seq Scan on conversations_message", way, re.MULTILINE
    ), way
