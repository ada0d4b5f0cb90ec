#!/usr/bin/env python3
"""The command line of Parley: `python manage.py help` lists the commands."""

import os
import sys


def main() -> None:
    """Run the command that the arguments name."""
    if sys.version_info < (3, 11):  # noqa: UP036 (said here, because pip would say it worse)
        sys.exit(f"Parley needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable}).")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
    try:
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit(
            f"Django is not installed for {sys.executable}.\n"
            "Run `make run`, which sets everything up, or `pip install -r requirements.txt` in a virtual environment."
        )
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
