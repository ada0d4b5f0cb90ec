"""What a seed says: how each question is answered, and which faults come when. Pure.

The same seed asks for the same things in the same order. How they meet is up to the machine, so a run repeats the trouble,
not the microsecond.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tests.scripts import Data, Drop, Raw, Reason, Reset, Script, Stall, Step, Wait, in_seconds, out_of_quota, refuses

#: How long people talk and things break in one run.
SECONDS = 45.0
#: How many people, conversations and tabs there are.
PEOPLE = 6
CONVERSATIONS = 8
TABS = 24
GUESTS = 6

WORDS = [
    "ein",
    "δύο",
    "trois",
    "四つ",
    "five",
    "шесть",
    "七",
    "eight",
    "neuf",
    "十",
    "🙂",
    "👩\u200d👩\u200d👧",
    "naïve",
    "é",
    "\t“quoted”",
    "`code`",
    "**bold**",
    "<b>&amp;</b>",
    "漢字かな",
]

#: Marks a question, so that whoever is asked knows which one it is.
MARK = re.compile(r"#(\d+)\b")


@dataclass(frozen=True)
class Way:
    """One way in which a POST is answered, and the ends that a reply may honestly come to by it."""

    name: str
    weight: int
    ends: frozenset[str]
    #: Nothing of a reply comes, and the same request may be made again.
    again: bool = False


DONE = frozenset({"done"})
CUT = frozenset({"interrupted"})
# A stream may break before its first word was stored: then there is nothing to keep.
BROKEN = frozenset({"interrupted", "failed"})
FAILED = frozenset({"failed"})

WAYS = {
    way.name: way
    for way in (
        Way("whole", 40, DONE),
        Way("slow", 8, DONE),
        Way("fast", 6, DONE),
        Way("large", 3, DONE),
        Way("thinking", 8, DONE),
        Way("cut anywhere", 6, DONE),
        Way("keep-alives between", 4, DONE),
        Way("length", 3, DONE),
        Way("without usage", 3, DONE),
        Way("drop", 5, BROKEN),
        Way("reset", 5, BROKEN),
        Way("no end", 4, BROKEN),
        Way("silence", 3, BROKEN),
        Way("error in the stream", 3, BROKEN),
        Way("garbage", 3, BROKEN),
        Way("empty", 2, FAILED),
        Way("quota", 2, FAILED),
        Way("key refused", 2, FAILED),
        Way("too fast", 4, FAILED, again=True),
        Way("too fast until", 2, FAILED, again=True),
        Way("overloaded", 4, FAILED, again=True),
        Way("broken server", 3, FAILED, again=True),
        Way("no answer", 2, FAILED, again=True),
        Way("reset before the first byte", 3, FAILED, again=True),
    )
}
#: At most this often a request is turned away before it is answered; the product tries four times.
MOST_REFUSALS = 2
LARGE = 300_000


@dataclass(frozen=True)
class Book:
    """How every question of a seed is answered."""

    seed: int

    def chance(self, *names: object) -> random.Random:
        return random.Random("/".join(map(str, (self.seed, *names))))

    def ways(self, ask: int) -> list[Way]:
        """How the POSTs for one question are answered, in turn; the last way holds for all that come after."""
        chance = self.chance("ways", ask)
        turned_away = [way for way in WAYS.values() if way.again]
        final = [way for way in WAYS.values() if not way.again]
        refusals = chance.choice((0, 0, 0, 0, 1, 1, MOST_REFUSALS))
        return [*draw(chance, turned_away, refusals), *draw(chance, final, 1)]

    def way(self, ask: int, nth: int) -> Way:
        ways = self.ways(ask)
        return ways[min(nth, len(ways) - 1)]

    def text(self, ask: int) -> str:
        """All that will ever be said to a question, however often it is asked."""
        if self.ways(ask)[-1].name == "empty":
            return ""
        return written(self.seed, ask, self.ways(ask)[-1].name == "large")

    def reasoning(self, ask: int) -> str:
        return written(self.seed, -ask, False)[:400] if self.ways(ask)[-1].name == "thinking" else ""

    def script(self, ask: int, nth: int, said: int) -> Script:
        """The answer to the `nth` POST (from 0) for a question, of which `said` characters are there already."""
        way = self.way(ask, nth)
        chance = self.chance("script", ask, nth)
        if way.again or way.name in REFUSALS:
            return REFUSALS[way.name]()
        deltas = list(pieces(chance, self.text(ask)[said:], 2000 if way.name == "large" else 24))
        steps: list[Step] = [*deltas]
        if said == 0:
            steps = [*map(Reason, pieces(chance, self.reasoning(ask), 24)), *steps]
        return told(way.name, steps, chance)


@lru_cache(maxsize=4096)
def written(seed: int, ask: int, large: bool) -> str:
    chance = random.Random(f"{seed}/text/{ask}")
    length = LARGE if large else int(chance.triangular(20, 3000, 500))
    words: list[str] = [f"[{ask}]"]
    size = 0
    while size < length:
        words.append(chance.choice(WORDS))
        size += len(words[-1]) + 1
    return " ".join(words)


def draw(chance: random.Random, ways: Sequence[Way], count: int) -> list[Way]:
    return chance.choices(ways, [way.weight for way in ways], k=count)


def pieces(chance: random.Random, text: str, longest: int) -> Iterator[str]:
    start = 0
    while start < len(text):
        size = chance.randint(1, longest)
        yield text[start : start + size]
        start += size


#: Answers without a stream.
REFUSALS: dict[str, Callable[[], Script]] = {
    "too fast": lambda: refuses(429, "Slow down.", "rate_limit_exceeded", Retry_After="0.3"),
    "too fast until": lambda: refuses(429, "Slow down.", "rate_limit_exceeded", Retry_After=in_seconds(1.2)),
    "overloaded": lambda: refuses(503, "Overloaded."),
    "broken server": lambda: refuses(500, "Oops."),
    "no answer": lambda: Script(before=[Wait(0.3), Drop()]),
    "reset before the first byte": lambda: Script(before=[Reset()]),
    "quota": out_of_quota,
    "key refused": lambda: refuses(401, "Incorrect API key provided.", "invalid_api_key"),
}
#: What comes instead of the rest of a stream.
BREAKS: dict[str, list[Step]] = {
    "drop": [Drop()],
    "reset": [Reset()],
    "no end": [],
    "silence": [Stall(comments=0.5)],
    "error in the stream": [Data({"error": {"message": "boom", "code": 500}})],
    "garbage": [Data("{nonsense")],
}


def told(name: str, steps: list[Step], chance: random.Random) -> Script:
    """A stream that says `steps` in the way called `name`."""
    pace = chance.uniform(0.005, 0.04)
    if name in BREAKS:
        # Mostly somewhere in the middle, sometimes at the first word or the last.
        middle = steps[: int(len(steps) * chance.triangular(0, 1, 0.5))]
        return Script([*middle, *BREAKS[name]], pace=pace, finish=None, done=False)
    if name == "keep-alives between":
        return Script(list(between(steps, Raw(b": keep-alive\n\n"))), pace=pace / 2)
    return Script(steps, **manner(name, pace, chance))


def manner(name: str, pace: float, chance: random.Random) -> dict[str, Any]:
    match name:
        case "slow":
            return {"pace": 0.1}
        case "fast" | "large":
            return {"pace": 0.0}
        case "cut anywhere":
            return {"pace": pace, "cut": chance.randint(1, 7), "line_end": chance.choice(["\n", "\r\n"])}
        case "length":
            return {"pace": pace, "finish": "length"}
        case "without usage":
            return {"pace": pace, "usage": {}}
        case _:
            return {"pace": pace}


def between(steps: list[Step], other: Step) -> Iterator[Step]:
    for step in steps:
        yield from (step, other)


# Faults


@dataclass(frozen=True)
class Planned:
    """A fault that begins `at` seconds after the start and is mended `lasts` seconds later."""

    at: float
    kind: str
    lasts: float
    #: Chooses among what the fault could hit.
    target: int


@dataclass(frozen=True)
class Kind:
    """A kind of fault. `lasts` is between which bounds; `rest` is what the others are given to get over it."""

    name: str
    weight: int
    lasts: tuple[float, float]
    rest: float = 1.0
    #: Where it can happen: "" is everywhere.
    on: str = ""


KINDS = (
    Kind("server killed", 5, (0.0, 2.5), 3.0),
    Kind("server terminated", 3, (0.0, 1.0), 3.0),
    Kind("server frozen", 2, (2.0, 5.0), 2.0),
    Kind("server stopped for twice its lease", 1, (16.0, 18.0), 3.0),
    Kind("all connections cut", 3, (0.0, 0.0)),
    Kind("upstream gone", 2, (0.5, 2.5)),
    Kind("guest signed out", 2, (0.0, 0.0)),
    Kind("guest removed", 2, (0.0, 0.0)),
    Kind("guest deactivated", 1, (0.0, 0.0)),
    Kind("redis killed", 3, (0.5, 4.0), 2.0, "services"),
    Kind("redis paused", 2, (1.0, 5.0), 2.0, "services"),
    Kind("redis emptied", 1, (0.0, 0.0), 1.0, "services"),
    Kind("redis connections cut", 2, (0.0, 0.0), 1.0, "services"),
    Kind("database restarted", 2, (0.0, 1.5), 3.0, "services"),
    Kind("database killed", 2, (0.0, 1.0), 4.0, "services"),
    Kind("database paused", 2, (1.0, 5.0), 3.0, "services"),
    Kind("database connections cut", 2, (0.0, 0.0), 2.0, "services"),
    Kind("table locked", 2, (1.0, 5.0), 2.0, "services"),
    Kind("database file locked", 3, (1.0, 5.0), 2.0, "sqlite"),
    Kind("eight more writers", 2, (2.0, 4.0), 1.0, "sqlite"),
)


def faults(seed: int, topology: str, seconds: float) -> list[Planned]:
    """The faults of a run of `seconds`, in the order in which they begin. Some come while another one lasts."""
    chance = random.Random(f"{seed}/faults/{topology}")
    where = "sqlite" if topology == "sqlite" else "services"
    kinds = [kind for kind in KINDS if kind.on in ("", where)]
    planned: list[Planned] = []
    at = 2.0
    while at < seconds:
        kind = chance.choices(kinds, [kind.weight for kind in kinds])[0]
        lasts = min(chance.uniform(*kind.lasts), max(seconds - at, kind.lasts[0]))
        planned.append(Planned(round(at, 2), kind.name, round(lasts, 2), chance.randrange(1000)))
        together = chance.random() < 0.25
        at += chance.uniform(0.2, 1.0) if together else lasts + kind.rest + chance.expovariate(1.0)
    return planned
