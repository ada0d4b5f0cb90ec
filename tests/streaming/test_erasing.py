"""A conversation is deleted while somebody is at work in it: the deletion succeeds, and nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.signals import pre_delete
from django.db.utils import IntegrityError

from conversations.models import Conversation, Membership, Message, Piece
from conversations.status import Status
from streaming import leases
from streaming.models import Run
from streaming.reply import Ending, Gain, Reply
from streaming.store import Writer, end_reply, insert_gains

pytestmark = pytest.mark.django_db(transaction=True)

#: Who is held up by the deletion is not back by then; who is not held up, is.
HELD_UP_SECONDS = 1.0


@pytest.fixture
def reply(conversation: Conversation, alice: User) -> Message:
    return conversation.post(alice, "Hello", "a1").reply


def claimed(reply: Message, name: str = "here") -> Run:
    run = leases.claim(reply.pk, name)
    assert run is not None
    return run


class Meanwhile:
    """Does something on another thread when all that is to be deleted has been found, and none of it is deleted."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Any = None
        self.thread = threading.Thread(target=self.run)

    def run(self) -> None:
        try:
            self.result = self.work()
        except IntegrityError as error:
            self.result = error
        finally:
            connection.close()

    def begin(self, sender: Any, **kwargs: Any) -> None:
        self.thread.start()
        self.thread.join(HELD_UP_SECONDS)

    def __enter__(self) -> Meanwhile:
        pre_delete.connect(self.begin, sender=Conversation)
        return self

    def __exit__(self, *exc: object) -> None:
        pre_delete.disconnect(self.begin, sender=Conversation)
        self.thread.join(30)


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    yield
    assert [model.objects.count() for model in (Conversation, Message, Run, Piece, Membership)] == [0] * 5


@pytest.mark.usefixtures("nothing_is_left")
class TestWhileItIsDeleted:
    def test_a_reply_is_claimed(self, conversation: Conversation, alice: User, reply: Message) -> None:
        with Meanwhile(lambda: leases.claim(reply.pk, "here")) as claiming:
            conversation.erase()
        assert claiming.result is None

    def test_a_reply_that_nobody_has_begun_is_stopped(
        self, conversation: Conversation, alice: User, reply: Message
    ) -> None:
        with Meanwhile(lambda: leases.request_stop(reply.pk)):
            conversation.erase()

    def test_a_reply_gains(self, conversation: Conversation, alice: User, reply: Message) -> None:
        writer = Writer(claimed(reply), conversation.pk, Reply(), on_lost=lambda: None)
        with Meanwhile(lambda: insert_gains([(writer, [Gain("text", 0, "Hello")])])) as storing:
            conversation.erase()
        assert storing.result == {reply.pk}

    def test_a_reply_ends(self, conversation: Conversation, alice: User, reply: Message) -> None:
        run = claimed(reply)
        texts = {"text": "Hello", "reasoning": ""}
        with Meanwhile(lambda: end_reply(run, conversation.pk, texts, Ending(Status.DONE, "stop"))) as ending:
            conversation.erase()
        assert ending.result is False

    def test_somebody_is_invited(self, conversation: Conversation, alice: User, bob: User) -> None:
        with Meanwhile(lambda: Membership.objects.create(conversation=conversation, user=bob)) as inviting:
            conversation.erase()
        assert isinstance(inviting.result, IntegrityError)

    def test_somebody_asks(self, conversation: Conversation, alice: User, reply: Message) -> None:
        other = Conversation.objects.get(pk=conversation.pk)
        refused: list[str] = []

        def ask() -> None:
            try:
                other.post(alice, "And now?", "a2")
            except Exception as error:
                refused.append(getattr(error, "code", repr(error)))

        end_reply(claimed(reply), conversation.pk, {"text": "", "reasoning": ""}, Ending(Status.FAILED))
        with Meanwhile(ask):
            conversation.erase()
        assert refused == ["not_found"]
