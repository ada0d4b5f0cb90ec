"""`python -m benchmarks`: all benchmarks, one after the other; `make bench` calls it.

Prints a table in words and writes all figures to `latest.json`, with the machine and the versions they were measured on.
Names of benchmarks choose some of them: `python -m benchmarks relay press`.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bars import LATEST, missed, table
from benchmarks.figures import in_words
from tests.services import what_is_missing

PLAN = (
    ("start", "sqlite"),
    ("relay", "sqlite"),
    ("relay", "services"),
    ("press", "sqlite"),
    ("press", "services"),
    ("capacity", "sqlite"),
    ("capacity", "services"),
    ("idle", "sqlite"),
    ("slow_readers", "sqlite"),
    ("size", "sqlite"),
    ("size", "services"),
    ("frames", "sqlite"),
)
PACKAGES = (
    "django",
    "channels",
    "daphne",
    "uvicorn",
    "uvloop",
    "openai",
    "aiohttp",
    "msgspec",
    "psycopg",
    "channels-redis",
    "picows",
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="of benchmarks; without any, all")
    parser.add_argument("--json", type=Path, default=LATEST, help="where to write the figures")
    options = parser.parse_args()
    if unknown := set(options.names) - {name for name, _ in PLAN}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    plan = [each for each in PLAN if not options.names or each[0] in options.names]
    if missing := what_is_missing():
        print(f"Without PostgreSQL and Redis: {missing}", file=sys.stderr)
        plan = [each for each in plan if each[1] != "services"]
    results = json.loads(options.json.read_text())["results"] if options.names and options.json.exists() else {}
    for number, (name, topology) in enumerate(plan):
        print(f"{number + 1} of {len(plan)}: {name}, {topology}", file=sys.stderr, flush=True)
        results[f"{name} {topology}"] = figures = measure(name, topology)
        print(in_words(figures), file=sys.stderr, flush=True)
        # After each: what follows takes most of an hour, and may fail.
        found = {"machine": machine(), "results": results}
        options.json.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(table(results))
    if short := missed(results):
        sys.exit(f"\nMissed: {'; '.join(short)}.")


def measure(name: str, topology: str) -> Any:
    """Run one benchmark in a process of its own, and return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "figures.json"
        words = [sys.executable, "-m", f"benchmarks.{name}", "--topology", topology, "--json", str(path)]
        began = time.monotonic()
        subprocess.run(words, check=True)
        print(f"  {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        return json.loads(path.read_text())


def machine() -> dict[str, Any]:
    return {
        "at": time.strftime("%Y-%m-%d"),
        "processors": psutil.cpu_count(),
        "processor": processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def processor() -> str:
    """Return the name of the processor, where the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
