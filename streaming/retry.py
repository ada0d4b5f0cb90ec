"""When to try an upstream again, and when to give up. Pure.

Only before the first byte: what a model has begun to say is never asked for twice.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Answers that another moment may answer differently.
RETRYABLE_STATUSES = frozenset({408, 409, 429})


def is_retryable_status(status: int) -> bool:
    return status in RETRYABLE_STATUSES or status >= 500


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds an upstream asks to be left alone, or None.

    `retry-after-ms` is what OpenAI and Azure send besides; `retry-after` is a number of
    seconds or a date. https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is None and value:
        return _date(value, now)
    return seconds


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


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else -1
    except ValueError:
        return None
    # Not a number, infinite or negative: as good as nothing said.
    return number if 0 <= number < float("inf") else None


def _date(value: str, now: datetime) -> float | None:
    try:
        date: datetime = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max((date - now).total_seconds(), 0.0)
