"""Log lines that may be shown to anybody: no key, no password, no query string."""

import logging
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

HIDDEN = "[hidden]"

# What looks like a secret wherever it comes from: a key of a provider, a header, the password in an address.
PATTERNS = [
    (re.compile(r"\b(sk|pk|rk|gsk|xai|hf)[-_][A-Za-z0-9_\-]{12,}"), HIDDEN),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=\-]{8,}"), rf"\1 {HIDDEN}"),
    # A scheme is short. Were it of any length, each letter of a long "a-a-a-…" would be tried as its beginning.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.\-]{0,40}://[^\s/:@]*):[^\s/@]+@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"(?<=[\w/])\?[\w\-.%~]+=[^\s\"'<>)\]]*"), "?…"),
]


class SafeFormatter(logging.Formatter):
    """Format a record as usual, traceback included, then take out what nobody may read."""

    def __init__(self, fmt: str | None = None, datefmt: str | None = None, *, secrets: Iterable[str] = ()) -> None:
        super().__init__(fmt, datefmt)
        # The longest goes first, so that no tail of it is left when another secret is its beginning.
        self.secrets = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        """Give the line without secrets."""
        line = super().format(record)
        for secret in self.secrets:
            line = line.replace(secret, HIDDEN)
        for pattern, replacement in PATTERNS:
            line = pattern.sub(replacement, line)
        return line


def passwords(urls: Iterable[str]) -> list[str]:
    """The passwords inside addresses such as postgresql://name:password@host/."""
    return [password for url in urls if url and (password := urlsplit(url).password)]
