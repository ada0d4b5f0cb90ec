"""People in front of tabs: they ask, stop, try again, leave, come back, fall asleep. All they see is written down."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol, Self

import httpx2
from websockets.exceptions import InvalidHandshake, WebSocketException

from tests.tab import RUNNING, CommandRefused, Event, Tab
from tests.torture.plan import MARK
from tests.torture.records import Asked, Records, Seen, Stopped

#: As the protocol wants it, each times 0.5 to 1.5.
BACK_OFF = (0.2, 0.5, 1.0, 2.0)
#: A command that is not answered for so long is sent again, over another connection.
ANSWER_SECONDS = 6.0
OPEN_SECONDS = 5.0
#: A tab that was opened only now is catching up: its delays say nothing about the way of a delta.
SETTLED_SECONDS = 2.0
GONE_FOR_GOOD = (4401, 4404)


class ServerLike(Protocol):
    """What a client has to know of a server."""

    @property
    def url(self) -> str: ...


class TortureTab(Tab):
    """A tab that keeps no events but what the judge wants to know of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.answers: dict[str, Event] = {}
        #: Of all messages that were ever told, also of those that are forgotten.
        self.roles: dict[str, str] = {}
        self.opened_at = 0.0
        #: The first message of the last snapshot: what is above it was not asked for.
        self.top: str | None = None
        #: Seconds that each frame costs this tab.
        self.slow = 0.0
        self.last_heard = 0.0
        self.connections = 0
        #: The last that changed its version: (number of the connection, type, version, head), for whoever has to find out.
        self.told: deque[tuple[int, str, int, str | None]] = deque(maxlen=12)
        #: What `bye` asked for: seconds to stay away.
        self.after = 0.0
        #: (reply, position, when) of deltas that came while all was well with this tab.
        self.deltas: list[tuple[str, int, float]] = []
        #: Texts that were given up because their sha256 was not that of the end.
        self.given_up: list[tuple[str, str]] = []

    def turn_to(self, server: ServerLike, conversation: str) -> None:
        """From now on, this process is asked."""
        self.url = f"{server.url.replace('http', 'ws', 1)}/ws/conversations/{conversation}/"
        self.origin = server.url

    async def open(self, *, version: int | None = None) -> Self:
        self.connections += 1
        if self.reading is not None:
            # The last words of the old connection, which may still be read, are not to be mixed with what this one says.
            await self.cut()
        async with asyncio.timeout(OPEN_SECONDS):
            await super().open(version=version)
        self.opened_at = time.monotonic()
        self.after = 0.0
        return self

    async def sync(self) -> None:
        """As the page does: what runs, and what has ended without all of it having come."""
        wanted = [
            reply
            for reply, status in self.statuses.items()
            if status in RUNNING or self.lacks_some(reply) or not self.has_all(reply)
        ]
        await self.send("sync", version=self.version, replies={reply: self.have(reply) for reply in wanted})
        await self.know_branch()

    def has_all(self, reply: str) -> bool:
        return not self.endings.get(reply) or self.is_whole(reply)

    async def receive_version(self, event: Event) -> None:
        shown = event.get("conversation", event)
        self.told.append((self.connections, event["type"], event["version"], shown.get("head")))
        if event["type"] == "conversation_snapshot" and event["version"] > self.version:
            self.forget_all_but({message["id"] for message in event["messages"]})
        await super().receive_version(event)

    def take_message(self, message: dict[str, Any]) -> None:
        self.roles[message["id"]] = message["role"]
        super().take_message(message)

    def forget_all_but(self, shown: set[str]) -> None:
        """As the page does: of what a newer snapshot leaves out nobody has told the end."""
        for known in self.messages.keys() - shown:
            del self.messages[known]
            self.statuses.pop(known, None)

    async def receive_conversation_snapshot(self, event: Event) -> None:
        await super().receive_conversation_snapshot(event)
        self.top = event["messages"][0]["id"] if event["messages"] else None

    async def receive_message_created(self, event: Event) -> None:
        await super().receive_message_created(event)
        self.conversation["head"] = event["head"]
        await self.know_branch()

    async def receive_conversation_changed(self, event: Event) -> None:
        await super().receive_conversation_changed(event)
        await self.know_branch()

    async def know_branch(self) -> None:
        """Ask for a new snapshot when a branch is shown that was never told, as the page does."""
        if not self.knows_branch():
            await self.send("sync")

    def knows_branch(self) -> bool:
        known, first = self.conversation.get("head"), None
        while known in self.messages and first != self.top:
            first, known = known, self.messages[known]["parent"]
        return known is None or first == self.top

    async def receive_bye(self, event: Event) -> None:
        self.after = event["after_ms"] / 1000

    async def receive(self, event: Event) -> None:
        await super().receive(event)
        self.events.clear()
        self.last_heard = event.at
        if (ref := event.get("ref")) is not None:
            self.answers[ref] = event
            self.tell()
        if self.slow:
            await asyncio.sleep(self.slow)

    async def receive_reply_delta(self, event: Event) -> None:
        is_next = event["start"] == self.have(event["reply"])[event["part"]]
        await super().receive_reply_delta(event)
        if is_next and event["part"] == "text" and event.at - self.opened_at > SETTLED_SECONDS:
            self.deltas.append((event["reply"], event["end"], event.at))

    async def receive_reply_ended(self, event: Event) -> None:
        reply = event["reply"]
        self.endings[reply].append(event)
        if len(self.texts.get(reply, "")) >= event["length"] and not self.is_whole(reply):
            self.given_up.append((reply, self.texts[reply]))
        self.endings[reply].pop()
        await super().receive_reply_ended(event)

    def pause(self) -> None:
        """Read and acknowledge nothing."""
        self.acks = False
        if self.socket is not None:
            self.socket.transport.pause_reading()

    def go_on(self) -> None:
        self.acks = True
        if self.socket is not None and not self.socket.transport.is_closing():
            self.socket.transport.resume_reading()

    async def command(self, kind: str, **fields: Any) -> Event:
        if self.socket is None:
            raise ConnectionError("not open yet")
        ref = await self.send(kind, **fields)
        await self.until(lambda: ref in self.answers or self.close_code is not None, ANSWER_SECONDS)
        if ref not in self.answers:
            raise ConnectionError("closed before the answer came")
        answer = self.answers.pop(ref)
        if answer["type"] == "command_refused":
            raise CommandRefused(answer)
        return answer


#: What tells that a connection is of no use (any more); the client comes back then.
LOST = (OSError, TimeoutError, WebSocketException, InvalidHandshake, httpx2.HTTPError)


@dataclass
class Stage:
    """What all clients share: where the servers are, the numbers of questions, and the record."""

    servers: Sequence[ServerLike]
    records: Records
    numbers: count[int] = field(default_factory=lambda: count(1))
    closes: Counter[str] = field(default_factory=Counter)

    def question(self, chance: random.Random) -> str:
        words = " ".join(
            chance.choice(("what", "why", "how", "who", "哪里", "когда")) for _ in range(chance.randint(1, 30))
        )
        return f"#{next(self.numbers)} {words * (200 if chance.random() < 0.03 else 1)}"


@dataclass
class Temper:
    """What somebody does to his own connection, as often as so many times a minute."""

    name: str
    reloads: float = 0.0
    cuts: float = 0.0
    sleeps: float = 0.0
    writes: bool = True
    #: Seconds for each frame.
    slow: float = 0.0


TEMPERS = (
    Temper("steady"),
    Temper("looks on", writes=False),
    Temper("restless", reloads=6, cuts=6),
    Temper("steady"),
    Temper("sleepy", sleeps=6),
    Temper("slow", slow=0.02, writes=False),
)


class Person:
    """One tab of one user, from the first look to the last."""

    def __init__(
        self,
        name: str,
        stage: Stage,
        conversation: str,
        cookie: str,
        chance: random.Random,
        temper: Temper,
        kind: type[TortureTab],
    ) -> None:
        self.name = name
        self.stage = stage
        self.records = stage.records
        self.conversation = conversation
        self.cookie = cookie
        self.chance = chance
        self.temper = temper
        self.kind = kind
        self.tab = self.new_tab()
        self.tabs: list[TortureTab] = []
        self.open = False
        self.gone_with: int | None = None
        self.gone_at: float | None = None
        #: Commands that were not answered yet: the page sends them again when it is back.
        self.unanswered: dict[str, tuple[Asked, dict[str, Any]]] = {}

    def new_tab(self) -> TortureTab:
        tab = self.kind("", cookie=self.cookie)
        tab.slow = self.temper.slow
        return tab

    # The connection

    async def live(self) -> None:
        """Be there, and come back whenever the connection is lost, until cancelled or sent away for good."""
        attempt = 0
        while self.gone_with is None:
            opened = await self.connect()
            if opened:
                await self.until_closed()
            # A socket that was accepted and closed at once does not count as a success.
            attempt = 0 if opened and self.tab.last_heard > self.tab.opened_at else attempt + 1
            pause = BACK_OFF[min(attempt, len(BACK_OFF) - 1)] * self.chance.uniform(0.5, 1.5)
            await asyncio.sleep(pause + self.tab.after)

    async def connect(self) -> bool:
        self.tab.turn_to(self.chance.choice(self.stage.servers), self.conversation)
        try:
            if self.tab.version:
                await self.tab.resume()
            else:
                await self.tab.open()
        except LOST:
            self.note_close()
            return False
        self.records.connections += 1
        self.open = True
        for asked, fields in list(self.unanswered.values()):
            await self.send(asked, fields)
        return True

    async def until_closed(self) -> None:
        while self.tab.close_code is None and self.open:
            with contextlib.suppress(TimeoutError):
                await self.tab.until(lambda: self.tab.close_code is not None or not self.open, 1.0)
        self.open = False
        self.stage.closes[str(self.tab.close_code or "cut by the client")] += 1
        self.note_close()

    def note_close(self) -> None:
        code = self.tab.close_code
        if code in GONE_FOR_GOOD:
            self.gone_with, self.gone_at = code, time.monotonic()

    async def lose(self) -> None:
        """Lose the connection as a cable does."""
        if self.open:
            self.open = False
            with contextlib.suppress(*LOST):
                await self.tab.cut()
            self.tab.tell()

    async def reload(self) -> None:
        """A new page that knows nothing; what the old one saw is not forgotten by the judge."""
        if self.open:
            old, self.tab = self.tab, self.new_tab()
            self.tabs.append(old)
            self.open = False
            with contextlib.suppress(*LOST):
                await old.close()
            old.tell()

    async def sleep(self, seconds: float) -> None:
        """The lid is closed: nothing is read and nothing is said, while the connection seems to be there."""
        if self.open:
            tab = self.tab
            tab.pause()
            try:
                await asyncio.sleep(seconds)
            finally:
                tab.go_on()

    async def be_as_one_is(self) -> None:
        """Treat the own connection as the temper wants it, for ever."""
        temper = self.temper
        total = temper.reloads + temper.cuts + temper.sleeps
        while total:
            await asyncio.sleep(self.chance.expovariate(total / 60))
            what = self.chance.choices(("reload", "cut", "sleep"), (temper.reloads, temper.cuts, temper.sleeps))[0]
            if what == "reload":
                await self.reload()
            elif what == "cut":
                await self.lose()
            else:
                await self.sleep(self.chance.uniform(0.5, 6))

    # Commands

    async def act(self) -> None:
        """Do what people do, for ever."""
        while self.temper.writes:
            await asyncio.sleep(self.chance.expovariate(1 / 1.5))
            names = list(ACTIONS)
            name = self.chance.choices(names, [ACTIONS[name] for name in names])[0]
            if self.open:
                with contextlib.suppress(*LOST):
                    await getattr(self, name)()

    async def ask(self) -> None:
        parent = self.some(lambda message: message["role"] == "assistant" and self.has_ended(message["id"]))
        branch = {"parent": parent} if parent and self.chance.random() < 0.3 else {}
        await self.wish("send_message", text=self.stage.question(self.chance), **branch)

    async def ask_twice(self) -> None:
        """The same click in two tabs, perhaps at two processes, in the same moment."""
        fields = {"text": self.stage.question(self.chance), "client_id": str(uuid.uuid4())}
        asked = self.note("send_message", fields)
        other = self.new_tab()
        other.turn_to(self.chance.choice(self.stage.servers), self.conversation)
        self.tabs.append(other)
        try:
            await other.open()
            await asyncio.gather(self.send(asked, fields), self.send(asked, fields, other))
        finally:
            with contextlib.suppress(*LOST):
                await other.close()

    async def edit(self) -> None:
        mine = self.some(lambda message: message["role"] == "user")
        if mine:
            await self.wish("edit_message", message=mine, text=self.stage.question(self.chance))

    async def retry(self) -> None:
        reply = self.some(lambda message: message["role"] == "assistant" and self.has_ended(message["id"]))
        if reply:
            await self.wish("retry_reply", reply=reply)

    async def continue_reply(self) -> None:
        reply = self.some(lambda message: self.tab.statuses.get(message["id"]) in ("interrupted", "stopped"))
        if reply:
            await self.wish("continue_reply", reply=reply)

    async def stop_reply(self) -> None:
        running = [reply for reply, status in self.tab.statuses.items() if status in RUNNING]
        if running:
            stopped = Stopped(self.chance.choice(running), time.monotonic())
            self.records.stopped.append(stopped)
            try:
                await self.tab.command("stop_reply", reply=stopped.reply)
                stopped.done_at = time.monotonic()
            except CommandRefused:
                stopped.refused = True

    async def rename(self) -> None:
        with contextlib.suppress(CommandRefused):
            await self.tab.command("rename_conversation", title=f"Title {self.chance.randrange(10**6)} 題")

    async def select(self) -> None:
        message = self.some(lambda _: True)
        if message:
            with contextlib.suppress(CommandRefused):
                await self.tab.command("select_branch", message=message)

    def some(self, fits: Callable[[dict[str, Any]], bool]) -> str | None:
        """One of the last messages that fit."""
        found = [known for known, message in list(self.tab.messages.items())[-12:] if fits(message)]
        return self.chance.choice(found) if found else None

    def has_ended(self, reply: str) -> bool:
        return self.tab.statuses.get(reply) not in (*RUNNING, None)

    async def wish(self, kind: str, **fields: Any) -> None:
        fields = {"client_id": str(uuid.uuid4()), **fields}
        await self.send(self.note(kind, fields), fields)

    def note(self, kind: str, fields: dict[str, Any]) -> Asked:
        asked = Asked(kind, fields["client_id"], self.conversation, time.monotonic())
        self.records.asked.append(asked)
        self.unanswered[asked.client_id] = asked, fields
        return asked

    async def send(self, asked: Asked, fields: dict[str, Any], tab: TortureTab | None = None) -> None:
        """Send a command that makes something; what is not answered is sent again after the next connection."""
        asked.sendings += 1
        try:
            answer = await (tab or self.tab).command(asked.kind, **fields)
        except CommandRefused as refused:
            asked.refusals.append(refused.code)
            if refused.code == "unavailable":
                return  # the database is away: again, some time
        except LOST:
            if tab is None:
                await self.lose()
            return
        else:
            asked.answers.append((answer.get("message") or "", answer["reply"], time.monotonic()))
        self.unanswered.pop(asked.client_id, None)

    # The end

    async def come_to_rest(self) -> None:
        """Send what is not answered until it is."""
        while self.unanswered:
            for asked, fields in list(self.unanswered.values()):
                if self.open:
                    await self.send(asked, fields)
            await asyncio.sleep(0.1)

    def is_at_rest(self, version: int) -> bool:
        tab = self.tab
        return (
            tab.version == version
            and tab.knows_branch()
            and not any(tab.lacks_some(message) or not tab.has_all(message) for message in tab.statuses)
        )

    def seen(self) -> list[Seen]:
        """All that this person saw, in all tabs."""
        stayed = self.tab if self.gone_with is None else None
        return [
            Seen(
                self.name,
                reply,
                tab.texts.get(reply, ""),
                tab.reasonings.get(reply, ""),
                [(end["status"], end["length"], end["sha256"]) for end in tab.endings.get(reply, ())],
                # What a newer snapshot has left out is forgotten, as on the page: nobody waits for the rest of it.
                tab is stayed and reply in tab.statuses,
            )
            for tab in [*self.tabs, self.tab]
            for reply in {*tab.texts, *tab.reasonings, *tab.endings}
            if tab.roles.get(reply, "assistant") == "assistant"
        ] + [
            Seen(self.name, reply, text, "", [], False)
            for tab in [*self.tabs, self.tab]
            for reply, text in tab.given_up
        ]


def mark_of(text: str) -> int:
    """The number of a question."""
    found = MARK.match(text)
    assert found is not None, text[:80]
    return int(found[1])


#: What people do, and how often.
ACTIONS = {
    "ask": 10,
    "ask_twice": 2,
    "stop_reply": 4,
    "retry": 3,
    "continue_reply": 3,
    "edit": 2,
    "select": 2,
    "rename": 1,
}
