"""What has to be known in order to ask for a reply, read under its lease."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import models, transaction

from conversations.locks import lock
from conversations.models import Change, Conversation, Message, grown_texts, record_change
from conversations.prepared import Parameter, Select, parameter

from . import catalogue, leases
from .models import Run
from .prompt import BYTES_PER_TOKEN, Prompt, Turn, build_prompt, shorter_budget
from .refusals import Refusal
from .remedies import USUAL, Dialect
from .reply import Reply
from .upstream import Endpoint

log = logging.getLogger(__name__)

#: Messages that are looked at for a context; the budget of tokens ends it before.
LONGEST_CONTEXT = 400


BRANCH = Select(
    lambda: Message.objects.path_to(
        parameter(Message, "id", "leaf"),
        LONGEST_CONTEXT,
        Parameter("characters", models.IntegerField()),
        parts=["text"],
    ).values_list("pk", "role", "text", "parent_id")
)


@dataclass(frozen=True)
class Job:
    """What has to be known in order to ask for a reply. `fit` makes a prompt of the same
    conversation that has so many tokens."""

    conversation_id: UUID
    model: str
    prefix: str
    prompt: Prompt
    endpoints: list[Endpoint]
    fit: Callable[[int], Prompt]


def load_job(run: Run) -> Job:
    reply = run.reply
    is_new = Message.conversation.is_cached(reply)
    conversation = reply.conversation if is_new else Conversation.objects.get(pk=reply.conversation_id)
    # What has so many characters is worth more than the budget.
    characters = settings.CHAT.context_tokens * BYTES_PER_TOKEN
    rows = BRANCH.rows(leaf=reply.parent_id, characters=characters)
    turns = [Turn(pk, role, text) for pk, role, text, _ in rows]
    complete = not rows or rows[0][3] is None
    prefix = reply.prefix if is_new else str(load_reply(run).said["text"])
    system = conversation.system_prompt or settings.CHAT.system_prompt
    fit = partial(build_prompt, turns, system=system, prefix=prefix, complete=complete)
    prompt = fit(settings.CHAT.context_tokens)
    if prompt.sight is not None:
        note_sight(run, prompt.sight)
    return Job(conversation.pk, reply.model, prefix, prompt, catalogue.endpoints(), fit)


@dataclass(frozen=True)
class Ready:
    """A reply that this process owns since it was queued, and what is known of it so far: all that is needed to ask for it
    at once, with the attempt counted, or less."""

    run: Run
    job: Job | None = None
    is_counted: bool = False


def ready(reply: Message) -> Ready | None:
    """Return what there is to do for a reply that was just queued, read by whoever committed it; None where it is not owned
    here. What cannot be known without asking a server, or just now, the runner finds out."""
    run = Run.begun_with(reply)
    if run is None:
        return None
    job = None
    try:
        job = load_job(run)
        found = None if any(map(catalogue.is_unknown, job.endpoints)) else catalogue.find(job.model, job.endpoints)
        return Ready(run, job, found is not None and leases.count_attempt(run, *found))
    except Exception as error:
        # The database went away behind the commit, say. Nobody who is told of the commit may be held up by it.
        log.warning("reply %s is begun later: %r", reply.pk, error)
        return Ready(run, job)


def shortened(job: Job, refusal: Refusal) -> Job | None:
    """Return the job with less of its conversation, as its refusal asks for; None where
    there is nothing left to leave out."""
    budget = shorter_budget(job.prompt.tokens, refusal.context_limit, refusal.counted_tokens, settings.CHAT.max_length)
    prompt = job.fit(budget)
    return replace(job, prompt=prompt) if len(prompt.messages) < len(job.prompt.messages) else None


def load_reply(run: Run) -> Reply:
    """Return a reply as far as it is stored."""
    texts = grown_texts([run.reply_id])[run.reply_id]
    reply = Reply()
    reply.begin()
    reply.said["text"].append(texts["text"])
    reply.said["reasoning"].append(texts["reasoning"])
    return reply


def note_sight(run: Run, sight: int) -> None:
    """The model is not shown the whole branch: let everybody see from where on."""
    conversation_id = run.reply.conversation_id
    with transaction.atomic():
        # Who takes two locks takes that of the conversation first, here as elsewhere.
        lock(Conversation.objects.filter(pk=conversation_id))
        changed = Message.objects.running().filter(run__in=run.mine())
        if changed.update(sight_id=sight):
            record_change(
                conversation_id,
                Change.Kind.MESSAGE_CHANGED,
                message_id=run.reply_id,
            )


def request_for(job: Job, endpoint: Endpoint, model: str, dialect: Dialect = USUAL) -> dict[str, Any]:
    """Return the body of the POST, without `stream`."""
    request: dict[str, Any] = {"model": model, "messages": job.prompt.messages}
    if dialect.tells_usage:
        request["stream_options"] = {"include_usage": True}
    if settings.CHAT.max_length:
        request |= endpoint.length_limit(settings.CHAT.max_length, dialect.length)
    return request
