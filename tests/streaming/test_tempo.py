"""How long a frame is."""

import pytest

from streaming.tempo import LONGEST, Tempo

SHORTEST = 0.016


def after(share: float, frames: int, tempo: Tempo | None = None) -> Tempo:
    """A tempo behind so many frames in which the loop has worked this share of the time."""
    tempo = tempo or Tempo(SHORTEST)
    for _ in range(frames):
        tempo.note(share * tempo.frame, tempo.frame)
    return tempo


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_loop_with_time_takes_the_shortest_frames(share: float) -> None:
    assert after(share, 1000).frame == SHORTEST


def test_a_busy_loop_takes_longer_ones_within_a_bound() -> None:
    assert SHORTEST < after(0.9, 12).frame < SHORTEST * LONGEST
    assert after(0.9, 1000).frame == SHORTEST * LONGEST


def test_it_comes_back_when_there_is_time_again() -> None:
    assert after(0.2, 100, after(1.0, 100)).frame == SHORTEST


def test_between_busy_and_calm_it_stays_as_it_is() -> None:
    """Or it would swing to and fro."""
    busy = after(0.7, 10, after(1.0, 12))
    assert busy.frame > SHORTEST
    length = busy.frame
    assert after(0.7, 100, busy).frame == length


def test_a_moment_of_much_work_is_none() -> None:
    assert after(1.0, 1, after(0.1, 100)).frame == SHORTEST


def test_no_time_at_all_is_no_division() -> None:
    Tempo(SHORTEST).note(0.0, 0.0)
