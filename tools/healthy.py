"""The health check of the container. Only the standard library, because it runs every ten seconds."""

import os
import sys
from urllib.error import HTTPError
from urllib.request import urlopen


def main() -> None:
    """End with 0 if /health/ answers 200, else with the reason that it gave."""
    try:
        with urlopen(f"http://127.0.0.1:{os.environ.get('WEB_PORT', '8000')}/health/", timeout=4):
            pass
    except HTTPError as error:
        sys.exit(f"{error}: {error.read(1000).decode(errors='replace')}")
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
