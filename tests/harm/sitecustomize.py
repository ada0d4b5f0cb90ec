"""Harm to a program under test. Python imports it by itself where this folder is on its PYTHONPATH.

`HARM_CLOCK` is by how many seconds its clock is wrong; SIGUSR1 stops its event loop for `HARM_FREEZE` seconds.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime, timedelta

SHIFT = float(os.environ.get("HARM_CLOCK", "0"))


def freeze(number: int, frame: object) -> None:
    """On the main thread, as a long computation there would."""
    time.sleep(float(os.environ.get("HARM_FREEZE", "5")))


signal.signal(signal.SIGUSR1, freeze)

if SHIFT:
    from django.utils import timezone

    right_time, right_now = time.time, timezone.now

    def wrong_time() -> float:
        return right_time() + SHIFT

    def wrong_now() -> datetime:
        return right_now() + timedelta(seconds=SHIFT)

    time.time = wrong_time
    timezone.now = wrong_now
