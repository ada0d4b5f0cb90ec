"""When another try is made, and when it is not."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streaming.retry import is_retryable_status, retry_after, seconds_asked, seconds_to_wait, time_in_words
from tests.cases import hundreds

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 520, 529, 599])
def test_what_another_moment_may_change_is_tried_again(status: int) -> None:
    assert is_retryable_status(status)


@pytest.mark.parametrize("status", [200, 301, 400, 401, 402, 403, 404, 410, 413, 418, 422, 499])
def test_what_stays_wrong_is_not_tried_again(status: int) -> None:
    assert not is_retryable_status(status)


# Retry-After


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("1", 1.0),
        ("120", 120.0),
        ("0.5", 0.5),
        (" 3 ", 3.0),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
        (format_datetime(NOW), 0.0),
        ("Mon, 04 May 2026 05:02:31 +0200", 30.0),
        ("Mon, 04 May 2026 03:02:31 -0000", 30.0),
        ("Monday, 04-May-26 03:02:31 GMT", 30.0),
        ("Mon May  4 03:02:31 2026", 30.0),
    ],
)
def test_seconds_and_dates_of_every_form_are_understood(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}, NOW) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "-1",
            "nan",
            "inf",
            "-inf",
            "soon",
            "5 seconds",
            "0x10",
            "1" * 5000,
            "Mon, 04 May 99999 00:00:00 GMT",
        ),
        "Mon, 04 May 2026 03:02:31 +99999999999999",
        "Mon, 99 May 2026 03:02:31 GMT",
    ],
)
def test_what_is_neither_is_as_good_as_nothing_said(value: str) -> None:
    assert retry_after({"retry-after": value}, NOW) is None


def test_without_the_header_nothing_was_said() -> None:
    assert retry_after({}, NOW) is None


def test_milliseconds_are_preferred() -> None:
    assert retry_after({"retry-after-ms": "1500", "retry-after": "2"}, NOW) == 1.5


@pytest.mark.parametrize("milliseconds", ["", "nan", "-5", "soon"])
def test_milliseconds_that_say_nothing_leave_it_to_the_seconds(milliseconds: str) -> None:
    assert retry_after({"retry-after-ms": milliseconds, "retry-after": "2"}, NOW) == 2.0


@hundreds
@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} [\d:]{1,12} [-+ A-Z\d]{0,20}"))
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
def test_any_header_gives_a_wait_or_none(value: str) -> None:
    seconds = retry_after({"retry-after": value, "retry-after-ms": value}, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


# How long

waits = st.floats(0, 1e6, allow_nan=False)
chances = st.floats(0, 1, exclude_max=True)


@hundreds
@given(st.integers(1, 20), st.none() | waits, st.floats(0.001, 100), st.floats(0.001, 100), chances)
def test_a_wait_is_never_shorter_than_asked_nor_longer_than_the_longest(
    attempt: int, asked: float | None, first: float, longest: float, chance: float
) -> None:
    wait = seconds_to_wait(attempt, asked, first=first, longest=longest, chance=chance)
    if asked is not None and asked > longest:
        assert wait is None
    else:
        assert wait is not None
        assert (asked or 0) <= wait <= longest


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_waits_double_and_are_spread_around_that(chance: float) -> None:
    waits = [seconds_to_wait(n, None, first=1, longest=100, chance=chance) for n in (1, 2, 3, 4)]
    assert waits == [middle * (0.5 + chance) for middle in (1, 2, 4, 8)]


def test_at_the_longest_it_is_waited_and_past_it_given_up() -> None:
    assert seconds_to_wait(1, 30, first=1, longest=30, chance=0) == 30
    assert seconds_to_wait(1, 30.001, first=1, longest=30, chance=0) is None


# What a server says in other ways


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("please try again in 7m12s.", 432.0),
        ("please try again in 7m48.288s. visit", 468.288),
        ("try again in 20s", 20.0),
        ("try again in 86ms.", 0.086),
        ("retry after 26 seconds", 26.0),
        ("please wait for 2 minutes", 120.0),
        ("try again in 1h2m3s", 3723.0),
        ("try again in 1 day, 2 hours", 93_600.0),
        ('"retrydelay": "34s"', 34.0),
    ],
)
def test_spans_in_words_are_understood(words: str, seconds: float) -> None:
    assert seconds_asked({}, words, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "words", ["", "try again later", "try again in 5 monkeys", "in 5 s", "try again in " + "9" * 500]
)
def test_words_without_a_span_say_nothing(words: str) -> None:
    assert seconds_asked({}, words, NOW) is None


@hundreds
@given(st.text(), st.text())
@example("9" * 300, "")
@example("9999-12-31T23:59:59-23:59", "")
@example("2026-05-04T03:02:01", "")
def test_any_counter_gives_a_wait_or_none(reset: str, words: str) -> None:
    seconds = seconds_asked({"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}, words, NOW)
    assert seconds is None or 0 <= seconds < float("inf")


def test_a_time_is_told_to_the_minute_and_never_too_early() -> None:
    assert time_in_words(0, NOW) == "2026-05-04 03:03 UTC"
    assert time_in_words(59, NOW) == "2026-05-04 03:03 UTC"
    assert time_in_words(60, NOW) == "2026-05-04 03:04 UTC"
    assert time_in_words(86_400, NOW) == "2026-05-05 03:03 UTC"


def test_a_time_that_nobody_waits_for_is_not_told() -> None:
    assert time_in_words(1e300, NOW) is None
