"""What rooms and readers lack is read from the database: by itself, after a hint, and once a second under all hints.

A room is brought to the newest version, the mirrors of replies that run elsewhere to
their ends. A reader is given what it wants from the store when there is room for it on
the way to it: a snapshot, the events since a version, a window of a long text.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Coroutine
from typing import Any

from . import readings, rooms
from .cursors import Reader, Wanted, Window
from .events import Close
from .rooms import LiveReply, Room
from .threads import DatabaseThreads

#: What could not be read for a reader is tried again after so many seconds.
REST_SECONDS = 1.0
#: Windows of long texts that are kept: those who read the same text share them, one megabyte at the most.
MOST_WINDOWS = 64


class CatchingUp:
    def __init__(
        self,
        threads: DatabaseThreads,
        watched: dict[str, Room],
        own: dict[int, tuple[str, LiveReply]],
        do: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._threads = threads
        self._rooms = watched
        self._own = own
        self._do = do
        self._loads: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._windows: OrderedDict[Window, str] = OrderedDict()
        self._gap: asyncio.Task[None] | None = None

    # Rooms

    def leave(self, room: Room) -> None:
        self._loads.pop(room.pk, None)

    async def load(self, room: Room, version: int) -> None:
        """Bring a room to the newest version, which is at least `version`, and its
        readers with it. One at a time: a command makes several versions, and the first
        load mostly finds all of them."""
        if self._rooms.get(room.pk) is not room:
            return  # nobody looks any more
        async with self._loads[room.pk]:
            if version > room.version:
                await self._load_newest(room)

    async def _load_newest(self, room: Room) -> None:
        found = await self._threads.run(readings.load_news, room.pk, room.version, [*room.replies, *self._own])
        # What was committed here meanwhile came by itself: this is older.
        if found is None or found.version < room.version:
            return
        self._do(self._mark_seen(room, found.version))
        self._tell(room, found)

    def take(self, pk: str, news: readings.News) -> bool:
        """Tell those who look at a conversation what was committed here; False where it does not follow on what they
        were told, so that it has to be read."""
        room = self._rooms.get(pk)
        if room is None:
            return True
        if not news.entries or not room.is_known or news.entries[0].version != room.version + 1:
            return False
        self._tell(room, news)
        return True

    def _tell(self, room: Room, found: readings.News) -> None:
        if found.entries is None:
            # What has ended since is not told of one by one.
            for pk in room.replies.keys() - found.running.keys() - self._own.keys():
                del room.replies[pk]
            room.forget(found.version)
            room.wake()
            return
        for pk, texts in found.running.items():
            self._follow(room, pk, texts)
        for entry in found.entries:
            if entry.version > room.version:
                if entry.reply in found.ended:
                    self._end(room, entry, entry.reply, found.ended[entry.reply])
                room.remember(entry)
        room.wake()

    def _follow(self, room: Room, pk: int, texts: dict[str, str]) -> None:
        """Hold what there is of a reply that runs, here or elsewhere."""
        if pk not in room.replies:
            own = self._own.get(pk)
            room.replies[pk] = own[1] if own else LiveReply.mirror(pk, **texts)

    def _end(self, room: Room, entry: rooms.Entry, pk: int, texts: dict[str, str]) -> None:
        entry.ended = room.replies.get(pk) or LiveReply.mirror(pk)
        # Also of a reply that runs here: its runner may hear later than we do that
        # all of it is stored, or that another process has ended it.
        entry.ended.become_whole(**texts)

    async def _mark_seen(self, room: Room, version: int) -> None:
        users = {reader.user_id for reader in room.readers}
        await self._threads.run(readings.mark_seen, room.pk, users, version)

    # Under the hints

    async def look(self) -> None:
        """The safety net: two queries for all that is watched here."""
        if not self._rooms:
            return
        ends = self._ends_of_mirrors()
        versions, pieces = await self._threads.run(readings.load_newest, list(self._rooms), ends)
        behind = [room for pk, room in self._rooms.items() if versions.get(pk, 0) > room.version]
        for room in behind:
            await self.load(room, versions[room.pk])
        self._receive_pieces(pieces)

    def fill_gaps(self) -> None:
        """A hint did not fit: look at the pieces. Once for as many as come meanwhile."""
        if self._gap is None or self._gap.done():
            self._gap = self._do(self._load_pieces())

    async def _load_pieces(self) -> None:
        self._receive_pieces(await self._threads.run(readings.load_pieces, self._ends_of_mirrors()))

    def _ends_of_mirrors(self) -> dict[int, rooms.Have]:
        return {
            pk: dict(live.ends) for room in self._rooms.values() for pk, live in room.replies.items() if not live.is_own
        }

    def _receive_pieces(self, pieces: list[readings.StoredPiece]) -> None:
        watched = {pk: (room, live) for room in self._rooms.values() for pk, live in room.replies.items()}
        grown = set()
        for pk, part, start, text in pieces:
            room, live = watched.get(pk, (None, None))
            if room and live and not live.is_own and live.receive(part, start, text):
                grown.add(room)
        for room in grown:
            room.wake()

    # Readers

    async def help(self, reader: Reader, need: Wanted | Window) -> None:
        """Read for a reader what it is to be told next."""
        try:
            if isinstance(need, Window):
                reader.receive_window(need, await self._window(need))
            else:
                await self._give(reader, need)
        except Exception:
            if isinstance(need, Wanted):
                reader.ask_again(need)
            asyncio.get_running_loop().call_later(REST_SECONDS, reader.wake)
            raise

    async def _give(self, reader: Reader, wanted: Wanted) -> None:
        room = reader.room
        assert room is not None
        held = [*room.replies, *self._own]
        found = await self._threads.run(readings.load_catch_up, room.pk, reader.user_id, wanted, held)
        if found is None:
            reader.close(Close.NOT_FOUND)
            return
        for pk, texts in found.mirrors.items():
            # One that has ended since was told so; it must not come back to life.
            if found.version >= room.version:
                self._follow(room, pk, texts)
        if not room.is_known:
            room.forget(found.version)
        elif found.version > room.version:
            self._do(self.load(room, found.version))
        reader.receive_catch_up(found.catch_up)

    async def _window(self, window: Window) -> str:
        """Return the text from there on. The store is asked for windows that begin at the same places for all."""
        pk, part, start = window
        size = rooms.LONGEST_DELTA
        whole = Window(pk, part, start - start % size)
        if whole not in self._windows:
            text = await self._threads.run(readings.load_window, *whole, size)
            if not text:
                return ""
            self._windows[whole] = text
            if len(self._windows) > MOST_WINDOWS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(whole)
        return self._windows[whole][start % size :]
