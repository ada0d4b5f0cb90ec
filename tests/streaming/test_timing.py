"""How long a reply took, as it is kept with it."""

from streaming.timing import Timing


def test_who_thinks_before_speaking_is_told_apart() -> None:
    timing = Timing(asked=100.0)
    timing.receive(thinks=True, speaks=False, now=100.5)
    timing.receive(thinks=True, speaks=False, now=103.0)
    timing.receive(thinks=True, speaks=True, now=112.5)
    assert timing.in_milliseconds(115.25) == {"duration_ms": 15_250, "first_token_ms": 500, "thought_ms": 12_000}


def test_who_never_thinks_has_no_time_for_it() -> None:
    timing = Timing(asked=0.0)
    timing.receive(thinks=False, speaks=True, now=0.25)
    assert timing.in_milliseconds(1.0) == {"duration_ms": 1000, "first_token_ms": 250}


def test_who_is_stopped_while_thinking_has_thought_until_then() -> None:
    timing = Timing(asked=0.0)
    timing.receive(thinks=True, speaks=False, now=1.0)
    assert timing.in_milliseconds(5.0)["thought_ms"] == 4000


def test_who_says_nothing_has_only_taken_time() -> None:
    assert Timing(asked=0.0).in_milliseconds(2.0) == {"duration_ms": 2000}
