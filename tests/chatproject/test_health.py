"""Whether a process can serve, as a load balancer hears it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import AsyncClient

from chatproject import health

pytestmark = pytest.mark.django_db


async def asked() -> tuple[int, dict[str, Any]]:
    response = await AsyncClient().get("/health/")
    answer: dict[str, Any] = response.json()
    return response.status_code, answer


async def away() -> None:
    raise ConnectionError("of which a stranger need not know")


async def test_a_process_that_has_all_it_needs_is_ok() -> None:
    assert await asked() == (200, {"status": "ok"})


@pytest.mark.parametrize("name", sorted(health.CHECKS.keys() - health.HINTS_ONLY))
async def test_a_process_that_cannot_serve_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, name, away)
    assert await asked() == (503, {"status": "unavailable", "reasons": {name: "ConnectionError"}})


async def test_a_process_without_hints_can_serve_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.CHECKS, "channel layer", away)
    assert await asked() == (200, {"status": "degraded", "reasons": {"channel layer": "ConnectionError"}})
