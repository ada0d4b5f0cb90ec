"""`python -m tests.torture --seed 1 --topology sqlite`: one run, in a process of its own. `manage.py torture` calls it."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from pathlib import Path

import django

from tests.installation import TOPOLOGIES, services
from tests.torture import plan


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--topology", choices=TOPOLOGIES, default="sqlite")
    parser.add_argument("--seconds", type=float, default=plan.SECONDS)
    parser.add_argument("--outcome", type=Path, help="where to write the outcome as JSON")
    parser.add_argument("--logs", type=Path, help="a folder for the logs of the servers and the course of events")
    parser.add_argument("--progress", action="store_true", help="one line of JSON for each step")
    options = parser.parse_args()
    with services(options.topology) as running:
        os.environ["DJANGO_SETTINGS_MODULE"] = "chatproject.settings"
        django.setup()
        logging.disable(logging.WARNING)  # what breaks here breaks on purpose
        from tests.torture.report import course, outcome_of, report
        from tests.torture.run import torture

        def tell(share: float, what: str) -> None:
            if options.progress:
                print(json.dumps({"share": share, "what": what}), flush=True)

        records = asyncio.run(torture(options.seed, options.topology, options.seconds, running, tell, options.logs))
        outcome = outcome_of(records)
    if options.logs:
        (options.logs / f"{options.topology}-{options.seed}-course.txt").write_text(course(records))
    if options.outcome:
        options.outcome.write_text(json.dumps(outcome.as_json()))
    else:
        print(report(outcome))
    sys.exit(0 if outcome.holds else 1)


if __name__ == "__main__":
    main()
