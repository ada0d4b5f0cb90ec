"""So many in a minute, and no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.pace import MANY, Pace, Paces
from tests.cases import hundreds


def test_at_the_limit_all_are_allowed_and_one_past_it_waits() -> None:
    pace = Pace(60)
    assert [pace.seconds_to_wait(0.0) for _ in range(60)] == [0.0] * 60
    assert pace.seconds_to_wait(0.0) == pytest.approx(1.0)


def test_who_waits_as_long_as_was_said_is_allowed() -> None:
    pace = Pace(6)
    now = 100.0
    for _ in range(20):
        if wait := pace.seconds_to_wait(now):
            now += wait + 1e-6
            assert pace.seconds_to_wait(now) == 0.0


def test_being_refused_costs_nothing() -> None:
    pace = Pace(1)
    pace.seconds_to_wait(0.0)
    waits = [pace.seconds_to_wait(30.0) for _ in range(5)]
    assert waits == [pytest.approx(30.0)] * 5


def test_a_long_rest_does_not_add_up_beyond_a_minute_of_it() -> None:
    pace = Pace(10)
    pace.seconds_to_wait(0.0)
    assert sum(pace.seconds_to_wait(1e6) == 0 for _ in range(100)) == 10


@hundreds
@given(st.integers(1, 100), st.lists(st.floats(0, 30), max_size=300))
def test_no_minute_has_more_than_twice_the_number(per_minute: int, pauses: list[float]) -> None:
    """All at once at its beginning, and as many again as it fills up."""
    pace, now, allowed = Pace(per_minute), 0.0, []
    for pause in pauses:
        now += pause
        if pace.seconds_to_wait(now) == 0:
            allowed.append(now)
    for start in allowed:
        assert sum(start <= at < start + 60 for at in allowed) <= 2 * per_minute


def test_everybody_has_a_pace_of_their_own() -> None:
    paces = Paces()
    assert [paces.seconds_to_wait("alice", 2, 0.0) for _ in range(3)] == [0, 0, 30]
    assert paces.seconds_to_wait("bob", 2, 0.0) == 0


def test_of_many_only_those_are_kept_that_still_count() -> None:
    paces = Paces()
    assert paces.seconds_to_wait("fast", 1, 100.0) == 0
    for number in range(MANY):
        paces.seconds_to_wait(number, 60, number / 100)
    paces.seconds_to_wait("late", 1, 100.5)
    assert len(paces) < MANY / 2
    assert paces.seconds_to_wait("fast", 1, 101.0) > 0
