"""What to change about a request that a server has refused, so that it can be made once more. Pure.

Only what is refused before the first byte, and each change once for a reply: what comes of
it is one more POST, counted like the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from .refusals import Refusal

LENGTHS = ("max_tokens", "max_completion_tokens")


class Remedy(StrEnum):
    NO_USAGE = "no_usage"  # leave out stream_options
    OTHER_LENGTH = "other_length"  # call the limit of the reply by its other name
    SHORTER = "shorter"  # show the model less of the conversation


@dataclass(frozen=True)
class Dialect:
    """How a server wants to be asked, as far as that is not how most do."""

    tells_usage: bool = True
    length: str = ""  # the name of the limit of the reply, where it is not the usual one

    def after(self, remedy: Remedy, request: Mapping[str, Any]) -> Dialect:
        """Return the dialect in which the refused request is made once more."""
        if remedy is Remedy.NO_USAGE:
            return replace(self, tells_usage=False)
        if remedy is Remedy.OTHER_LENGTH:
            return replace(self, length=next(name for name in LENGTHS if name not in request))
        return self


USUAL = Dialect()


def remedy_for(refusal: Refusal, request: Mapping[str, Any]) -> Remedy | None:
    """Return what would make a server take this request, where its refusal lets one know."""
    if refusal.status in COMPLAINING and COMPLAINT.search(refusal.words):
        if "stream_options" in request and USAGE.search(refusal.words):
            return Remedy.NO_USAGE
        if any(name in request and LENGTH[name].search(refusal.words) for name in LENGTHS):
            return Remedy.OTHER_LENGTH
    return Remedy.SHORTER if refusal.is_too_long else None


#: With which a server says that it does not know a field. Some say 500, and mean it for good.
COMPLAINING = frozenset({400, 422, 500, 501})
#: Not "invalid": that is said of a value, and is in the type of every other refusal.
COMPLAINT = re.compile(
    r"unknown|unrecogni[sz]ed|unsupported|unexpected|not (supported|permitted|allowed|recogni[sz]ed)|does ?n[o']t support"
    r"|extra[_ ](forbidden|fields|inputs)|additional propert|only allowed|not a valid (field|parameter|argument)|不支持"
)
USAGE = re.compile(r"stream_?options?|include_usage")
LENGTH = {name: re.compile(rf"\b{name}\b") for name in LENGTHS}
