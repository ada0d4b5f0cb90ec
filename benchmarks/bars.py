"""What the figures are to be: the table that `make bench` prints and docs/performance.md shows. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LATEST = Path(__file__).parent / "latest.json"


@dataclass(frozen=True)
class Bar:
    """A figure that is looked at: where it is found, how it must be, and how we should like it to be."""

    sentence: str
    benchmark: str
    contender: str
    name: str
    bar: float
    stretch: float
    unit: str = ""
    more_is_better: bool = False

    def value(self, results: Mapping[str, Any]) -> float | None:
        found = results.get(self.benchmark, {}).get(self.contender, {}).get(self.name)
        return None if found is None else float(found)

    def is_met(self, value: float, bound: float) -> bool:
        return value >= bound if self.more_is_better else value <= bound


SQLITE = "relay sqlite"
SERVICES = "relay services"
FRAMES = "frames sqlite"
READ_APART = "uvicorn, PostgreSQL + Redis, read on the other process"

BARS = (
    Bar("processor time per delta ÷ bare relay: uvicorn, SQLite", SQLITE, "uvicorn, SQLite", "ratio", 4.2, 2.8),
    Bar("the same on daphne (`runserver`)", SQLITE, "daphne, SQLite", "ratio", 6, 4),
    Bar("the same on PostgreSQL + Redis, read on the other process", SERVICES, READ_APART, "ratio", 7.5, 5),
    Bar(
        "replies at 50 deltas a second in one process, p99 under 100 ms", "capacity sqlite", "uvicorn", "streams",
        150, 300, more_is_better=True,
    ),
    Bar("50 people press Send in one second: first token, p50", "press sqlite", "uvicorn", "first_p50", 30, 15, "ms"),
    Bar("the same, p99", "press sqlite", "uvicorn", "first_p99", 150, 60, "ms"),
    Bar("the same, errors", "press sqlite", "uvicorn", "errors", 0, 0),
    Bar("delay added to a delta, 20 replies at once, p50", SQLITE, "uvicorn, SQLite", "delay_p50", 12, 6, "ms"),
    Bar("the same, p99", SQLITE, "uvicorn, SQLite", "delay_p99", 30, 15, "ms"),
    Bar("first token added, p50", SQLITE, "uvicorn, SQLite", "first_p50", 8, 5, "ms"),
    Bar("bytes on the wire ÷ bytes of text", SQLITE, "uvicorn, SQLite", "bytes_per_character", 5, 3),
    Bar("lost, doubled or reordered in all of it", "", "", "wrong", 0, 0),
    Bar("an idle socket of a signed-in person", "idle sqlite", "uvicorn", "kib_a_socket_5000", 48, 36, "KiB"),
    Bar("an idle process, ready", "start sqlite", "runserver", "mib", 120, 90, "MiB"),
    Bar("the dearest at 1,000,000 messages ÷ at 1,000: SQLite", "size sqlite", "worst", "ratio", 1.5, 1.1),
    Bar("the same, PostgreSQL", "size services", "worst", "ratio", 1.5, 1.1),
    Bar(
        "a reply of 30,000 tokens, its end at 100 a second: frames a second ÷ those of an empty page", FRAMES,
        "30,000 tokens", "ratio", 0.98, 1, more_is_better=True,
    ),
    Bar("the same, tasks over 50 ms", FRAMES, "30,000 tokens", "long_tasks", 0, 0),
    Bar(
        "giant blocks: frames a second ÷ those of an empty page, the worst", FRAMES, "blocks", "ratio",
        0.98, 1, more_is_better=True,
    ),
    Bar("the same, tasks over 50 ms in all of them", FRAMES, "blocks", "long_tasks", 0, 0),
    Bar("server start to the first page", "start sqlite", "runserver", "seconds", 3, 2, "s"),
)  # fmt: skip


def value_of(bar: Bar, results: Mapping[str, Any]) -> float | None:
    """Return the figure of a bar; what went wrong is counted over all benchmarks."""
    if bar.benchmark:
        return bar.value(results)
    wrongs = [figures["wrong"] for found in results.values() for figures in found.values() if "wrong" in figures]
    return float(sum(wrongs)) if wrongs else None


def table(results: Mapping[str, Any]) -> str:
    """Return all bars as a table in Markdown."""
    rows = ["| figure | measured | bar | stretch | |", "| --- | ---: | ---: | ---: | --- |"]
    for bar in BARS:
        value = value_of(bar, results)
        if value is None:
            continue
        unit = f" {bar.unit}" if bar.unit else ""
        met = "over" if bar.more_is_better else "under"
        verdict = (
            f"{met} the stretch"
            if bar.is_met(value, bar.stretch)
            else "met"
            if bar.is_met(value, bar.bar)
            else "**missed**"
        )
        if bar.bar == 0 and value == 0:
            verdict = "met"
        rows.append(f"| {bar.sentence} | {in_figures(value)}{unit} | {bar.bar:g} | {bar.stretch:g} | {verdict} |")
    return "\n".join(rows)


def in_figures(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def missed(results: Mapping[str, Any]) -> list[str]:
    values = [(bar, value_of(bar, results)) for bar in BARS]
    return [bar.sentence for bar, value in values if value is not None and not bar.is_met(value, bar.bar)]


if __name__ == "__main__":
    print(table(json.loads(LATEST.read_text())["results"]))
