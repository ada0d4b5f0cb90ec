"""What has to be known in order to ask for a reply, read under its lease."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error, models, transaction

from conversations.models import (
    CONVERSATION_LOCK,
    Change,
    Conversation,
    Message,
    TitleFrom,
    grown_texts,
    record_change,
)
from conversations.prepared import Parameter, Select, parameter

from . import catalogue, leases
from .endpoint import Endpoint
from .models import Run
from .prompt import BYTES_PER_TOKEN, Prompt, Turn, build_prompt, shorter_budget
from .refusals import Refusal
from .remedies import USUAL, Dialect
from .reply import Reply

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
    parameters: dict[str, Any] = field(default_factory=dict)
    #: What is asked, as far as the branch was read.
    question: str = ""
    #: Is the title of the conversation still the one that was made of its first question?
    wants_title: bool = False

    @property
    def max_length(self) -> int:
        """The longest reply, in tokens: what people ask for, but no more than the site allows. 0 is the server's own."""
        limits = settings.CHAT.max_length, self.parameters.get("max_tokens", 0)
        return min(filter(None, limits), default=0)


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
    endpoints = [*(run.endpoints or catalogue.endpoints())]
    return Job(
        conversation.pk,
        reply.model,
        prefix,
        prompt,
        endpoints,
        fit,
        conversation.parameters or {},
        question=rows[-1][2] if rows else "",
        wants_title=conversation.title_from == TitleFrom.TEXT,
    )


@dataclass(frozen=True)
class Ready:
    """A reply that this process owns since it was queued, and what is known of it so far: all that is needed to ask for it
    at once, with the attempt counted, or less."""

    run: Run
    job: Job | None = None
    is_counted: bool = False


def begin(reply: Message, owner: str) -> None:
    """Own a reply from its birth, in the transaction that queues it. Where it is known whom to ask, that is written down
    with it and the attempt counted; what only a server can tell, the runner finds out."""
    endpoints: list[Endpoint] = []
    found = None
    try:
        endpoints = catalogue.endpoints()
        found = None if any(map(catalogue.is_unknown, endpoints)) else catalogue.find(reply.model, endpoints)
    except Error:
        raise
    except Exception:
        # A provider that only a hand in the database can have made. The reply says so; the question is kept.
        log.exception("who can be asked for reply %s is not known", reply.pk)
    Run.begin(reply, owner, found[0] if found else None).endpoints = endpoints
    if found:
        leases.name_asked(reply, *found)


def ready(reply: Message) -> Ready | None:
    """Return what there is to do for a reply that was just queued, read by whoever committed it; None where it is not owned
    here."""
    run = Run.begun_with(reply)
    if run is None:
        return None
    try:
        return Ready(run, load_job(run), run.attempts > 0)
    except Exception as error:
        # The database went away behind the commit, say. Nobody who is told of the commit may be held up by it.
        log.warning("reply %s is begun later: %r", reply.pk, error)
        return Ready(run, None, run.attempts > 0)


def shortened(job: Job, refusal: Refusal) -> Job | None:
    """Return the job with less of its conversation, as its refusal asks for; None where
    there is nothing left to leave out."""
    budget = shorter_budget(job.prompt.tokens, refusal.context_limit, refusal.counted_tokens, job.max_length)
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
        CONVERSATION_LOCK.take(pk=conversation_id)
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
    if job.max_length:
        request |= endpoint.length_limit(job.max_length, dialect.length)
    return request | dialect.known_of(job.parameters)
