"""What the benchmarks conclude from what they saw: a figure that cannot be bad is none."""

from __future__ import annotations

import json
import math
import time

import msgspec
import pytest

from benchmarks import page
from benchmarks.bars import BARS, LATEST, Bar, missed, table
from benchmarks.figures import percentile
from benchmarks.frames import in_figures
from benchmarks.tabs import BenchTab, Heard
from benchmarks.texts import TEXTS, text
from benchmarks.upstream import DELTA, QUESTION, READING, delta, question, reading

SECOND = 1_000_000_000


def heard(*numbers: int, of: int, positions: list[int] | None = None, late: float = 0.0) -> Heard:
    """What a tab makes of frames with these deltas, one each, of a reply of so many."""
    tab = BenchTab()
    for place, number in enumerate(numbers):
        start = place * DELTA if positions is None else positions[place]
        event = {"type": "reply_delta", "start": start, "text": delta(number).decode()}
        tab.frames.append((time.monotonic_ns() + int(late * SECOND), msgspec.json.encode(event)))
    return tab.heard(of)


def test_all_that_came_in_order_is_well() -> None:
    found = heard(0, 1, 2, of=3)
    assert (found.wrong, found.characters, found.frames, len(found.delays)) == (0, 3 * DELTA, 3, 3)
    assert all(0 <= delay < 1000 for delay in found.delays)


def test_a_delta_is_as_late_as_it_is() -> None:
    assert all(1500 <= delay < 2500 for delay in heard(0, 1, of=2, late=1.5).delays)


@pytest.mark.parametrize(
    ("numbers", "positions", "kind"),
    [
        ([0, 2], None, "lost"),
        ([0, 1], None, "lost"),
        ([], None, "lost"),
        ([0, 1, 2], [0, DELTA, 3 * DELTA], "lost"),
        ([0, 1, 1, 2], None, "doubled"),
        ([0, 1, 2], [0, DELTA, 0], "doubled"),
        ([0, 2, 1], None, "reordered"),
    ],
)
def test_what_went_wrong_is_counted(numbers: list[int], positions: list[int] | None, kind: str) -> None:
    found = heard(*numbers, of=3, positions=positions)
    assert getattr(found, kind) > 0
    assert found.wrong > 0


def test_a_frame_of_many_deltas_is_looked_at_delta_by_delta() -> None:
    tab = BenchTab()
    event = {"type": "reply_delta", "start": 0, "text": (delta(0) + delta(1) + delta(3)).decode()}
    tab.frames.append((time.monotonic_ns(), msgspec.json.encode(event)))
    found = tab.heard(4)
    assert (found.lost, len(found.delays)) == (1, 3)


def test_a_delta_has_the_length_that_is_said_and_a_question_says_what_is_wanted() -> None:
    assert len(delta(999_999)) == DELTA
    assert QUESTION.findall(question(400, 50).encode()) == [(b"400", b"50")]


def test_a_text_is_the_same_each_time_and_as_long_as_is_said() -> None:
    assert READING.findall(reading("answer", 600, 100).encode()) == [(b"answer", b"600", b"100")]
    assert {name for name in TEXTS if text(name) != text(name)} == set()
    assert 30_000 <= len(text("answer")) / 4 < 31_000
    lines = {name: len(text(name).splitlines()) for name in TEXTS}
    assert (lines["list"], lines["table"], lines["code"], lines["paragraph"]) == (2_000, 1_002, 5_003, 1)


def test_frames_are_counted_by_their_spans() -> None:
    found = in_figures([{"spans": [16.0, 16.0, 16.0, 52.0], "tasks": [61.0], "seconds": 0.1, "processor": 0.05}])
    assert found["frames_a_second"] == pytest.approx(40)
    assert (found["frame_p50"], found["frame_p99"], found["late_frames"]) == (16, 52, 25)
    assert (found["long_tasks"], found["longest"]) == (1, 61)
    assert found["processor"] == pytest.approx(0.5)


def test_a_percentile_is_one_of_the_values() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]
    assert [percentile(values, share) for share in (0.2, 0.5, 0.99, 1.0)] == [1.0, 3.0, 5.0, 5.0]
    assert math.isnan(percentile([], 0.5))


def test_a_bar_that_is_missed_is_said() -> None:
    least, most = (
        Bar("streams", "b", "c", "streams", 150, 300, more_is_better=True),
        Bar("delay", "b", "c", "p50", 12, 6),
    )
    assert [least.is_met(value, least.bar) for value in (149, 150)] == [False, True]
    assert [most.is_met(value, most.bar) for value in (12, 12.1)] == [True, False]
    bad = {"relay sqlite": {"uvicorn, SQLite": {"ratio": 4.3, "wrong": 1}}}
    assert missed(bad) == [BARS[0].sentence, "lost, doubled or reordered in all of it"]
    assert table(bad).count("**missed**") == 2
    good = {"relay sqlite": {"uvicorn, SQLite": {"ratio": 4.1, "wrong": 0}}}
    assert (missed(good), table(good).count("| met |")) == ([], 2)


def test_the_page_shows_the_latest_figures() -> None:
    shown = page.PAGE.read_text("utf-8")
    assert page.filled(shown, json.loads(LATEST.read_text())) == shown


def test_a_page_without_places_stays_as_it_is_and_each_place_is_filled() -> None:
    found = json.loads(LATEST.read_text())
    assert page.filled("# No figures\n", found) == "# No figures\n"
    empty = "".join(f"<!-- {name} -->\nold\n<!-- /{name} -->\n" for name in (*page.PARTS, "machine"))
    assert "old" not in page.filled(empty, found).splitlines()
    # Every benchmark has its figures there.
    for name in page.PARTS:
        assert len(page.PARTS[name](found["results"]).splitlines()) > 3, name
