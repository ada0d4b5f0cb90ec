"""The life of a reply, as a table. Pure: rows and running replies both obey it."""

from enum import StrEnum


class Status(StrEnum):
    """Where a reply stands. A person's own message is always `done`."""

    QUEUED = "queued"
    STREAMING = "streaming"
    DONE = "done"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def is_terminal(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: dict[Status, frozenset[Status]] = {
    # A queued reply can be stopped, or fail, before its first byte; it cannot be
    # done or interrupted, because nothing of it was ever said.
    Status.QUEUED: frozenset({Status.STREAMING, Status.STOPPED, Status.FAILED}),
    Status.STREAMING: frozenset({Status.DONE, Status.STOPPED, Status.INTERRUPTED, Status.FAILED}),
    Status.DONE: frozenset(),
    Status.STOPPED: frozenset(),
    Status.INTERRUPTED: frozenset(),
    Status.FAILED: frozenset(),
}

RUNNING = (Status.QUEUED, Status.STREAMING)
#: Ended, and not as it should.
BROKEN = (Status.STOPPED, Status.INTERRUPTED, Status.FAILED)


class ForbiddenTransition(ValueError):
    """A reply was asked to go where the table has no way."""


def moved(old: Status, new: Status) -> Status:
    """Return `new` if the table allows the step from `old`.

    Raises ForbiddenTransition otherwise, also when nothing would change: a
    terminal state is reached once.
    """
    if new not in TRANSITIONS[old]:
        raise ForbiddenTransition(f"a reply cannot go from {old} to {new}")
    return new
