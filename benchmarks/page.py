"""The figures on docs/performance.md: `python -m benchmarks.page` puts what `latest.json` says into its tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.bars import BARS, LATEST, in_figures, table, value_of

PAGE = Path(__file__).resolve().parent.parent / "docs/performance.md"
BASES = {"sqlite": "SQLite", "services": "PostgreSQL + Redis"}

Results = Mapping[str, Mapping[str, Mapping[str, float]]]


def machine(found: Mapping[str, Any]) -> str:
    """Say where and with what it was measured."""
    here = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(here["versions"].items()))
    return (
        f"Measured on {here['at']}: {here['processors']} processors ({here['processor']}), {here['memory_gib']} GiB, "
        f"{here['system']}, Python {here['python']}, {versions}."
    )


#: Of other programs, measured once with the same upstream: Channels' tutorial, Chainlit 2.12, Open WebUI 0.12. They are no part
#: of `make bench`, so they stand here.
PEERS = (
    ("processor time per delta ÷ bare relay", "9.5", "about 10", "about 14"),
    ("replies at 50 deltas a second, p99 under 100 ms", "40 to 60", "30 to 40", "30 to 40"),
    ("50 people press Send in one second: first token, p50", "–", "200 ms", "4,200 ms"),
    ("the same, p99", "–", "560 ms", "11,700 ms, with errors"),
    ("bytes on the wire ÷ bytes of text", "–", "5.6", "14"),
    ("an idle process, ready", "–", "150 MB", "807 MB"),
    ("server start to the first page", "–", "3.2 s", "–"),
)


def peers(results: Results) -> str:
    """What others were measured to cost, beside the figures of the same bars here."""
    bars = {bar.sentence.removesuffix(": uvicorn, SQLite"): bar for bar in BARS}
    bars["replies at 50 deltas a second, p99 under 100 ms"] = next(bar for bar in BARS if bar.name == "streams")
    bars["the same, p99"] = next(bar for bar in BARS if bar.name == "first_p99")
    rows = ["| | Parley | tutorial's design | Chainlit | Open WebUI |", "| --- | ---: | ---: | ---: | ---: |"]
    for sentence, *others in PEERS:
        bar = bars[sentence]
        value = value_of(bar, results)
        here = "–" if value is None else f"{in_figures(value)} {bar.unit}".strip()
        rows.append(f"| {sentence} | {here} | {' | '.join(others)} |")
    return "\n".join(rows)


def relay(results: Results) -> str:
    rows = [
        "| | ÷ bare relay | µs a delta | of PostgreSQL and Redis | delay p50 / p99 | first words p50 / p99 | bytes ÷ text |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for topology in BASES:
        for name, of in results.get(f"relay {topology}", {}).items():
            if name == "floor" and topology != "sqlite":
                continue
            rows.append(
                f"| {name} | {of['ratio']:.1f} | {of['microseconds']:.0f} | {of['services_microseconds']:.0f} "
                f"| {of['delay_p50']:.1f} / {of['delay_p99']:.0f} ms | {of['first_p50']:.1f} / {of['first_p99']:.0f} ms "
                f"| {of['bytes_per_character']:.1f} |"
            )
    return "\n".join(rows)


def press(results: Results) -> str:
    rows = ["| | first words p50 / p99 | errors |", "| --- | ---: | ---: |"]
    for base, name, of in _both(results, "press"):
        rows.append(
            f"| {name}, {base} | {of['first_p50']:.0f} / {of['first_p99']:.0f} ms | {of['errors']:.0f} of {of['pressed']:.0f} |"
        )
    return "\n".join(rows)


def capacity(results: Results) -> str:
    rows = ["| | replies with p99 under 100 ms | p99 at so many |", "| --- | ---: | --- |"]
    for base, name, of in _both(results, "capacity"):
        steps = sorted(
            (int(key.removeprefix("p99_at_")), value) for key, value in of.items() if key.startswith("p99_at_")
        )
        told = ", ".join(f"{count}: {value:.0f} ms" for count, value in steps)
        rows.append(f"| {name}, {base} | {of['streams']:.0f} | {told} |")
    return "\n".join(rows)


def idle(results: Results) -> str:
    rows = [
        "| | KiB a socket, of 1,000 / 5,000 | processors for 5,000 | a delta with 1,000 elsewhere ÷ alone | to one of 200, p99 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, of in results.get("idle sqlite", {}).items():
        rows.append(
            f"| {name} | {of['kib_a_socket_1000']:.0f} / {of['kib_a_socket_5000']:.0f} | {of['processor_with_5000']:.2f} "
            f"| {of['with_1000_elsewhere']:.2f} | {of['microseconds_a_frame_to_200']:.0f} µs, {of['delay_p99_of_200']:.0f} ms |"
        )
    return "\n".join(rows)


def start(results: Results) -> str:
    rows = ["| | first page after | memory then |", "| --- | ---: | ---: |"]
    for name, of in results.get("start sqlite", {}).items():
        if "mib" in of:
            rows.append(f"| {name} | {of['seconds']:.1f} s | {of['mib']:.0f} MiB |")
    return "\n".join(rows)


def size(results: Results) -> str:
    """Each operation at a million messages against a thousand, on both databases."""
    found = {base: results.get(f"size {topology}", {}) for topology, base in BASES.items()}
    rows = ["| | SQLite | PostgreSQL | queries |", "| --- | ---: | ---: | ---: |"]
    for name in found["SQLite"]:
        both = [of[name] for of in found.values() if "large" in of.get(name, {})]
        if both:
            cells = [f"{of['ratio']:.2f} ({of['large']:.0f} ms)" for of in both] + ["–"] * (2 - len(both))
            rows.append(f"| {name} | {' | '.join(cells)} | {both[0]['queries_large']:.0f} |")
    return "\n".join(rows)


def frames(results: Results) -> str:
    rows = [
        "| | frames a second | a frame, p50 / p99 | later than 34 ms | tasks over 50 ms | the longest | processors of the page |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, of in results.get("frames sqlite", {}).items():
        if "frame_p50" in of:
            longest = f"{of['longest']:.0f} ms" if of["long_tasks"] else "–"
            rows.append(
                f"| {name} | {of['frames_a_second']:.1f} | {of['frame_p50']:.0f} / {of['frame_p99']:.0f} ms "
                f"| {of['late_frames']:.1f} % | {of['long_tasks']:.0f} | {longest} | {of['processor']:.2f} |"
            )
    return "\n".join(rows)


#: By the name that the page gives to the place.
PARTS: dict[str, Callable[[Results], str]] = {
    "bars": table,
    "peers": peers,
    "relay": relay,
    "press": press,
    "capacity": capacity,
    "idle": idle,
    "start": start,
    "size": size,
    "frames": frames,
}


def filled(page: str, found: Mapping[str, Any]) -> str:
    """Return the page with these figures in their places: between `<!-- relay -->` and `<!-- /relay -->`, and so on."""
    parts = {name: part(found["results"]) for name, part in PARTS.items()} | {"machine": machine(found)}

    def put(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- {name} -->\n{parts[name]}\n<!-- /{name} -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->", put, page, flags=re.DOTALL)


def _both(results: Results, benchmark: str) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    for topology, base in BASES.items():
        for name, of in results.get(f"{benchmark} {topology}", {}).items():
            yield base, name, of


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8"), json.loads(LATEST.read_text())), "utf-8")
