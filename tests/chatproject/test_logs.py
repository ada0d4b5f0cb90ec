"""Log lines show no secret."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatproject.logs import SafeFormatter, passwords

KEY = "sk-proj-abcdefghijklmnop0123456789"


def line(message: str, *args: object, secrets: tuple[str, ...] = (), error: Exception | None = None) -> str:
    exc_info = (type(error), error, None) if error else None
    record = logging.LogRecord("parley", logging.INFO, "here.py", 1, message, args, exc_info)
    return SafeFormatter("%(levelname)s %(message)s", secrets=secrets).format(record)


def test_an_ordinary_line_stays_as_it_is() -> None:
    assert line("Reply %s ended? Yes: 3 of 4.", 17) == "INFO Reply 17 ended? Yes: 3 of 4."


@pytest.mark.parametrize(
    "message",
    [
        f"GET /ws/?token={KEY} 200",
        f"Authorization: Bearer {KEY}",
        f"key {KEY} refused",
        f"postgresql://parley:{KEY}@db/parley is down",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(message: str) -> None:
    assert KEY not in line(message)


def test_a_query_string_is_taken_out_and_the_path_stays() -> None:
    assert line("HTTP GET /ws/me/?version=3&x=%s 101 [127.0.0.1]", "y") == "INFO HTTP GET /ws/me/?… 101 [127.0.0.1]"


def test_a_secret_of_the_installation_is_taken_out_of_a_traceback() -> None:
    assert "correct horse" not in line("failed", secrets=("correct horse",), error=ValueError("correct horse"))


@given(st.text(min_size=6, max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_a_secret_of_the_installation_never_appears_whatever_it_is(secret: str, before: str, after: str) -> None:
    shown = line("%s", f"{before}{secret}{after}", secrets=(secret,))
    assert secret not in shown or secret in "INFO [hidden] ?…"


def test_the_passwords_of_addresses_are_secrets() -> None:
    assert passwords(["postgresql://a:hunter2@h/d", "", "redis://h"]) == ["hunter2"]


@pytest.mark.parametrize("words", ["a-", "?a", "/?", "a?%", "://", "x://y:", "sk-", "bearer ", "basic\t\t"])
def test_a_long_line_of_anything_takes_no_time(words: str) -> None:
    """The path of a request is in such lines, and anybody may ask for a long one."""
    began = time.process_time()
    line("Not Found: /%s", words * (40_000 // len(words)))
    assert time.process_time() - began < 1
