"""From what was committed to those who look at it: signals to the hub and the runner.

Receivers run in whatever thread has committed. They read there what a listener needs
of the commit, and hand it over to the loop; nothing they do waits for anybody. In a process without a loop (a management command) nobody listens; the serving
processes look at the database every second and find what it has done.
"""

from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from conversations import signals
from conversations.models import Change, Membership, Message

from . import jobs, leases, process, readings
from .models import Run


def connect() -> None:
    signals.changed.connect(_changed)
    signals.queueing.connect(_queueing)
    signals.reply_queued.connect(_reply_queued)
    signals.deleting.connect(_deleting)
    signals.removing.connect(_removing)
    signals.removed.connect(_removed)
    signals.shelved.connect(_shelved)
    signals.judged.connect(_judged)
    signals.access_changed.connect(_access_changed)
    post_save.connect(_user_saved, sender=get_user_model())
    post_delete.connect(_user_deleted, sender=get_user_model())
    post_delete.connect(_session_deleted, sender=Session)
    post_save.connect(_membership_touched, sender=Membership)
    post_delete.connect(_membership_touched, sender=Membership)


def _changed(conversation_id: Any, version: int, changes: list[Change], **kwargs: Any) -> None:
    pk = str(conversation_id)
    if here := process.current():
        news = readings.news_of(changes) if here.hub.is_watched(pk) else None
        here.soon(here.hub.conversation_changed, pk, version, news)


def _queueing(reply: Message, **kwargs: Any) -> None:
    """Whoever takes the question runs the reply: its lease is part of what is committed."""
    here = process.current()
    if here and here.runner.takes_new:
        jobs.begin(reply, here.name)


def _reply_queued(reply: Message, **kwargs: Any) -> None:
    if here := process.current():
        here.soon(here.runner.reply_queued, reply.pk, jobs.ready(reply))


def _deleting(conversation_id: Any, **kwargs: Any) -> None:
    """Nobody can read on: what is being written is stopped, and what was said is kept for whoever takes the deletion back."""
    for pk in Message.objects.running().filter(conversation_id=conversation_id).values_list("pk", flat=True):
        leases.request_stop(pk)
        transaction.on_commit(partial(_stop, pk))


def _stop(reply_id: int) -> None:
    if here := process.current():
        here.soon(here.runner.stop_reply, reply_id)


def _removing(conversation_id: Any, **kwargs: Any) -> None:
    # A piece that was stored between the deletion of the pieces and that of their
    # message would break the deletion. Without its lease nothing is stored.
    Run.objects.filter(reply__conversation_id=conversation_id).delete()


def _removed(conversation_id: Any, user_ids: list[int], **kwargs: Any) -> None:
    if here := process.current():
        here.soon(here.hub.conversation_removed, str(conversation_id), user_ids)


def _shelved(conversation_id: Any, **kwargs: Any) -> None:
    if here := process.current():
        here.soon(here.hub.sidebar_changed, str(conversation_id))


def _judged(conversation_id: Any, message_id: int, user_id: int, value: str | None, **kwargs: Any) -> None:
    if here := process.current():
        here.soon(here.hub.feedback_changed, str(conversation_id), user_id, message_id, value)


def _access_changed(user_id: int, **kwargs: Any) -> None:
    if here := process.current():
        here.soon(here.hub.access_changed, user_id)


def _after_commit(user_id: int) -> None:
    # Django sends these in the middle of the transaction: looking anew before its end
    # would find what was there before.
    transaction.on_commit(partial(_access_changed, user_id))


def _user_saved(instance: Any, created: bool, update_fields: Any, **kwargs: Any) -> None:
    # Signing in writes the date of it, which changes nobody's rights.
    if not created and set(update_fields or ()) != {"last_login"}:
        _after_commit(instance.pk)


def _user_deleted(instance: Any, **kwargs: Any) -> None:
    _after_commit(instance.pk)


def _session_deleted(instance: Session, **kwargs: Any) -> None:
    """Somebody signed out, here or from afar."""
    user_id = instance.get_decoded().get("_auth_user_id")
    if user_id is not None:
        _after_commit(int(user_id))


def _membership_touched(instance: Membership, **kwargs: Any) -> None:
    if not kwargs.get("created"):
        _after_commit(instance.user_id)
