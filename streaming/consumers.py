"""Sockets: thin, and never waiting for an answer.

A consumer is one tab. It parses a frame, has it carried out and says so; what happens
in the conversation reaches it through its reader, like everybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any, cast

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.contrib.auth.models import User
from django.db import Error

from conversations.models import Conversation
from conversations.refusals import Refused
from conversations.text import key_in

from . import events, process
from .bell import Bell
from .bookmark import Bookmark
from .commands import UNAVAILABLE, carry_out
from .cursors import Reader
from .events import Close
from .pace import Pace
from .rooms import Have

log = logging.getLogger(__name__)


class TabConsumer(AsyncWebsocketConsumer):
    """A signed-in socket with a reader of the hub: the part common to all of them."""

    # The process has the seat in the groups, see `hub`.
    channel_layer_alias = None  # type: ignore[assignment]
    user: User
    conversation: Conversation | None = None
    reader: Reader | None = None
    sender: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            # However it ended: an error in a handler calls no `disconnect`.
            self.leave()

    def leave(self) -> None:
        if self.sender is not None:
            self.sender.cancel()
        if self.reader is not None:
            self.hub.unseat(self.reader)

    async def dispatch(self, message: dict[str, Any]) -> None:
        # The stock dispatch visits the database thread for each frame, which costs
        # fifty times as much and lets a slow query of anybody hold it up.
        await getattr(self, message["type"].replace(".", "_"))(message)

    async def connect(self) -> None:
        await self.accept()
        try:
            await self.admit()
        except Error as error:
            log.warning("nobody is let in while the database is away: %s", error)
            if self.reader is None:
                await self.say_goodbye(Close.TRY_AGAIN)
            else:
                self.reader.close(Close.TRY_AGAIN)

    async def admit(self) -> None:
        self.user = cast(User, self.scope["user"])
        self.pace = Pace(settings.CHAT.frames_per_minute)
        if not events.is_spoken(self.scope["query_string"]):
            await self.close(Close.NOT_SPOKEN)
        elif not is_signed_in(self.scope["user"]):
            await self.close(Close.SIGNED_OUT)
        elif not await self.may_look():
            await self.close(Close.NOT_FOUND)
        else:
            await self.take_seat(process.start())

    async def may_look(self) -> bool:
        return True

    async def take_seat(self, here: process.Process) -> None:
        if here.is_stopping:
            await self.say_goodbye(Close.RESTART)
            return
        if here.hub.readers_of(self.user.pk) >= settings.CHAT.sockets_per_user:
            await self.close(Close.TOO_MANY, "5")
            return
        self.hub = here.hub
        self.woken = Bell()
        self.reader = Reader(
            self.woken.set,
            user_id=self.user.pk,
            session_key=self.scope["session"].session_key or "",
            max_unacked=settings.CHAT.buffer_bytes,
        )
        self.hub.seat(self.reader, self.conversation.pk if self.conversation else None)
        self.sender = asyncio.create_task(self.send_frames(), name="socket")
        await self.tell_first(self.reader)

    async def tell_first(self, reader: Reader) -> None:
        """Tell a new reader where things stand."""

    async def send_frames(self) -> None:
        assert self.reader is not None
        # A client that went away without a word shows in the next receive. uvicorn says
        # so by an OSError that is no ConnectionError.
        with contextlib.suppress(OSError, RuntimeError):
            async for frame in self.hub.frames(self.reader, self.woken):
                await self.send(text_data=frame)
            await self.say_goodbye(self.reader.close_code or Close.NOT_SPOKEN)

    async def say_goodbye(self, code: int) -> None:
        try:
            await self.close(code)
        except Exception:
            if code not in (Close.RESTART, Close.TRY_AGAIN):
                raise
            # The library under daphne lets an application say 1000 and 3000 to 4999
            # only; after either the client comes back.
            await self.close()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.reader is None or self.reader.close_code is not None:
            return
        frame = bytes_data if text_data is None else text_data
        assert frame is not None
        if len(frame) > settings.CHAT.frame_bytes or (
            # A character has up to four bytes; most frames need no counting.
            isinstance(frame, str)
            and len(frame) * 4 > settings.CHAT.frame_bytes
            and len(frame.encode("utf-8", "surrogatepass")) > settings.CHAT.frame_bytes
        ):
            self.reader.close(Close.TOO_LARGE)
        elif (wait := self.pace.seconds_to_wait(asyncio.get_running_loop().time())) > 0:
            await self.close(Close.TOO_MANY, f"{wait:.0f}")
        else:
            await self.receive_frame(self.reader, text_data)

    async def receive_frame(self, reader: Reader, frame: str | None) -> None:
        command = None
        try:
            if frame is None:
                raise events.BadCommand("bad_frame", "Frames are text, not binary.")
            command = events.parse_command(frame)
            answer = await self.answer(command, reader)
        except Refused as refused:
            answer = events.command_refused(refused, command)
        except Error:
            log.exception("a command was not carried out")
            answer = events.command_refused(UNAVAILABLE, command)
        if answer is not None:
            reader.tell(events.encode(answer))

    async def answer(self, command: events.Command, reader: Reader) -> dict[str, Any] | None:
        """Return the answer to a command, or None where it has none."""
        if isinstance(command, events.Ping):
            return events.pong(command)
        if isinstance(command, events.Ack):
            if not reader.receive_ack(command.frames):
                raise Refused("invalid", "More frames than were sent cannot be taken in.")
            return None
        raise Refused("invalid", "This socket shows no conversation.")

    async def websocket_disconnect(self, message: Any) -> None:
        raise StopConsumer


class NowhereConsumer(TabConsumer):
    """Any other address."""

    async def may_look(self) -> bool:
        return False


class MeConsumer(TabConsumer):
    """The user's sidebar alone: a page that shows no conversation."""


class ConversationConsumer(TabConsumer):
    """One tab that shows one conversation: commands in, events out."""

    async def may_look(self) -> bool:
        pk = self.scope["url_route"]["kwargs"]["pk"]
        visible = Conversation.objects.visible_to(self.user)
        # Commands load what they have to know under their lock; nothing else is kept for as long as the socket lives.
        self.conversation = await visible.filter(pk=pk).only("pk").afirst()
        return self.conversation is not None

    async def tell_first(self, reader: Reader) -> None:
        held = Bookmark.in_query(self.scope["query_string"])
        reader.ask(held.version if held else None)
        if held:
            reader.ask_for(places_in(held.replies))

    async def answer(self, command: events.Command, reader: Reader) -> dict[str, Any] | None:
        if isinstance(command, events.Sync):
            self.sync(command, reader)
            return None
        if type(command) in (events.Ping, events.Ack):
            return await super().answer(command, reader)
        assert self.conversation is not None
        return await carry_out(command, self.conversation, self.user)

    def sync(self, command: events.Sync, reader: Reader) -> None:
        """Have all sent that came after the positions a tab names. From the store: it does
        not matter what was lost, nor which process is asked."""
        if command.version is not None or not command.replies:
            reader.ask(command.version)
        if not reader.ask_for(places_in(command.replies)):
            raise Refused("too_fast", "Too many replies are asked for at once.", retry_after=1)


def places_in(replies: Mapping[str, events.Have]) -> dict[int, Have]:
    """Return where somebody stands in these replies, by their keys."""
    keys = {key_in(pk): have for pk, have in replies.items()}
    return {key: {"text": have.text, "reasoning": have.reasoning} for key, have in keys.items() if key is not None}


def is_signed_in(user: Any) -> bool:
    return bool(user and user.is_authenticated and user.is_active)
