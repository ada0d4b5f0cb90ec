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
    NO_TOP_P = "no_top_p"  # leave out what somebody has set for the conversation
    NO_TEMPERATURE = "no_temperature"
    NO_EFFORT = "no_reasoning_effort"
    SHORTER = "shorter"  # show the model less of the conversation


#: What people may set, and a model need not know: one that reasons often knows no temperature, and others no effort.
OPTIONAL = {
    "top_p": Remedy.NO_TOP_P,
    "temperature": Remedy.NO_TEMPERATURE,
    "reasoning_effort": Remedy.NO_EFFORT,
}


@dataclass(frozen=True)
class Dialect:
    """How a server wants to be asked, as far as that is not how most do."""

    tells_usage: bool = True
    length: str = ""  # the name of the limit of the reply, where it is not the usual one
    #: `("temperature", 0.2)`. With its value: of an effort, say, a model may know three out of six.
    refused: frozenset[tuple[str, Any]] = frozenset()

    def after(self, remedy: Remedy, request: Mapping[str, Any]) -> Dialect:
        """Return the dialect in which the refused request is made once more."""
        if remedy is Remedy.NO_USAGE:
            return replace(self, tells_usage=False)
        if remedy is Remedy.OTHER_LENGTH:
            return replace(self, length=next(name for name in LENGTHS if name not in request))
        named = {(name, request[name]) for name, cure in OPTIONAL.items() if cure is remedy}
        return replace(self, refused=self.refused | named) if named else self

    def known_of(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return what of these a request may say: not what was refused before. The limit of the reply has a way of its own."""
        return {
            name: value for name, value in parameters.items() if name in OPTIONAL and (name, value) not in self.refused
        }


USUAL = Dialect()


def remedy_for(refusal: Refusal, request: Mapping[str, Any]) -> Remedy | None:
    """Return what would make a server take this request, where its refusal lets one know."""
    if refusal.status in COMPLAINING and COMPLAINT.search(refusal.words):
        if "stream_options" in request and USAGE.search(refusal.words):
            return Remedy.NO_USAGE
        if any(name in request and LENGTH[name].search(refusal.words) for name in LENGTHS):
            return Remedy.OTHER_LENGTH
        for name, remedy in OPTIONAL.items():
            if name in request and NAMES[name].search(refusal.words):
                return remedy
    return Remedy.SHORTER if refusal.is_too_long else None


#: With which a server says that it does not know a field. Some say 500, and mean it for good.
COMPLAINING = frozenset({400, 422, 500, 501})
#: Not "invalid": that is said of a value, and is in the type of every other refusal.
COMPLAINT = re.compile(
    r"unknown|unrecogni[sz]ed|unsupported|unexpected|not (supported|permitted|allowed|recogni[sz]ed)|does ?n[o']t support"
    r"|extra[_ ](forbidden|fields|inputs)|additional propert|only allowed|not a valid (field|parameter|argument)|不支持"
    r"|deprecated|only [\d.]+ is allowed|may only be set|cannot both be"
)
USAGE = re.compile(r"stream_?options?|include_usage")
LENGTH = {name: re.compile(rf"\b{name}\b") for name in LENGTHS}
NAMES = {
    "top_p": re.compile(r"\btop[_-]?p\b"),
    "temperature": re.compile(r"\btemperature\b"),
    "reasoning_effort": re.compile(r"\breasoning([_.]effort)?\b|\bthinking\b"),
}
