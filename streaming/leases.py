"""Leases on replies, as rows: taking, keeping, using and giving back.

Each write is conditional on the lease that it is made under. These run on database
threads.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Now

from conversations.models import Message
from conversations.prepared import Update, parameter
from conversations.status import Status

from . import owners
from .duty import WEB, Duty
from .endpoint import Endpoint
from .models import LEASE, Run, lease_end

#: A database that takes longer than this to answer has kept others waiting as well.
SLOW_SECONDS = 0.5
#: Between the commit of a question and the task for its reply, at the most: SQLite's lock is waited for in between.
SECONDS_TO_BEGIN = 3.0


class WaitedTooLong(Exception):
    """The database has kept a claim waiting, and the owner's renewal with it."""


def claim(reply_id: int, name: str) -> Run | None:
    """Take the lease on a reply that nobody runs. A process asks only for what it does
    not run itself, so a lease in its own name is one whose task has broken off.

    Raises WaitedTooLong where the owner could not renew its lease. It may do so now; if
    it does not, the reply is claimed a moment later.
    """
    began = time.monotonic()
    with transaction.atomic():
        run = Run.claim(reply_id, name, [name, *dead_owners(name)])
        if run and run.epoch > 1 and time.monotonic() - began > SLOW_SECONDS:
            raise WaitedTooLong
    # The status is read under the lease: from here on nobody else changes it.
    return Run.objects.select_related("reply").filter(pk=run.pk).first() if run else None


def dead_owners(name: str) -> list[str]:
    others = Run.objects.unended().exclude(owner__in=["", name])
    names = others.values_list("owner", flat=True).distinct()
    return [owner for owner in names if owners.is_dead(owner)]


def load_unowned(name: str, here: Collection[int] = (), duty: Duty = WEB, *, also_lapsed: bool = True) -> list[int]:
    """Return the running replies that nobody runs, `here` being those that this process
    does, as far as `duty` does not leave them to others for now. Those whose owner is not
    known to be dead, but has let its lease run out, are among them only where that is
    wanted."""
    dead = [name, *dead_owners(name)]
    # What was taken here a moment ago, with its question, may be on its way to whoever runs it.
    young = Now() + timedelta(seconds=settings.CHAT.lease_seconds - SECONDS_TO_BEGIN)
    free = Run.objects.unowned(dead).exclude(owner=name, reply_id__in=here).exclude(owner=name, lease_until__gt=young)
    if not also_lapsed:
        free = free.filter(owner__in=["", *dead])
    if duty.other_after:
        # How long nobody has had it tells the end of its lease; where there was none, its age.
        free = free.annotate(since=Coalesce("lease_until", "reply__created_at"))
        long_since = Q(since__lt=Now() - timedelta(seconds=duty.other_after))
        free = free.filter(long_since | Q(stop_requested=True) | Q(reply__status=Status.STREAMING))
    running = Message.objects.running().values_list("pk", flat=True)
    # Two queries in one, and no plain `created_at`: else SQLite looks at all that was ever said before.
    unowned = running.filter(pk__in=free.values("reply_id"))
    unclaimed = running.filter(run=None).annotate(since=Coalesce("run__lease_until", "created_at")).values_list("pk")
    lost = unclaimed.filter(since__lt=Now() - timedelta(seconds=duty.new_after))
    return list(unowned.union(lost)[:100])


def renew_leases(name: str, replies: list[int]) -> dict[int, tuple[int, bool]]:
    """Renew the leases of these replies, as far as this process still owns them; return
    `{reply: (epoch, stop requested)}`."""
    mine = Run.objects.owned_by(name).filter(pk__in=replies)
    mine.update(lease_until=lease_end())
    rows = mine.values_list("reply_id", "epoch", "stop_requested")
    return {reply_id: (epoch, stop) for reply_id, epoch, stop in rows}


def request_stop(reply_id: int) -> None:
    """Write down that a reply is to end. Where nobody has begun it, it ends here."""
    if Run.ensure(reply_id):
        Run.objects.unended().filter(pk=reply_id).update(stop_requested=True)


ATTEMPT = Update(
    lambda: Run.objects.under(LEASE),
    attempts=parameter(Run, "attempts"),
    waiting_until=None,
    provider=parameter(Run, "provider"),
    api_key=parameter(Run, "api_key"),
)
ASKED_OF = Update(
    lambda: Message.objects.running().filter(pk=parameter(Message, "id", "pk")),
    model=parameter(Message, "model"),
    provider=parameter(Message, "provider"),
)


def count_attempt(run: Run, endpoint: Endpoint, model: str) -> bool:
    """Count a POST before it is made. False where the lease is lost."""
    with transaction.atomic():
        # Not F("attempts") + 1: what was committed without our hearing of it is done again.
        asked = {"attempts": run.attempts + 1, "provider": endpoint.provider_id, "api_key": endpoint.key_id}
        if not ATTEMPT.run(**run.lease, **asked):
            return False
        name_asked(run.reply, endpoint, model)
    run.attempts += 1
    return True


def name_asked(reply: Message, endpoint: Endpoint, model: str) -> None:
    """Write down with a reply who is asked for it."""
    reply.model, reply.provider = model[:200], endpoint.name[:200]
    ASKED_OF.run(pk=reply.pk, model=reply.model, provider=reply.provider)


def note_wait(run: Run, until: Any, reason: str) -> None:
    run.mine().update(waiting_until=until, waiting_reason=reason[:300])


def give_back(run: Run) -> None:
    """Nothing was said yet: let another process run it, at once."""
    run.mine().update(owner="", lease_until=Now())
