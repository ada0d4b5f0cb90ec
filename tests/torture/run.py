"""One run: a world, a crowd, a saboteur; then rest, and a look at everything."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from conversations.models import Change, Conversation, Membership, Message, Piece, Role
from streaming.models import Run
from tests.installation import Services
from tests.services import free_port
from tests.torture import plan
from tests.torture.clients import LOST, TEMPERS, Person, Stage, Temper, TortureTab, mark_of
from tests.torture.faults import GuestSeat, Saboteur
from tests.torture.records import Kept, Post, Records, Versions
from tests.torture.streams import StreamTab
from tests.torture.world import KEY, TorturedServer, World
from tests.upstream import Upstream

T = TypeVar("T")

#: Until nothing is on its way any more: a lease, the time-outs of the upstream, a person's last command.
REST_SECONDS = 60.0
#: Until all that is over has left the servers.
#: A client of HTTP keeps a connection to the upstream for 15 seconds, in case it is needed again.
EMPTY_SECONDS = 40.0
LAG_SECONDS = 0.2
#: Delays are measured away from faults, and this long after one.
CALM_SECONDS = 3.0

Progress = Callable[[float, str], None]


async def torture(
    seed: int, topology: str, seconds: float, services: Services, tell: Progress, logs: Path | None = None
) -> Records:
    """Run one seed and return what there is to judge. The logs of the servers go into the folder `logs`."""
    records = Records(seed, topology)
    async with Upstream(port=free_port(), models=("small", "large")) as upstream:
        world = World(seed, topology, services, plan.Book(seed), upstream)
        try:
            tell(0.0, "starting")
            await in_thread(call_command, "migrate", verbosity=0, interactive=False)
            crowd = await in_thread(gather_people, world, records)
            await world.start()
            await Show(world, records, crowd, seconds, tell).run()
        finally:
            if logs is not None:
                world.keep_logs(logs)
            world.remove()
    return records


class Crowd:
    def __init__(self, stage: Stage, people: list[Person], guests: list[GuestSeat]) -> None:
        self.stage = stage
        self.people = people
        self.guests = guests

    @property
    def everybody(self) -> list[Person]:
        return [*self.people, *(seat.person for seat in self.guests)]


def gather_people(world: World, records: Records) -> Crowd:
    """Users with sessions, conversations with members, and a tab for each person."""
    chance = random.Random(f"{world.seed}/people")
    stage = Stage([], records)
    users = [User.objects.create_user(f"user{number}") for number in range(plan.PEOPLE)]
    cookies = {user.pk: session_of(user) for user in users}
    rooms = [Conversation.start(users[number % len(users)]) for number in range(plan.CONVERSATIONS)]
    for room in rooms:
        for user in users:
            Membership.objects.get_or_create(conversation=room, user=user, defaults={"role": Role.WRITER})
    people = []
    for number in range(plan.TABS):
        user, room = chance.choice(users), rooms[number % len(rooms)]
        temper = TEMPERS[number % len(TEMPERS)]
        kind = StreamTab if number % 4 == 3 else TortureTab
        people.append(person(f"tab {number}", stage, room, cookies[user.pk], world.seed, temper, kind))
    guests = []
    for number in range(plan.GUESTS):
        user, room = User.objects.create_user(f"guest{number}"), rooms[number % len(rooms)]
        Membership.objects.create(conversation=room, user=user, role=Role.READER)
        key = session_of(user)
        quiet = Temper("looks on", writes=False)
        kind = StreamTab if number % 2 else TortureTab
        guests.append(GuestSeat(person(f"guest {number}", stage, room, key, world.seed, quiet, kind), user.pk, key))
    return Crowd(stage, people, guests)


def person(
    name: str, stage: Stage, room: Conversation, session: str, seed: int, temper: Temper, kind: type[TortureTab]
) -> Person:
    cookie = f"{settings.SESSION_COOKIE_NAME}={session}"
    return Person(name, stage, str(room.pk), cookie, random.Random(f"{seed}/{name}"), temper, kind)


def session_of(user: User) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[settings.SESSION_COOKIE_NAME].value


class Show:
    def __init__(self, world: World, records: Records, crowd: Crowd, seconds: float, tell: Progress) -> None:
        self.world = world
        self.records = records
        self.crowd = crowd
        self.seconds = seconds
        self.tell = tell

    async def run(self) -> None:
        self.crowd.stage.servers = self.world.webs
        self.records.began = time.monotonic()
        everybody = self.crowd.everybody
        saboteur = Saboteur(self.world, self.records, everybody, list(self.crowd.guests))
        lives = [asyncio.create_task(person.live(), name=person.name) for person in everybody]
        watching = asyncio.create_task(self.watch_the_machine())
        try:
            await self.trouble(saboteur)
            self.tell(0.8, "coming to rest")
            await self.rest()
            self.tell(0.9, "looking at everything")
            await self.compare()
        finally:
            for task in lives:
                task.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
            watching.cancel()
        for person in everybody:
            with contextlib.suppress(*LOST):
                await person.tab.close()
        self.note_guests(saboteur)
        self.records.ended = time.monotonic()
        await self.look_inside()
        self.records.exits += await asyncio.gather(*(server.end() for server in self.world.servers))
        await in_thread(self.read_database)
        self.write_down()

    async def trouble(self, saboteur: Saboteur) -> None:
        """People do what they do while things break."""
        planned = plan.faults(self.world.seed, self.world.topology, self.seconds)
        doing = [
            asyncio.create_task(work) for person in self.crowd.people for work in (person.act(), person.be_as_one_is())
        ]
        began = time.monotonic()

        def tell() -> None:
            share = (time.monotonic() - began) / self.seconds
            self.tell(min(share, 1.0) * 0.8, f"{len(self.records.faults)} faults, {len(self.records.asked)} questions")

        await saboteur.play(planned, tell)
        await asyncio.sleep(max(began + self.seconds - time.monotonic(), 0))
        for task in doing:
            task.cancel()
        for result in await asyncio.gather(*doing, return_exceptions=True):
            if isinstance(result, Exception):
                raise result

    async def rest(self) -> None:
        """Nobody begins anything any more; all that was begun comes to its end, and everybody hears of it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                await asyncio.gather(*(person.come_to_rest() for person in self.crowd.people))
                while await in_thread(Message.objects.running().count):
                    await asyncio.sleep(0.3)
                versions = await in_thread(load_versions)
                while not all(person.is_at_rest(versions[person.conversation]) for person in self.staying):
                    await asyncio.sleep(0.1)

    @property
    def staying(self) -> list[Person]:
        return [person for person in self.crowd.everybody if person.gone_with is None]

    async def compare(self) -> None:
        """What each tab was told by and by, against what a new tab is told at once."""
        by_room = defaultdict(list)
        for person in self.staying:
            by_room[person.conversation].append(person)
        for conversation, people in by_room.items():
            fresh = TortureTab("", cookie=people[0].cookie)
            fresh.turn_to(self.world.webs[0], conversation)
            await fresh.open()
            await fresh.until(lambda fresh=fresh: fresh.conversation)  # type: ignore[misc]
            await fresh.until(lambda fresh=fresh: not any(map(fresh.lacks_some, fresh.messages)))  # type: ignore[misc]
            versions = Versions(conversation, 0, [])
            versions.held = [(each.name, each.tab.version, differences(each, fresh)) for each in people]
            self.records.versions.append(versions)
            await fresh.close()

    def note_guests(self, saboteur: Saboteur) -> None:
        for guest, person in saboteur.taken:
            guest.closed_at, guest.close_code = person.gone_at, person.gone_with

    async def look_inside(self) -> None:
        """Wait until the servers are empty, as long as that may take, and write down what is left."""
        for server in self.world.webs:
            deadline = time.monotonic() + EMPTY_SECONDS
            inside = await server.inside(self.world.upstream.port)
            while (inside.sockets or inside.readers or inside.rooms) and time.monotonic() < deadline:
                await asyncio.sleep(0.5)
                inside = await server.inside(self.world.upstream.port)
            self.records.inside.append(inside)

    async def watch_the_machine(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            lag = time.monotonic() - before - 0.05
            if lag > LAG_SECONDS:
                self.records.lags.append((time.monotonic(), lag))

    # Writing down

    def read_database(self) -> None:
        offset = time.time() - time.monotonic()
        self.records.kept = list(load_kept(offset))
        for client_id, message in Message.objects.exclude(client_id=None).values_list("client_id", "pk"):
            self.records.questions.setdefault(str(client_id), []).append(str(message))
        changes = defaultdict(list)
        for conversation, version in Change.objects.values_list("conversation_id", "version"):
            changes[str(conversation)].append(version)
        kept_versions = load_versions()
        for versions in self.records.versions:
            versions.version = kept_versions[versions.conversation]
            versions.changes = changes[versions.conversation]

    def write_down(self) -> None:
        records, stage = self.records, self.crowd.stage
        records.posts = list(self.posts())
        for each in self.crowd.everybody:
            records.seen += each.seen()
            records.wrongs += [f"{each.name}: {wrong}" for tab in (*each.tabs, each.tab) for wrong in tab.wrongs]
        records.closes = dict(stage.closes)
        records.leaked_keys = [server.name for server in self.world.servers if has_key(server)]
        if self.world.services.redis is not None:
            records.redis_keys = [key.decode(errors="replace") for key in sorted(self.world.services.redis.keys())]
        records.delays = list(self.delays())

    def posts(self) -> Iterable[Post]:
        for request, ask, nth in self.world.asked:
            way = self.world.book.way(ask, nth)
            assert request.script is not None
            yield Post(
                ask,
                nth,
                way.name,
                request.arrived_at,
                request.first_byte_at,
                request.closed_at,
                request.ended_at,
                request.text,
                request.script.finish is not None and request.text == request.script.text,
                request.script.body is None and request.first_byte_at is not None,
            )

    def delays(self) -> Iterable[float]:
        """How long deltas took to tabs that read at once, away from faults."""
        spoken = self.spoken_of_replies()
        troubled = [
            (fault.began, (fault.ended or self.records.ended) + CALM_SECONDS)
            for fault in self.records.faults
            if fault.target not in ("rights", "upstream")
        ]
        quick = [each for each in self.crowd.everybody if not each.temper.slow and not each.temper.sleeps]
        deltas = [delta for each in quick for tab in (*each.tabs, each.tab) for delta in tab.deltas]
        for reply, end, at in deltas:
            left = when_said(spoken.get(reply, []), end)
            if left is not None and not any(first <= at and left <= last for first, last in troubled):
                yield at - left

    def spoken_of_replies(self) -> dict[str, list[tuple[int, float]]]:
        """When the upstream said what of each reply, where one stream for the question leaves no doubt."""
        streams = defaultdict(list)
        for request, ask, _ in self.world.asked:
            if request.spoken:
                streams[ask].append(request.spoken)
        return {kept.reply: streams[kept.ask][0] for kept in self.records.kept if len(streams[kept.ask]) == 1}


def when_said(spoken: list[tuple[int, float]], end: int) -> float | None:
    """When the character before `end` left the upstream."""
    return next((at for length, at in spoken if length >= end), None)


def differences(each: Person, fresh: TortureTab) -> list[str]:
    tab = each.tab
    found = [
        f"{name} is {tab.conversation.get(name)!r} and not {fresh.conversation.get(name)!r}"
        for name in ("title", "head", "model")
        if tab.conversation.get(name) != fresh.conversation.get(name)
    ]
    for known, message in shown_by_both(tab, fresh):
        if known not in tab.messages:
            found.append(f"message {known} is missing")
        elif message["role"] == "assistant":
            mine = (tab.statuses[known], tab.texts.get(known, ""))
            theirs = (fresh.statuses[known], fresh.texts.get(known, ""))
            if mine != theirs:
                found.append(f"reply {known} is {mine[0]}, {len(mine[1])} and not {theirs[0]}, {len(theirs[1])}")
        elif message["text"] != tab.messages[known]["text"]:
            found.append(f"message {known} differs")
    return [*found[:2], f"last told {list(tab.told)}"] if found else []


def shown_by_both(tab: TortureTab, fresh: TortureTab) -> list[tuple[str, dict[str, Any]]]:
    """The messages of a new snapshot, from where on the tab has asked for any: a page has a bound."""
    messages = list(fresh.messages.items())
    places = [place for place, (known, _) in enumerate(messages) if known == tab.top]
    return messages[places[0] :] if places else messages


def load_kept(offset: float) -> Iterable[Kept]:
    runs = {run.reply_id: run for run in Run.objects.all()}
    ends = Counter(Change.objects.filter(kind=Change.Kind.REPLY_ENDED).values_list("message_id", flat=True))
    pieces = Counter(Piece.objects.values_list("reply_id", flat=True))
    replies = Message.objects.filter(role=Message.Role.ASSISTANT).select_related("parent")
    for reply in replies:
        run = runs.get(reply.pk)
        assert reply.parent is not None
        yield Kept(
            str(reply.pk),
            str(reply.conversation_id),
            mark_of(reply.parent.text),
            reply.client_id,
            reply.status,
            reply.text,
            reply.reasoning,
            (reply.error or {}).get("code", ""),
            moment(reply.created_at) - offset,
            moment(reply.ended_at) - offset if reply.ended_at else None,
            run.attempts if run else 0,
            run.owner if run else "",
            ends[reply.pk],
            pieces[reply.pk],
        )


def moment(at: datetime) -> float:
    return at.timestamp()


def load_versions() -> dict[str, int]:
    return {str(pk): version for pk, version in Conversation.objects.values_list("pk", "version")}


def has_key(server: TorturedServer) -> bool:
    return KEY in (server.folder / "log").read_text(errors="replace")


async def in_thread(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Ask the database in a thread, with a connection of its own: the last one may have been broken by a fault."""

    def do() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connection.close()

    return await asyncio.to_thread(do)
