"""The judge of the torture program is tried, too: each lie in the records has to be found."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from tests.torture import plan
from tests.torture.judge import judge, overlap
from tests.torture.records import (
    Asked,
    Exit,
    Fault,
    Guest,
    Inside,
    Kept,
    Post,
    Records,
    Seen,
    Stopped,
    Versions,
)
from tests.torture.report import Outcome, outcome_of, report, sum_of

BOOK = plan.Book(1)


def a_question(*ways: str) -> int:
    """The first question of the seed that is answered in these ways."""
    return next(ask for ask in range(1, 20_000) if [way.name for way in BOOK.ways(ask)] == list(ways))


WHOLE = a_question("whole")
CUT_OFF = a_question("drop")


def kept(reply: str, ask: int, status: str, text: str, **more: object) -> Kept:
    fields = {
        "reply": reply,
        "conversation": "c",
        "ask": ask,
        "client_id": None,
        "status": status,
        "text": text,
        "reasoning": "",
        "error": "",
        "created_at": 10.0,
        "ended_at": 12.0,
        "attempts": 1,
        "owner": "server 1",
        "endings": 1,
        "pieces": 0,
    }
    return Kept(**(fields | more))  # type: ignore[arg-type]


def seen(reply: Kept, text: str | None = None, *, stayed: bool = True) -> Seen:
    end = (reply.status, len(reply.text), sha256(reply.text.encode()).hexdigest())
    return Seen("tab 1", reply.reply, reply.text if text is None else text, "", [end] if stayed else [], stayed)


def post(ask: int, text: str, *, finished: bool) -> Post:
    return Post(ask, 0, BOOK.way(ask, 0).name, 10.2, 10.3, None, 11.9, text, finished, True)


@pytest.fixture
def records() -> Records:
    """A run in which everything was as it should be."""
    whole = kept("2", WHOLE, "done", BOOK.text(WHOLE))
    broken = kept("4", CUT_OFF, "interrupted", BOOK.text(CUT_OFF)[:30], error="cut_off")
    left = kept("6", WHOLE + 100_000, "stopped", "")
    return Records(
        1,
        "services",
        began=0.0,
        ended=60.0,
        asked=[
            Asked("send_message", "a", "c", 10.0, 1, [("1", "2", 10.1)]),
            Asked("send_message", "b", "c", 10.0, 2, [("3", "4", 10.1), ("3", "4", 10.4)]),
            Asked("send_message", "d", "c", 10.0, 1, [("5", "6", 10.1)]),
        ],
        stopped=[Stopped("6", 11.0, 11.1)],
        posts=[
            post(WHOLE, whole.text, finished=True),
            post(CUT_OFF, BOOK.text(CUT_OFF)[:30], finished=False),
            post(left.ask, "", finished=False),
        ],
        kept=[whole, broken, left],
        questions={"a": ["1"], "b": ["3"], "d": ["5"]},
        seen=[seen(whole), seen(broken), seen(broken, broken.text[:10], stayed=False)],
        versions=[Versions("c", 3, [1, 2, 3], [("tab 1", 3, [])])],
        guests=[Guest("guest 1", "guest removed", "socket", 20.0, 20.4, 4404)],
        inside=[Inside("server 1", ["store"], ["MainThread"], 30, 0, 0, 0, 1000, 10**8)],
        exits=[Exit("server 1", 0, 1.0)],
    )


def violations(records: Records) -> dict[str, list[str]]:
    return {verdict.promise: verdict.violations for verdict in judge(records) if verdict.violations}


def test_an_honest_run_holds(records: Records) -> None:
    assert violations(records) == {}
    assert "Every promise was kept." in report(outcome_of(records))


def first(records: Records) -> Kept:
    return records.kept[0]


def change(fields: str, value: object) -> Callable[[Records], None]:
    """What sets `kept.0.text`, say."""

    def do(records: Records) -> None:
        *way, last = fields.split(".")
        place: object = records
        for name in way:
            place = place[int(name)] if name.isdigit() else getattr(place, name)  # type: ignore[index]
        setattr(place, last, value)

    return do


LIES: dict[str, tuple[str, Callable[[Records], None]]] = {
    "an acknowledged message is gone": ("1", lambda r: r.questions.update(a=[])),
    "one client_id is two messages": ("1", lambda r: r.questions.update(a=["1", "7"])),
    "a command was never answered": ("1", change("asked.0.answers", [])),
    "a command was answered twice, differently": ("1", change("asked.0.answers", [("1", "2", 1.0), ("7", "8", 2.0)])),
    "an acknowledged reply is gone": ("1", change("kept.0.reply", "99")),
    "somebody saw what is not kept": ("2", change("seen.2.text", "something else")),
    "somebody saw more than is kept": ("2", change("seen.2.text", BOOK.text(CUT_OFF)[:31])),
    "who stayed lacks the end": ("2", change("seen.0.text", BOOK.text(WHOLE)[:-1])),
    "somebody was told another end": ("2", change("seen.0.endings", [("done", 1, "0")])),
    "a tab found something wrong": ("2", lambda r: r.wrongs.append("text went back")),
    "more is kept than was said": ("2", change("kept.1.text", BOOK.text(CUT_OFF)[:30] + "!")),
    "a reply is done without its end": ("2", change("kept.0.text", BOOK.text(WHOLE)[:-1])),
    "a reply is done that the provider did not finish": ("2", change("posts.0.finished", False)),
    "pieces are left over": ("2", change("kept.0.pieces", 1)),
    "a reply is still running": ("3", change("kept.0.status", "streaming")),
    "a reply ended twice": ("3", change("kept.0.endings", 2)),
    "a reply never ended": ("3", change("kept.0.endings", 0)),
    "nobody stopped it": ("3", lambda r: r.stopped.clear()),
    "no server was gone": ("3", change("kept.1.error", "server_gone")),
    "no server was restarted": ("3", change("kept.1.error", "restart")),
    "a bug of ours": ("3", change("kept.1.error", "internal")),
    "it broke off without a reason": ("3", change("posts.1.way", "whole")),
    "it was asked for after a minute": ("4", change("posts.0.arrived_at", 45.0)),
    "a POST was not counted": ("5", change("kept.0.attempts", 0)),
    "it was asked for again after the first byte": (
        "5",
        change("posts.1.ask", WHOLE),
    ),
    "Stop left the upstream open": ("6", change("posts.2.ended_at", 12.5)),
    "a reader costs a megabyte": ("7", change("inside.0.largest_buffer", 2**20)),
    "a version is missing": ("9", change("versions.0.changes", [1, 3])),
    "a version is there twice": ("9", change("versions.0.changes", [1, 2, 2, 3])),
    "a tab was left behind": ("9", change("versions.0.held", [("tab 1", 2, [])])),
    "an old tab shows something else than a new one": ("9", change("versions.0.held", [("tab 1", 3, ["title"])])),
    "a page stayed open after a sign-out": ("10", change("guests.0.closed_at", 22.0)),
    "a page was never closed": ("10", change("guests.0.close_code", None)),
    "something was told to who had lost the right to it": ("10", change("guests.0.told_after", 1)),
    "a key stands in a log": ("12", lambda r: r.leaked_keys.append("server 1")),
    "a task is left": ("14", change("inside.0.tasks", ["reply 7"])),
    "a reader is left": ("14", change("inside.0.readers", 1)),
    "a connection is left": ("14", change("inside.0.sockets", 1)),
    "a key is left in Redis": ("14", lambda r: r.redis_keys.append("asgi:group")),
    "a server crashed at its end": ("14", change("exits.0.log", "Fatal Python error")),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(records: Records, lie: str) -> None:
    promise, tell = LIES[lie]
    tell(records)
    found = violations(records)
    assert any(name.split()[0] == promise for name in found), found
    outcome = outcome_of(records)
    assert not outcome.holds
    assert "NOT KEPT with seed 1" in report(outcome)


def test_what_a_fault_excuses_is_excused(records: Records) -> None:
    records.kept[1].error = "server_gone"
    records.faults.append(Fault("server killed", "server 1", 11.0, 11.5, 11.5))
    assert violations(records) == {}


def test_a_death_excuses_no_endless_wait(records: Records) -> None:
    records.faults.append(Fault("server killed", "server 1", 11.0, 11.5, 11.5))
    records.kept[1].error, records.kept[1].ended_at = "server_gone", 27.0
    assert "4" in {name.split()[0] for name in violations(records)}


def test_time_is_counted_once_however_many_faults_cover_it() -> None:
    assert overlap([(0, 2), (1, 3), (1, 2), (5, 9)], 1, 6) == 3


def test_a_seed_says_the_same_every_time() -> None:
    assert plan.faults(7, "services", 45) == plan.faults(7, "services", 45) != plan.faults(8, "services", 45)
    again = plan.Book(7)
    for ask in range(1, 60):
        assert again.script(ask, 0, 0).steps == plan.Book(7).script(ask, 0, 0).steps


def test_every_fault_and_every_way_comes_up_within_an_hour_of_seeds() -> None:
    for topology in ("sqlite", "services"):
        planned = {fault.kind for seed in range(1, 21) for fault in plan.faults(seed, topology, plan.SECONDS)}
        assert planned == {kind.name for kind in plan.KINDS if kind.on in ("", topology)}
    assert {way.name for ask in range(1, 2000) for way in BOOK.ways(ask)} == set(plan.WAYS)


def test_what_continues_goes_on_where_it_was_cut() -> None:
    text = BOOK.text(WHOLE)
    assert text.startswith(text[:50])
    assert BOOK.script(WHOLE, 0, 50).text == text[50:]


def test_outcomes_add_up_and_travel_as_json(records: Records) -> None:
    one = outcome_of(records)
    two = Outcome.from_json(one.as_json())
    total = sum_of([one, two])
    assert total.counts["replies"] == 2 * one.counts["replies"]
    assert [verdict.checked for verdict in total.verdicts] == [2 * verdict.checked for verdict in one.verdicts]
    assert total.holds
