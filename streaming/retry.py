"""When to try an upstream again, and when to give up. Pure.

Only before the first byte: what a model has begun to say is never asked for twice.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

#: Answers that another moment may answer differently.
RETRYABLE_STATUSES = frozenset({408, 409, 429})
#: A limit that says to come back later than this says nothing that anybody could use.
LONGEST_LIMIT = timedelta(days=366)


def is_retryable_status(status: int) -> bool:
    return status in RETRYABLE_STATUSES or status >= 500


def seconds_asked(headers: Mapping[str, str], words: str, now: datetime) -> float | None:
    """Return the seconds an upstream asks to be left alone, or None where it does not.

    `headers` has names in lower case, `words` are those of its refusal in lower case. What
    is said plainly counts first, then what its words say, then when its counters start anew.
    """
    plain = retry_after(headers, now)
    if plain is None:
        plain = _asked_in_words(words)
    return _until_reset(headers, _its_now(headers, now)) if plain is None else plain


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return what `Retry-After` says, in seconds.

    `retry-after-ms` is what OpenAI and Azure send besides; `retry-after` is a number of
    seconds or a date. https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after", "")
    seconds = _number(value)
    if seconds is None and (date := _date(value)):
        return max((date - _its_now(headers, now)).total_seconds(), 0.0)
    return seconds


def _its_now(headers: Mapping[str, str], now: datetime) -> datetime:
    """Return what the upstream's clock says, where it tells: its times are meant by that."""
    return _date(headers.get("date", "")) or now


def seconds_to_wait(attempt: int, asked: float | None, *, first: float, longest: float, chance: float) -> float | None:
    """Return how long to wait after `attempt` (1 is the first) has failed.

    Doubles from `first`, spread by `chance` (0 ≤ chance < 1) over 50–150 %, never less
    than the upstream `asked` for. None where it asked for more than `longest`: nobody
    sits in front of an empty reply that long.
    """
    if asked is not None and asked > longest:
        return None
    wait = min(first * 2.0 ** (attempt - 1), longest) * (0.5 + chance)
    return max(min(wait, longest), asked or 0)


def time_in_words(asked: float, now: datetime) -> str | None:
    """Return when an upstream may be asked again, to the minute, as sentences name it; the
    page puts it into its reader's own time. None where that is nearer to never."""
    if asked > LONGEST_LIMIT.total_seconds():
        return None
    # The next full minute: nobody is told to come a moment too early.
    when = now.astimezone(UTC) + timedelta(seconds=asked + 59.999)
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else -1
    except ValueError:
        return None
    # Not a number, infinite or negative: as good as nothing said.
    return number if 0 <= number < float("inf") else None


def _date(value: str) -> datetime | None:
    """Return the time of a header, of which there are three forms by now."""
    try:
        date: datetime = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


# "Please try again in 7m12s." says OpenAI, "retry after 26 seconds" Azure, Gemini
# "retryDelay": "34s".
UNIT = r"(?:ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?)"
DURATION = rf"(?:\d{{1,9}}(?:\.\d{{1,9}})? ?{UNIT}(?![a-z]),? ?)+"
ASKED = re.compile(rf'(?:try again|retry|wait) (?:in|after|for) (?:about )?({DURATION})|"retrydelay": ?"({DURATION})"')
PART = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]+)")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def _asked_in_words(words: str) -> float | None:
    found = ASKED.search(words)
    return _duration(found[1] or found[2]) if found else None


def _duration(text: str) -> float:
    """Return the seconds of a span such as 1h2m3.5s or 26 seconds."""
    return sum(float(number) * _seconds_of(unit) for number, unit in PART.findall(text))


def _seconds_of(unit: str) -> float:
    return 0.001 if unit.startswith(("ms", "milli")) else SECONDS[unit[0]]


#: The counters that servers tell of: what is left, and when it starts anew.
COUNTERS = (
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
)


def _until_reset(headers: Mapping[str, str], now: datetime) -> float | None:
    used_up = (headers.get(reset, "") for left, reset in COUNTERS if _number(headers.get(left)) == 0)
    waits = [wait for value in used_up if (wait := _reset(value, now)) is not None]
    return max(waits, default=None)


def _reset(value: str, now: datetime) -> float | None:
    """A span, a number of seconds, or a time: of Unix in seconds or milliseconds, or written out."""
    number = _number(value)
    if number is not None:
        since = now.timestamp()
        # Nobody says to come back in thirty years; those are times.
        return number if number < 1e9 else max((number / 1000 if number > 1e11 else number) - since, 0.0)
    if re.fullmatch(DURATION, value):
        return _duration(value)
    try:
        return max((datetime.fromisoformat(value) - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
