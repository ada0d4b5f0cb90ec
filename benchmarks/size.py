"""What a long history costs: `python -m benchmarks.size`.

Two installations stand side by side: one with 1,000 messages in 100 conversations, one with 1,000,000 in 100,000, of which
one conversation has 10,000 messages and one person 20,000 conversations. The same things are done in both, in turn: pages
opened, messages sent, lists looked at, words searched. Told are the milliseconds, the ratio of the two, and the number of
queries, which a server counts that does all that the product does.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlencode

from benchmarks.figures import Case, Figures
from benchmarks.filling import Filling, Size, copy_of
from benchmarks.tabs import BenchTab
from benchmarks.upstream import question
from benchmarks.world import ROOT, Deployed, Person, World
from tests.processes import ServerProcess, database_url
from tests.services import RedisServer

SMALL = Size(messages=1_000, conversations=100, people=60, mine=60, longest=200)
LARGE = Size(messages=1_000_000, conversations=100_000, people=1_000, mine=20_000, longest=10_000)
#: Each operation is done so often, after some that do not count.
MEASURED, WARM = 21, 4
DELTAS, RATE = 2, 100
#: Two minutes is the longest that anything here may take.
PATIENCE = 120
#: What takes so many seconds is done less often.
LONGEST = 30


class CountingServer(Deployed):
    """The product, with its queries counted."""

    def command(self) -> list[str]:
        return [*super().command()[:-1], "benchmarks.counted:application"]


@dataclass
class Place:
    """One installation, and the person who does the same in each of them."""

    name: str
    server: ServerProcess
    filling: Filling
    person: Person
    administrator: str
    conversations: Iterator[str] = field(init=False)

    def __post_init__(self) -> None:
        self.connection = HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        found = [talk.id for talk in self.filling.mine]
        self.filling.chance.shuffle(found)
        self.conversations = itertools.cycle(found)

    @property
    def long(self) -> str:
        return dashed(self.filling.long.id)

    @property
    def old(self) -> int:
        """A message of the long conversation, with a page of others ahead of it."""
        return self.filling.early[-1]

    @property
    def words(self) -> str:
        return self.filling.words.pair

    def next(self) -> str:
        """Return a conversation of eight messages, another one each time: nobody opens the same all day."""
        return dashed(next(self.conversations))

    def queries(self) -> int:
        # What was kept from the last time may have been closed: a server waits five seconds.
        self.connection.close()
        return int(self.fetch("/queries/"))

    def get(self, path: str, cookie: str | None = None) -> float:
        """Return the milliseconds until all of a page is there."""
        began = time.perf_counter()
        self.fetch(path, cookie)
        return 1e3 * (time.perf_counter() - began)

    def fetch(self, path: str, cookie: str | None = None) -> str:
        headers = {"Cookie": self.person.cookie if cookie is None else cookie}
        self.connection.request("GET", path, headers=headers)
        response = self.connection.getresponse()
        body = response.read().decode()
        assert response.status == 200, f"{path}: {response.status} {body[:300]}"
        return body

    async def tab(self, conversation: str) -> BenchTab:
        return await BenchTab.open(self.server, Person(self.person.cookie, conversation))


def dashed(key: str) -> str:
    return "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))


# What is done


Operation = Callable[[Place], Awaitable[float]]


def page(path: Callable[[Place], str]) -> Operation:
    async def get(place: Place) -> float:
        return place.get(path(place))

    return get


def admin_page(path: str, **query: str) -> Operation:
    async def get(place: Place) -> float:
        filled = {
            name: value.format(long=place.long, me=place.filling.person, words=place.words)
            for name, value in query.items()
        }
        asked = f"?{urlencode(filled)}" if filled else ""
        return place.get(f"/admin/{path.format(long=place.long, old=place.old)}{asked}", place.administrator)

    return get


def socket(conversation: Callable[[Place], str]) -> Operation:
    async def open_until_snapshot(place: Place) -> float:
        began = time.perf_counter()
        tab = await place.tab(conversation(place))
        took = time.perf_counter() - began
        tab.close()
        return 1e3 * took

    return open_until_snapshot


def sending(conversation: Callable[[Place], str], until_first_token: bool) -> Operation:
    async def send(place: Place) -> float:
        tab = await place.tab(conversation(place))
        began = time.perf_counter()
        answer = await tab.ask(question(DELTAS, RATE))
        done = time.perf_counter() - began
        assert answer.type == "command_done", answer
        async with asyncio.timeout(PATIENCE):
            await tab.spoken.wait()
            await tab.ended.wait()
        tab.close()
        return tab.first_token if until_first_token else 1e3 * done

    return send


HISTORY = "conversations"

OPERATIONS: dict[str, Operation] = {
    "page": page(lambda place: f"/conversations/{place.next()}/"),
    "page of a long conversation": page(lambda place: f"/conversations/{place.long}/"),
    "older messages": page(lambda place: f"/conversations/{place.long}/messages/?before={place.old}"),
    "new conversation": page(lambda place: "/"),
    "sidebar": page(lambda place: "/sidebar/"),
    "socket": socket(Place.next),
    "socket, long conversation": socket(lambda place: place.long),
    "send": sending(Place.next, until_first_token=False),
    "send, first token": sending(Place.next, until_first_token=True),
    "send, long conversation": sending(lambda place: place.long, until_first_token=False),
    "send, long conversation, first token": sending(lambda place: place.long, until_first_token=True),
    "admin: conversations": admin_page(f"{HISTORY}/conversation/"),
    "admin: page 2 of conversations": admin_page(f"{HISTORY}/conversation/", p="2"),
    "admin: conversations of a person": admin_page(f"{HISTORY}/conversation/", member="{me}"),
    "admin: conversations with a running reply": admin_page(f"{HISTORY}/conversation/", running="1"),
    "admin: a long conversation": admin_page(f"{HISTORY}/conversation/{{long}}/change/"),
    "admin: messages": admin_page(f"{HISTORY}/message/"),
    "admin: page 15 of messages": admin_page(f"{HISTORY}/message/", p="15"),
    "admin: messages of a conversation": admin_page(f"{HISTORY}/message/", conversation="{long}"),
    "admin: failed messages": admin_page(f"{HISTORY}/message/", status="failed"),
    "admin: messages of a model": admin_page(f"{HISTORY}/message/", model="small"),
    "admin: a message and its run": admin_page(f"{HISTORY}/message/{{old}}/change/"),
    "admin: users": admin_page("auth/user/"),
    "search": page(lambda place: f"/search/?{urlencode({'q': place.words})}"),
    "admin: search of messages": admin_page(f"{HISTORY}/message/", q="{words}"),
    "admin: search of conversations": admin_page(f"{HISTORY}/conversation/", q="{words}"),
}


# Both places


def places(world: World, stack: ExitStack) -> tuple[Place, Place]:
    """Return the small and the large one, in which the same people are signed in."""
    from django.contrib.auth.models import User
    from django.db import connections

    from chatproject.databases import database

    person, administrator = world.people(2)
    User.objects.filter(username="person2").update(is_staff=True, is_superuser=True)
    key = User.objects.get(username="person1").pk
    empty = database_url()
    # Hints go to the processes of one installation.
    env = {"REDIS_URL": stack.enter_context(RedisServer()).url} if world.topology == "services" else {}

    def place(name: str, size: Size, **env: str) -> Place:
        filling, url = Filling(size, key), copy_of(empty, name)
        filling.put_into(url)
        server = world.web("uvicorn", CountingServer, DATABASE_URL=url, **env)
        connections.settings[name] = {**connections.settings["default"], **database(url, ROOT)}
        return Place(name, server, filling, person, administrator.cookie)

    return place("small", SMALL, **env), place("large", LARGE)


@dataclass
class Found:
    """What one operation has cost in one place."""

    milliseconds: list[float] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)

    async def measure(self, operation: Operation, where: Place) -> None:
        before = where.queries()
        self.milliseconds.append(await operation(where))
        # Asking is counted, too.
        self.queries.append(where.queries() - before - 1)


async def compare(operation: Operation, small: Place, large: Place) -> dict[str, float]:
    found = Found(), Found()
    began = time.monotonic()
    while (done := len(found[1].milliseconds)) <= WARM or (
        done < MEASURED + WARM and time.monotonic() < began + LONGEST
    ):
        for one, where in zip(found, (small, large), strict=True):
            await one.measure(operation, where)
    few, many = (statistics.median(one.milliseconds[WARM:]) for one in found)
    counts = [statistics.median(one.queries[WARM:]) for one in found]
    return {"ratio": many / few, "small": few, "large": many, "queries_small": counts[0], "queries_large": counts[1]}


async def run(world: World) -> Figures:
    figures = {}
    with ExitStack() as stack:
        small, large = places(world, stack)
        for number, (name, operation) in enumerate(OPERATIONS.items(), start=1):
            figures[name] = await compare(operation, small, large)
            world.progress(number / len(OPERATIONS))
    return {**figures, "worst": {"ratio": max(found["ratio"] for found in figures.values())}}


if __name__ == "__main__":
    Case("size", run).main()
