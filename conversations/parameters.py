"""How the model is asked in one conversation: its system prompt and a few parameters.

Each may be left to the server. What a person wants comes from a form, as words, or from a command, as JSON; the rules are here
for both, and so are the sentences for what breaks them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from .refusals import Refused
from .text import storable

#: How long a model that reasons may do so, in the words of the API.
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
MOST_TOKENS = 10_000_000

Parameters = dict[str, Any]


def checked_prompt(text: str) -> str:
    """Return a system prompt as it is kept; nothing but blanks is none. Raises Refused."""
    if len(text) > settings.CHAT.system_prompt_characters:
        words = str(_("A system prompt has at most %d characters."))
        raise Refused("too_large", words % settings.CHAT.system_prompt_characters)
    return storable(text) if text.strip() else ""


def checked(wanted: Mapping[str, Any]) -> Parameters:
    """Return parameters as they are kept, None for each that is to be the server's own. Raises Refused."""
    for name in wanted:
        if name not in CHECKS:
            raise Refused("invalid", str(_("There is no parameter %r.")) % name[:40])
    return {name: None if value in (None, "") else CHECKS[name](value) for name, value in wanted.items()}


def changed(kept: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> Parameters:
    """Return parameters with some of them changed; those that are the server's own are left out. Raises Refused."""
    both = {**(kept or {}), **checked(wanted)}
    return {name: both[name] for name in CHECKS if both.get(name) is not None}


def in_form(form: Mapping[str, str]) -> Parameters:
    """Return the parameters that a form names. What is no number stays as it was typed, and is refused."""
    return {name: READINGS.get(name, str)(form[name].strip()) for name in CHECKS if name in form}


def _read_fraction(text: str) -> float | str:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return text


def _read_count(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else text


READINGS: dict[str, Callable[[str], Any]] = {
    "temperature": _read_fraction,
    "top_p": _read_fraction,
    "max_tokens": _read_count,
}


def _temperature(value: Any) -> float:
    if not _is_number(value) or not 0 <= value <= 2:
        raise Refused("invalid", str(_("The temperature is a number from 0 to 2.")))
    return round(float(value), 2)


def _top_p(value: Any) -> float:
    if not _is_number(value) or not 0.01 <= value <= 1:
        raise Refused("invalid", str(_("Top P is a number from 0.01 to 1.")))
    return round(float(value), 2)


def _max_tokens(value: Any) -> int:
    if not _is_number(value) or value != int(value) or not 1 <= value <= MOST_TOKENS:
        raise Refused("invalid", str(_("The longest reply is a whole number of tokens, from 1 to 10000000.")))
    return int(value)


def _effort(value: Any) -> str:
    if value not in EFFORTS:
        words = str(_("The effort is one of these words: %s."))
        raise Refused("invalid", words % ", ".join(EFFORTS))
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


#: In the order in which a page shows them.
CHECKS: dict[str, Callable[[Any], Any]] = {
    "temperature": _temperature,
    "top_p": _top_p,
    "max_tokens": _max_tokens,
    "reasoning_effort": _effort,
}
