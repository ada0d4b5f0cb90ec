"""Verdicts and figures of one run, the sum of several, and the table that a person reads. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tests.torture.judge import Verdict, judge, recoveries
from tests.torture.records import Records


@dataclass
class Outcome:
    """What came of one seed, or of several."""

    topology: str
    seeds: list[int]
    counts: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    closes: Counter[str] = field(default_factory=Counter)
    verdicts: list[Verdict] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    failed_seeds: list[int] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.failed_seeds

    def as_json(self) -> dict[str, Any]:
        # Not `asdict` of the whole: it makes a Counter of the pairs of a Counter.
        return {**vars(self), "verdicts": [asdict(verdict) for verdict in self.verdicts]}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Self:
        counters = {name: Counter(told[name]) for name in ("counts", "replies", "faults", "closes")}
        return cls(**{**told, **counters, "verdicts": [Verdict(**verdict) for verdict in told["verdicts"]]})


def outcome_of(records: Records) -> Outcome:
    verdicts = judge(records)
    return Outcome(
        records.topology,
        [records.seed],
        Counter(
            {
                "seconds": round(records.ended - records.began),
                "commands": sum(asked.sendings for asked in records.asked) + len(records.stopped),
                "replies": len(records.kept),
                "characters": sum(len(kept.text) for kept in records.kept),
                "POSTs": len(records.posts),
                "connections": records.connections,
            }
        ),
        Counter(kept.status for kept in records.kept),
        Counter(fault.kind for fault in records.faults),
        Counter(records.closes),
        verdicts,
        thinned(records.delays),
        recoveries(records),
        [records.seed] if any(verdict.violations for verdict in verdicts) else [],
    )


def thinned(delays: Sequence[float]) -> list[float]:
    """Enough of many to know how they are spread; the worst one is among them."""
    ordered = sorted(delays)
    return [*ordered[:: max(len(ordered) // 500, 1)], *ordered[-1:]]


def sum_of(outcomes: Sequence[Outcome]) -> Outcome:
    total = Outcome(outcomes[0].topology, [])
    for each in outcomes:
        total.seeds += each.seeds
        total.failed_seeds += each.failed_seeds
        total.delays += each.delays
        total.recoveries += each.recoveries
        for name in ("counts", "replies", "faults", "closes"):
            getattr(total, name).update(getattr(each, name))
    total.verdicts = [added(verdicts) for verdicts in zip(*(each.verdicts for each in outcomes), strict=True)]
    return total


def added(verdicts: Sequence[Verdict]) -> Verdict:
    worst = [verdict.worst for verdict in verdicts if verdict.worst is not None]
    return Verdict(
        verdicts[0].promise,
        sum(verdict.checked for verdict in verdicts),
        [violation for verdict in verdicts for violation in verdict.violations],
        max(worst, default=None),
        verdicts[0].unit,
    )


# For people


def report(outcome: Outcome, *, most: int = 12) -> str:
    return "\n".join([*head(outcome), "", *table(outcome), "", *figures(outcome), *problems(outcome, most)])


def course(records: Records) -> str:
    """What was broken when, and the replies that it met, in the order of their times: for whoever has to find out why."""
    moments = [(fault.began, f"{fault.kind} begins") for fault in records.faults]
    moments += [(fault.ended, f"{fault.kind} ends") for fault in records.faults if fault.ended]
    moments += [(fault.ready_at, f"{fault.kind}: it serves again") for fault in records.faults if fault.ready_at]
    for kept in records.kept:
        if kept.status != "done":
            moments.append((kept.created_at, f"reply {kept.reply} is queued"))
            moments.append((kept.ended_at or records.ended, f"reply {kept.reply} {kept.status} {kept.error}"))
    return "\n".join(f"{at - records.began:8.2f} {what}" for at, what in sorted(moments)) + "\n"


def head(outcome: Outcome) -> list[str]:
    seeds = (
        f"seed {outcome.seeds[0]}" if len(outcome.seeds) == 1 else f"{len(outcome.seeds)} seeds from {outcome.seeds[0]}"
    )
    counts = outcome.counts
    names = ("commands", "replies", "POSTs", "connections")
    counted = ", ".join(f"{counts[name]:,} {name}" for name in names)
    return [f"{outcome.topology}, {seeds}, {counts['seconds']} s: {counted}, {sum(outcome.faults.values())} faults"]


def table(outcome: Outcome) -> list[str]:
    rows = [("promise", "checked", "worst", "violations")]
    for verdict in outcome.verdicts:
        worst = "" if verdict.worst is None else f"{verdict.worst:.2f} {verdict.unit}"
        rows.append((verdict.promise, f"{verdict.checked:,}", worst, str(len(verdict.violations))))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{name:<{widths[0]}}  {checked:>{widths[1]}}  {worst:>{widths[2]}}  {violations:>{widths[3]}}"
        for name, checked, worst, violations in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def figures(outcome: Outcome) -> list[str]:
    lines = [
        f"replies      {listed(outcome.replies)}",
        f"faults       {listed(outcome.faults)}",
        f"sockets      {listed(outcome.closes)}",
    ]
    if outcome.delays:
        p50, p99 = quantile(outcome.delays, 0.5), quantile(outcome.delays, 0.99)
        lines.append(
            f"delays       p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, worst {max(outcome.delays) * 1000:.0f} ms"
        )
    if outcome.recoveries:
        middle, worst = statistics.median(outcome.recoveries), max(outcome.recoveries)
        lines.append(
            f"recovery     first command carried out {middle:.1f} s (median) and {worst:.1f} s (worst) after a fault ended"
        )
    return lines


def problems(outcome: Outcome, most: int) -> list[str]:
    if outcome.holds:
        return ["", "Every promise was kept."]
    again = f"manage.py torture --topology {outcome.topology} --seed {outcome.failed_seeds[0]}"
    return [
        "",
        f"NOT KEPT with {listed_seeds(outcome.failed_seeds)}:",
        *violations(outcome, most),
        "",
        f"The same trouble once more: {again}",
    ]


def violations(outcome: Outcome, most: int) -> list[str]:
    """A line for each, at most so many of one promise."""
    lines = []
    for verdict in outcome.verdicts:
        lines += [f"  {verdict.promise}: {violation}" for violation in verdict.violations[:most]]
        if len(verdict.violations) > most:
            lines.append(f"  {verdict.promise}: and {len(verdict.violations) - most} more")
    return lines


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def listed_seeds(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * q), len(ordered) - 1)]
