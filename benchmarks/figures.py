"""What all benchmarks have in common: how they are started, how they tell of their progress, and what they return."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks.world import World, world
from tests.installation import TOPOLOGIES

#: By contender, by name of the figure.
Figures = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Case:
    """A benchmark as a program: `python -m benchmarks.NAME --topology …`."""

    name: str
    run: Callable[[World], Awaitable[Figures]]

    def main(self) -> None:
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{self.name}")
        parser.add_argument("--topology", choices=TOPOLOGIES, default="sqlite")
        parser.add_argument("--json", type=Path, help="where to write the figures")
        options = parser.parse_args()
        with world(options.topology) as here:
            figures = uvloop.run(self.measure(here))
        if options.json:
            options.json.write_text(json.dumps(figures))
        else:
            print(in_words(figures))

    async def measure(self, here: World) -> Figures:
        try:
            return await self.run(here)
        finally:
            if sys.stderr.isatty():
                print(file=sys.stderr)


def percentile(values: Iterable[float], share: float) -> float:
    """Return the value that so large a share of all is not above; not a number, where there is none."""
    ordered = sorted(values)
    return ordered[min(math.ceil(len(ordered) * share), len(ordered)) - 1] if ordered else math.nan


def in_words(figures: Figures) -> str:
    lines = []
    for contender, found in figures.items():
        lines.append(contender)
        lines += [f"  {name.replace('_', ' '):26} {value:10.2f}" for name, value in found.items()]
    return "\n".join(lines)
