"""The life of a reply, as a table."""

import itertools

import pytest

from conversations.status import RUNNING, TRANSITIONS, ForbiddenTransition, Status, moved

ALLOWED = {
    ("queued", "streaming"),
    ("queued", "stopped"),
    ("queued", "failed"),
    ("streaming", "done"),
    ("streaming", "stopped"),
    ("streaming", "interrupted"),
    ("streaming", "failed"),
}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(Status, Status)))
def test_a_reply_goes_only_where_the_table_has_a_way(old: Status, new: Status) -> None:
    if (old, new) in ALLOWED:
        assert moved(old, new) is new
    else:
        with pytest.raises(ForbiddenTransition):
            moved(old, new)


def test_the_table_knows_every_status() -> None:
    assert TRANSITIONS.keys() == set(Status)


def test_what_does_not_run_is_terminal() -> None:
    assert {status for status in Status if not status.is_terminal} == set(RUNNING)


def test_every_status_is_one_of_the_words_on_the_wire() -> None:
    assert [str(status) for status in Status] == ["queued", "streaming", "done", "stopped", "interrupted", "failed"]
