"""The process's one seat in the groups of conversations, and its readers.

It joins the group of each conversation that somebody here looks at, holds the live ends
of the replies there, and wakes the readers who stand behind them. What it hears from
other processes are hints; what they leave out is read from the database, see
`catching_up`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import Error

from . import access, events, readings
from .bell import Bell
from .catching_up import CatchingUp
from .cursors import Reader
from .events import Close, Hint, conversation_group, user_group
from .layer import Layer
from .reply import Gain
from .rooms import LiveReply, Room
from .store import Writer
from .threads import DatabaseThreads

log = logging.getLogger(__name__)

#: Changes of one conversation within this time make one event of the sidebar.
SIDEBAR_REST = 0.05
#: How long a client is asked to stay away while a server restarts.
BYE_AFTER_MS = 500
#: How long a socket may take to hear it.
BYE_SECONDS = 1.0


class Hub:
    def __init__(self, layer: Layer, threads: DatabaseThreads) -> None:
        self._layer = layer
        self._threads = threads
        self._rooms: dict[str, Room] = {}
        self._users: dict[int, set[Reader]] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._own: dict[int, tuple[str, LiveReply]] = {}
        self._catching_up = CatchingUp(threads, self._rooms, self._own, self._do)
        self._sidebar_due: set[str] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    # Readers come and go

    def seat(self, reader: Reader, conversation_id: UUID | None) -> None:
        """Take in a reader. Of a conversation it is told nothing until it has been
        given a snapshot: first the hub, then the snapshot, then what came between."""
        readers = self._users.setdefault(reader.user_id, set())
        if not readers:
            self._layer.join(user_group(reader.user_id))
        readers.add(reader)
        self._all_gone.clear()
        if conversation_id is not None:
            reader.room = self._room(str(conversation_id))
            reader.room.readers.add(reader)

    def _room(self, pk: str) -> Room:
        if pk not in self._rooms:
            self._rooms[pk] = room = Room(pk)
            self._layer.join(conversation_group(pk))
            for conversation_id, live in self._own.values():
                if conversation_id == pk:
                    room.replies[live.pk] = live
        return self._rooms[pk]

    def unseat(self, reader: Reader) -> None:
        """Let a reader go, and leave the groups that nobody here needs any more."""
        readers = self._users.get(reader.user_id, set())
        readers.discard(reader)
        if not readers and self._users.pop(reader.user_id, None) is not None:
            self._layer.leave(user_group(reader.user_id))
        if not self._users:
            self._all_gone.set()
        room = reader.room
        if room is not None:
            room.readers.discard(reader)
            if not room.readers and self._rooms.pop(room.pk, None) is not None:
                self._catching_up.leave(room)
                self._layer.leave(conversation_group(room.pk))

    def readers_of(self, user_id: int) -> int:
        return len(self._users.get(user_id, ()))

    async def frames(self, reader: Reader, woken: Bell) -> AsyncIterator[str]:
        """Yield what a reader is to be sent, until it is closed. `woken` is the bell
        that `reader.wake` rings."""
        loop = asyncio.get_running_loop()
        help_on_its_way: asyncio.Task[None] | None = None
        while True:
            woken.clear()
            while (frame := reader.frame_to_send(loop.time())) is not None:
                yield frame
            if reader.close_code is not None:
                return
            # One thing at a time is read for a reader.
            if (help_on_its_way is None or help_on_its_way.done()) and (need := reader.to_read()):
                help_on_its_way = self._do(self._catching_up.help(reader, need))
            await woken.wait()

    # Replies of this process

    def begin(self, writer: Writer) -> None:
        """A reply begins to run here: its live end is the runner's own."""
        pk = writer.run.reply_id
        live = LiveReply(pk, writer.reply.said, writer.reply.stored)
        self._own[pk] = (str(writer.conversation_id), live)
        room = self._rooms.get(str(writer.conversation_id))
        if room is not None:
            room.replies[pk] = live

    def end(self, reply_id: int) -> None:
        """A reply has left this process. Readers keep what they still need of it; and
        should it go on elsewhere, what was shown here is mirrored from now on."""
        _, live = self._own.pop(reply_id, ("", None))
        if live is not None:
            live.become_mirror()

    def publish(self, writer: Writer, gains: list[Gain]) -> None:
        """These gains are stored: show them, here and to the other processes' hubs."""
        pk = str(writer.conversation_id)
        if room := self._rooms.get(pk):
            room.wake()
        if not self._layer.reaches_others:
            return
        for gain in gains:
            self._layer.say(
                conversation_group(pk),
                {
                    "type": Hint.GAIN,
                    "conversation": pk,
                    "reply": writer.run.reply_id,
                    **gain._asdict(),
                },
            )

    def waiting(self, conversation_id: Any, reply: int, reason: str, until: str) -> None:
        """A reply waits for its next try: tell everybody who looks."""
        hint = {
            "type": Hint.WAITING,
            "conversation": str(conversation_id),
            "reply": reply,
            "reason": reason,
            "until": until,
        }
        self.receive_hint(hint)
        self._layer.say(conversation_group(conversation_id), hint)

    def say_to_processes(self, hint: dict[str, Any]) -> None:
        """Tell all processes that run replies."""
        self._layer.say(events.PROCESSES_GROUP, hint)

    # Hints, of this process and of others

    def receive_hint(self, hint: dict[str, Any]) -> None:
        handler = self._HANDLERS.get(hint.get("type", ""))
        if handler is not None:
            handler(self, hint)

    def _gain(self, hint: dict[str, Any]) -> None:
        room = self._rooms.get(hint["conversation"])
        live = room.replies.get(hint["reply"]) if room else None
        if room is None or live is None or live.is_own:
            return
        if live.receive(hint["part"], hint["start"], hint["text"]):
            room.wake()
        else:
            self._catching_up.fill_gaps()

    def _waiting(self, hint: dict[str, Any]) -> None:
        if room := self._rooms.get(hint["conversation"]):
            frame = events.reply_waiting(hint["reply"], hint["reason"], hint["until"])
            for reader in room.readers:
                reader.tell_waiting(hint["reply"], frame)

    def _version(self, hint: dict[str, Any]) -> None:
        room = self._rooms.get(hint["conversation"])
        if room is not None and hint["version"] > room.version:
            self._do(self._catching_up.load(room, hint["version"]))

    def _removed(self, hint: dict[str, Any]) -> None:
        if room := self._rooms.get(hint["conversation"]):
            for reader in room.readers:
                reader.close(Close.NOT_FOUND)

    def _sidebar(self, hint: dict[str, Any]) -> None:
        for reader in self._users.get(hint["user"], ()):
            reader.tell_sidebar(hint["conversation"], hint["frame"])

    def _feedback(self, hint: dict[str, Any]) -> None:
        for reader in self._users.get(hint["user"], ()):
            if reader.room is not None and reader.room.pk == hint["conversation"]:
                reader.tell(hint["frame"])

    def _access(self, hint: dict[str, Any]) -> None:
        readers = list(self._users.get(hint["user"], ()))
        if readers:
            self._do(self._recheck(readers))

    _HANDLERS = {
        Hint.GAIN: _gain,
        Hint.WAITING: _waiting,
        Hint.VERSION: _version,
        Hint.REMOVED: _removed,
        Hint.SIDEBAR: _sidebar,
        Hint.FEEDBACK: _feedback,
        Hint.ACCESS: _access,
    }

    # What this process has committed

    def is_watched(self, pk: str) -> bool:
        """Does anybody here look at a conversation? May be asked in any thread."""
        return pk in self._rooms

    def conversation_changed(self, pk: str, version: int, news: readings.News | None = None) -> None:
        """Lasting events for those who look at it, a line in the sidebar of all. The `news` need not be read, where who
        committed them has them in memory."""
        hint = {"type": Hint.VERSION, "conversation": pk, "version": version}
        if news is None or not self._catching_up.take(pk, news):
            self._version(hint)
        self._layer.say(conversation_group(pk), hint)
        self.sidebar_changed(pk)

    def sidebar_changed(self, pk: str) -> None:
        """A line in the sidebar of all who are part of a conversation."""
        if pk not in self._sidebar_due:
            self._sidebar_due.add(pk)
            loop = asyncio.get_running_loop()
            loop.call_later(SIDEBAR_REST, self._do_sidebar, pk)

    def _do_sidebar(self, pk: str) -> None:
        self._sidebar_due.discard(pk)
        self._do(self._tell_sidebars(pk))

    async def _tell_sidebars(self, pk: str) -> None:
        room = self._rooms.get(pk)
        lookers = {reader.user_id for reader in room.readers} if room else ()
        for user_id, entry in await self._threads.run(readings.load_sidebar_entries, pk, lookers):
            frame = events.encode({"type": "sidebar_changed", "conversation": entry})
            self._tell_user(user_id, pk, frame)

    def conversation_removed(self, pk: str, user_ids: Iterable[int]) -> None:
        hint = {"type": Hint.REMOVED, "conversation": pk}
        self._removed(hint)
        self._layer.say(conversation_group(pk), hint)
        for user_id in user_ids:
            frame = events.encode({"type": "sidebar_changed", "removed": pk})
            self._tell_user(user_id, pk, frame)

    def _tell_user(self, user_id: int, pk: str, frame: str) -> None:
        hint = {"type": Hint.SIDEBAR, "user": user_id, "conversation": pk, "frame": frame}
        self._sidebar(hint)
        self._layer.say(user_group(user_id), hint)

    def feedback_changed(self, pk: str, user_id: int, message: int, value: str | None) -> None:
        """For all tabs of one person: what she thinks is told to nobody else."""
        frame = events.feedback_changed(message, value)
        hint = {"type": Hint.FEEDBACK, "user": user_id, "conversation": pk, "frame": frame}
        self._feedback(hint)
        self._layer.say(user_group(user_id), hint)

    def access_changed(self, user_id: int) -> None:
        hint = {"type": Hint.ACCESS, "user": user_id}
        self._access(hint)
        self._layer.say(user_group(user_id), hint)

    # Chores

    async def catch_up(self) -> None:
        """The safety net under the hints."""
        await self._catching_up.look()

    async def close_slow_readers(self) -> None:
        now = asyncio.get_running_loop().time()
        for reader in self._all_readers():
            if reader.is_late(now, settings.CHAT.ack_seconds):
                reader.close(Close.TOO_SLOW)

    async def recheck_everybody(self) -> None:
        """Close those who have lost the right to be here, whether a hint told of it or not. That is also for who has
        just been seated: what was read of them at the door may have changed before the hub knew them."""
        readers = self._all_readers()
        if readers:
            await self._recheck(readers)

    async def _recheck(self, readers: list[Reader]) -> None:
        places = [access.Place(r, r.user_id, r.session_key, r.room.pk if r.room else None) for r in readers]
        for reader, code in await self._threads.run(access.refused, places):
            reader.close(code)

    def _all_readers(self) -> list[Reader]:
        return [reader for readers in self._users.values() for reader in readers]

    async def say_bye(self) -> None:
        """The process ends: tell the ends of what was written here, and ask everybody to
        come back in a moment."""
        with contextlib.suppress(TimeoutError, Error):
            async with asyncio.timeout(BYE_SECONDS):
                await self._tell_all()
        for reader in self._all_readers():
            reader.tell(events.encode(events.bye("The server restarts.", BYE_AFTER_MS)))
            reader.close(Close.RESTART)
        # The frames take a moment to their sockets, and nobody after us waits for them.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BYE_SECONDS):
                await self._all_gone.wait()

    async def _tell_all(self) -> None:
        await self.catch_up()
        while any(map(_lacks_something, self._all_readers())):  # noqa: ASYNC110 - what is waited for are many sockets
            await asyncio.sleep(0.01)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # The safety net comes round in a second.
            log.error("a hint was not followed: %s", error, exc_info=error)


def _lacks_something(reader: Reader) -> bool:
    return reader.room is not None and (reader.told or 0) < reader.room.version
