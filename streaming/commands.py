"""What each command does, whichever door it came through: socket or POST."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from channels.db import database_sync_to_async
from django.contrib.auth.models import User

from conversations.models import Conversation, Exchange
from conversations.refusals import Refused

from . import events, process
from .leases import request_stop

Answer = dict[str, Any]

UNAVAILABLE = Refused("unavailable", "The database is not there just now. Try again.")


async def carry_out(command: events.Command, conversation: Conversation, user: User) -> Answer:
    """Do what a command says and return its answer, once that is committed.

    Raises Refused; then nothing has changed.
    """
    handler = HANDLERS.get(type(command))
    if handler is None:
        raise Refused("invalid", "This command belongs on a socket.")
    done = await handler(command, conversation, user)
    if done is None:
        return events.command_done(command)
    message = None if done.message is None else done.message.pk
    return events.command_done(command, message, done.reply.pk)


async def _send_message(command: events.SendMessage, conversation: Conversation, user: User) -> Exchange:
    if command.attachments:
        raise Refused("invalid", "Attachments are not supported.")
    return await conversation.apost(
        user,
        command.text,
        command.client_id,
        parent=command.parent,
        model=command.model or "",
    )


async def _edit_message(command: events.EditMessage, conversation: Conversation, user: User) -> Exchange:
    return await conversation.aedit(user, command.message, command.client_id, command.text)


async def _retry_reply(command: events.RetryReply, conversation: Conversation, user: User) -> Exchange:
    return await conversation.aretry(user, command.reply, command.client_id, command.model or "")


async def _continue_reply(command: events.ContinueReply, conversation: Conversation, user: User) -> Exchange:
    return await conversation.acontinue_reply(user, command.reply, command.client_id)


async def _stop_reply(command: events.StopReply, conversation: Conversation, user: User) -> None:
    reply = await conversation.areply_to_stop(user, command.reply)
    if reply is not None:
        await database_sync_to_async(request_stop)(reply.pk)
        process.start().runner.stop_reply(reply.pk)


async def _select_branch(command: events.SelectBranch, conversation: Conversation, user: User) -> None:
    await conversation.aselect_branch(user, command.message)


async def _rename(command: events.RenameConversation, conversation: Conversation, user: User) -> None:
    await conversation.arename(user, command.title)


HANDLERS: dict[
    type[events.Command],
    Callable[[Any, Conversation, User], Awaitable[Exchange | None]],
] = {
    events.SendMessage: _send_message,
    events.EditMessage: _edit_message,
    events.RetryReply: _retry_reply,
    events.ContinueReply: _continue_reply,
    events.StopReply: _stop_reply,
    events.SelectBranch: _select_branch,
    events.RenameConversation: _rename,
}
