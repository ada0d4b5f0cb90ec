"""The words on the wire: commands in, events out, hints between processes. Pure.

`docs/protocol.md` is the contract; the names here are its names.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec

from conversations.refusals import Refused

#: What a page may say that it speaks, in `?protocol=`.
PROTOCOLS = frozenset({"1"})


def parameters(query: bytes) -> dict[str, str]:
    """Return what stands behind the `?` of an address."""
    try:
        return dict(parse_qsl(query.decode("latin1"), max_num_fields=20))
    except ValueError:
        return {}


def is_spoken(query: bytes) -> bool:
    """Do we speak what a page says that it speaks? Whoever says nothing reads the words."""
    said = parameters(query).get("protocol")
    return said is None or said in PROTOCOLS


# Groups of the channel layer, and the hints that travel in them.


def conversation_group(pk: object) -> str:
    return f"conversation.{pk}"


def user_group(pk: object) -> str:
    return f"user.{pk}"


#: Every process that runs replies listens here.
PROCESSES_GROUP = "processes"


class Hint:
    """Types of the messages between processes. Each may be lost, doubled or late."""

    GAIN = "reply.gain"  # conversation, reply, part, start, text
    WAITING = "reply.waiting"  # conversation, reply, reason, until
    VERSION = "conversation.version"  # conversation, version
    REMOVED = "conversation.removed"  # conversation
    SIDEBAR = "user.sidebar"  # user, conversation, gone
    FEEDBACK = "user.feedback"  # user, conversation, frame
    ACCESS = "user.access"  # user
    STOP = "reply.stop"  # reply
    QUEUED = "reply.queued"  # reply


# Commands


#: Characters of a `ref`: it comes back in the answer, and an answer waits for nothing.
LONGEST_REF = 200


class Command(msgspec.Struct):
    ref: Annotated[str, msgspec.Meta(max_length=LONGEST_REF)] | int | None = None


class SendMessage(Command, kw_only=True):
    client_id: str
    text: str
    parent: str | None = None
    model: str | None = None
    attachments: list[Any] | None = None


class StopReply(Command, kw_only=True):
    reply: str


class RetryReply(Command, kw_only=True):
    reply: str
    client_id: str
    model: str | None = None


class ContinueReply(Command, kw_only=True):
    reply: str
    client_id: str


class EditMessage(Command, kw_only=True):
    message: str
    client_id: str
    text: str


class SelectBranch(Command, kw_only=True):
    message: str


class DeleteBranch(Command, kw_only=True):
    message: str


class RenameConversation(Command, kw_only=True):
    title: str


class ChangeSettings(Command, kw_only=True):
    system_prompt: str | None = None
    parameters: dict[str, Any] = {}


class KeepConversation(Command):
    pass


class Have(msgspec.Struct):
    """Up to where a tab holds the two parts of a reply."""

    text: int = 0
    reasoning: int = 0


#: Replies in one `sync`: each may have to be read from the database, whole.
MOST_SYNCED = 100


class Sync(Command, kw_only=True):
    version: int | None = None
    replies: Annotated[dict[str, Have], msgspec.Meta(max_length=MOST_SYNCED)] = {}


class Ack(Command, kw_only=True):
    frames: int


class Ping(Command):
    pass


COMMANDS: dict[str, type[Command]] = {
    "send_message": SendMessage,
    "stop_reply": StopReply,
    "retry_reply": RetryReply,
    "continue_reply": ContinueReply,
    "edit_message": EditMessage,
    "select_branch": SelectBranch,
    "delete_branch": DeleteBranch,
    "rename_conversation": RenameConversation,
    "change_settings": ChangeSettings,
    "keep_conversation": KeepConversation,
    "sync": Sync,
    "ack": Ack,
    "ping": Ping,
}


class BadCommand(Refused):
    """A frame that is no command we know. `facts` holds what of `ref` and `client_id`
    could be read, so that the refusal finds its way back to whoever waits for it."""


class _Envelope(msgspec.Struct):
    type: Any = None
    ref: Any = None
    client_id: Any = None


_envelope = msgspec.json.Decoder(_Envelope)
_commands = {name: msgspec.json.Decoder(kind) for name, kind in COMMANDS.items()}


def parse_command(frame: str | bytes) -> Command:
    """Return the command in a frame.

    Raises BadCommand: `bad_frame` for what is no JSON object with a type,
    `unknown_type`, or `invalid` for fields that are missing or of a wrong type.
    """
    try:
        envelope = _envelope.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadCommand("bad_frame", "A frame is a JSON object.") from error
    facts = _facts(envelope)
    if not isinstance(envelope.type, str):
        raise BadCommand("bad_frame", "A frame needs a type.", **facts)
    decoder = _commands.get(envelope.type)
    if decoder is None:
        name = envelope.type[:40]
        raise BadCommand("unknown_type", f"There is no command {name!r}.", **facts)
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError) as error:
        # msgspec names the field and the types, never the value.
        raise BadCommand("invalid", f"{envelope.type}: {error}", **facts) from error


def _facts(envelope: _Envelope) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if isinstance(envelope.ref, str | int):
        facts["ref"] = envelope.ref if isinstance(envelope.ref, int) else envelope.ref[:LONGEST_REF]
    if isinstance(envelope.client_id, str):
        facts["client_id"] = envelope.client_id[:64]
    return facts


class Close:
    """Close codes of a socket, and what the client then does: see the protocol."""

    NOT_SPOKEN = 4400
    SIGNED_OUT = 4401
    NOT_FOUND = 4404
    TOO_SLOW = 4408
    TOO_LARGE = 4413
    TOO_MANY = 4429
    RESTART = 1012
    TRY_AGAIN = 1013


# Events


class _Delta(msgspec.Struct, tag_field="type", tag="reply_delta"):
    reply: str
    part: str
    start: int
    end: int
    text: str


_encoder = msgspec.json.Encoder()


def encode(event: Any) -> str:
    """Return an event as the text of a frame."""
    return _encoder.encode(event).decode()


def reply_delta(reply: int, part: str, start: int, text: str) -> str:
    """Return the frame of a delta; `end` counts code points, as `start` does."""
    return encode(_Delta(str(reply), part, start, start + len(text), text))


def reply_waiting(reply: int, reason: str, until: str) -> str:
    return encode({"type": "reply_waiting", "reply": str(reply), "reason": reason, "until": until})


def feedback_changed(message: int, value: str | None) -> str:
    return encode({"type": "feedback_changed", "message": str(message), "value": value})


def command_done(command: Command, message: int | None = None, reply: int | None = None) -> dict[str, Any]:
    done: dict[str, Any] = {"type": "command_done", **_of(command)}
    if message is not None:
        done["message"] = str(message)
    if reply is not None:
        done["reply"] = str(reply)
    return done


def command_refused(refused: Refused, command: Command | None = None) -> dict[str, Any]:
    return {
        "type": "command_refused",
        **(_of(command) if command else {}),
        "code": refused.code,
        "detail": refused.detail,
        **refused.facts,
    }


def pong(command: Command) -> dict[str, Any]:
    return {"type": "pong", **_of(command)}


def bye(reason: str, after_ms: int | None, code: int | None = Close.RESTART) -> dict[str, Any]:
    """The connection ends: why, when to come back, and what a socket is closed with."""
    facts = {"after_ms": after_ms, "code": code}
    return {"type": "bye", "reason": reason, **{name: fact for name, fact in facts.items() if fact is not None}}


def _of(command: Command) -> dict[str, Any]:
    """What ties an answer to the command that it answers."""
    client_id = getattr(command, "client_id", None)
    # A longer one is refused, and its beginning is enough to find out by whom it was said.
    ties = {"ref": command.ref, "client_id": client_id and client_id[:64]}
    return {name: value for name, value in ties.items() if value is not None}
