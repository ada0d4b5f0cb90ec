"""What is loaded before the first page, and what is not."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chatproject.config import BASE_DIR

#: By what needs them: the models, `runserver`, no page at all.
LATER = {"openai", "aiohttp", "httpx2", "twisted", "autobahn", "playwright", "picows"}


def loaded(*words: str) -> set[str]:
    """The packages that are there when the application is, in a process that was started with these words."""
    script = "import sys, chatproject.asgi; print(*{name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=BASE_DIR, capture_output=True, text=True, check=True
    )
    return set(told.stdout.split())


@pytest.mark.once
def test_what_a_page_does_not_need_is_not_waited_for() -> None:
    assert not loaded() & LATER


@pytest.mark.once
def test_twisted_is_there_for_runserver() -> None:
    assert loaded("runserver") & LATER == {"twisted", "autobahn"}
