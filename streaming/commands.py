"""What each command does, whichever door it came through: socket or POST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User

from conversations.models import Conversation, Exchange, Message
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
    if getattr(command, "attachments", None):
        raise Refused("invalid", "Attachments are not supported.")
    here = process.start()
    done = await here.command(handler, command, conversation, user)
    if isinstance(done, Message):
        here.runner.stop_reply(done.pk)
    if not isinstance(done, Exchange):
        return events.command_done(command)
    message = None if done.message is None else done.message.pk
    return events.command_done(command, message, done.reply.pk)


def _send_message(command: events.SendMessage, conversation: Conversation, user: User) -> Exchange:
    return conversation.post(user, command.text, command.client_id, parent=command.parent, model=command.model or "")


def _edit_message(command: events.EditMessage, conversation: Conversation, user: User) -> Exchange:
    return conversation.edit(user, command.message, command.client_id, command.text)


def _retry_reply(command: events.RetryReply, conversation: Conversation, user: User) -> Exchange:
    return conversation.retry(user, command.reply, command.client_id, command.model or "")


def _continue_reply(command: events.ContinueReply, conversation: Conversation, user: User) -> Exchange:
    return conversation.continue_reply(user, command.reply, command.client_id)


def _stop_reply(command: events.StopReply, conversation: Conversation, user: User) -> Message | None:
    reply = conversation.reply_to_stop(user, command.reply)
    if reply is not None:
        request_stop(reply.pk)
    return reply


def _select_branch(command: events.SelectBranch, conversation: Conversation, user: User) -> None:
    conversation.select_branch(user, command.message)


def _delete_branch(command: events.DeleteBranch, conversation: Conversation, user: User) -> None:
    conversation.delete_branch(user, command.message)


def _rename(command: events.RenameConversation, conversation: Conversation, user: User) -> None:
    conversation.rename(user, command.title)


def _change_settings(command: events.ChangeSettings, conversation: Conversation, user: User) -> None:
    conversation.change_settings(user, command.system_prompt, command.parameters)


def _keep(command: events.KeepConversation, conversation: Conversation, user: User) -> None:
    conversation.keep(user)


HANDLERS: dict[
    type[events.Command],
    Callable[[Any, Conversation, User], Exchange | Message | None],
] = {
    events.SendMessage: _send_message,
    events.EditMessage: _edit_message,
    events.RetryReply: _retry_reply,
    events.ContinueReply: _continue_reply,
    events.StopReply: _stop_reply,
    events.SelectBranch: _select_branch,
    events.DeleteBranch: _delete_branch,
    events.RenameConversation: _rename,
    events.ChangeSettings: _change_settings,
    events.KeepConversation: _keep,
}
