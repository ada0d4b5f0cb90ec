"""Which replies a process runs: those that come to it, and those that it finds nobody runs."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

#: A web process leaves a reply that was just queued to the one that took the question.
SECONDS_TO_START = 2.0
#: Where workers run the replies, a web process leaves it to them for so long; then it helps
#: out. Nobody waits for ever because no worker is there.
SECONDS_FOR_WORKERS = 5.0


@dataclass(frozen=True)
class Duty:
    """`takes_new`: it begins what it hears of. What it finds is left to others for a while:
    for `new_after` seconds what nobody has begun, for `other_after` what was given back or
    lost its owner before it spoke. What has spoken is ended at once, by whoever sees it."""

    takes_new: bool
    new_after: float
    other_after: float


WEB = Duty(takes_new=True, new_after=SECONDS_TO_START, other_after=0.0)
WEB_WITH_WORKERS = Duty(takes_new=False, new_after=SECONDS_FOR_WORKERS, other_after=SECONDS_FOR_WORKERS)
WORKER = Duty(takes_new=True, new_after=0.0, other_after=0.0)


def of_web() -> Duty:
    return WEB_WITH_WORKERS if settings.CHAT.replies_in == "workers" else WEB
