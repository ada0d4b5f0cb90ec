"""How somebody who waits is woken."""

from __future__ import annotations

import asyncio

import pytest

from streaming.bell import Bell


async def test_what_was_rung_before_is_heard_at_once() -> None:
    bell = Bell()
    bell.set()
    await asyncio.wait_for(bell.wait(), 5)
    await asyncio.wait_for(bell.wait(), 5)  # until it is cleared


async def test_who_waits_is_woken_once_it_rings_and_not_before() -> None:
    bell = Bell()
    bell.set()
    bell.clear()
    waiting = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    bell.set()
    bell.set()
    bell.clear()  # before the one who waits has come to himself
    await asyncio.wait_for(waiting, 5)


async def test_who_gives_up_waiting_can_wait_again() -> None:
    bell = Bell()
    waiting = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    bell.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.wait_for(bell.wait(), 5)
