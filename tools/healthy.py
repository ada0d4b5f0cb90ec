"""The health check of the containers. Only the standard library, because it runs every ten seconds."""

import os
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

#: A worker looks at its database, and says so, every second.
SECONDS_OF_A_LOOK = 10.0


def main() -> None:
    """End with 0 if all is well, else with the reason: of the web server, or of the worker whose sign of life is named."""
    if len(sys.argv) > 1:
        ask_the_file(Path(sys.argv[1]))
    else:
        ask_the_web()


def ask_the_web() -> None:
    try:
        with urlopen(f"http://127.0.0.1:{os.environ.get('WEB_PORT', '8000')}/health/", timeout=4):
            pass
    except HTTPError as error:
        sys.exit(f"{error}: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        sys.exit(str(error))


def ask_the_file(alive: Path) -> None:
    """`manage.py runreplies --alive` touches it after each look at the database."""
    try:
        age = time.time() - alive.stat().st_mtime
    except OSError as error:
        sys.exit(str(error))
    if age > SECONDS_OF_A_LOOK:
        sys.exit(f"The worker has not looked at its database for {age:.0f} s.")


if __name__ == "__main__":
    main()
