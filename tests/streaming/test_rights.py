"""A right that has gone: every open socket and event stream is closed within a second, wherever and however it went."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx2
import pytest
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conversations.models import Conversation, Membership
from streaming import access
from streaming.access import Place
from streaming.hub import Hub
from tests import rights
from tests.conftest import LiveServer, StartProcess, asession_of, serving, session_of
from tests.processes import ROOT, database_url
from tests.services import RedisServer
from tests.tab import Tab
from tests.upstream import Upstream

PROMISED_SECONDS = 1.0
#: A machine that is busy may take so much longer to look and to close; the next net would take fifteen seconds.
SLACK_SECONDS = 2.0

CODES = {
    "sign_out": 4401,
    "change_password": 4401,
    "deactivate": 4401,
    "delete_session": 4401,
    "remove_member": 4404,
    "delete_conversation": 4404,
}


@dataclass
class Person:
    """Somebody with an open tab and an open event stream on a conversation of alice's."""

    name: str
    session_key: str
    tab: Tab
    stream: asyncio.Task[float]


class Room:
    """Opens the doors of a server to people, one for each change, and to one whom nothing happens to."""

    def __init__(self, server: LiveServer, alice: User) -> None:
        self.server, self.alice = server, alice
        self.stack = AsyncExitStack()

    async def person(self, name: str, *, alone: bool) -> Person:
        conversation, user = await database_sync_to_async(self.prepare)(name, alone)
        session_key = await asession_of(user)
        cookie = f"{settings.SESSION_COOKIE_NAME}={session_key}"
        tab = await (await self.server.tab(None, conversation, cookie=cookie)).open()
        self.stack.push_async_callback(tab.close)
        await tab.wait_for("conversation_snapshot")
        client = httpx2.AsyncClient(base_url=self.server.url, trust_env=False, headers={"Cookie": cookie})
        await self.stack.enter_async_context(client)
        response = await self.stack.enter_async_context(
            client.stream("GET", f"/conversations/{conversation.pk}/events/", timeout=60)
        )
        assert response.status_code == 200
        lines = response.aiter_lines()
        assert "conversation_snapshot" in await anext(line async for line in lines if line.startswith("data:"))
        stream = asyncio.create_task(until_end(lines))
        self.stack.callback(stream.cancel)
        return Person(name, session_key, tab, stream)

    def prepare(self, name: str, alone: bool) -> tuple[Conversation, User]:
        user = User.objects.create_user(name)
        conversation = Conversation.start(self.alice)
        if alone:
            # So that it can be found by the name of its only other member.
            Membership.objects.filter(conversation=conversation).delete()
        Membership.objects.create(user=user, conversation=conversation, role="owner")
        return conversation, user

    async def people(self) -> dict[str, Person]:
        made = await asyncio.gather(*(self.person(name, alone=True) for name in CODES))
        return dict(zip(CODES, made, strict=True))


async def until_end(lines: AsyncIterator[str]) -> float:
    async for _ in lines:
        pass
    return time.monotonic()


async def closed_at(tab: Tab) -> float:
    await tab.until_closed(seconds=30)
    return time.monotonic()


Make = Callable[[dict[str, Person]], Awaitable[dict[str, float]]]


async def made_here(people: dict[str, Person], *, signals: bool = True) -> dict[str, float]:
    """By the models, in the process of the test."""
    make = database_sync_to_async(rights.make)
    return {
        change: await make(change, person.name, person.session_key, signals=signals)
        for change, person in people.items()
    }


async def made_in_the_rows(people: dict[str, Person]) -> dict[str, float]:
    return await made_here(people, signals=False)


async def made_by_commands(people: dict[str, Person]) -> dict[str, float]:
    """By programs that serve nobody: a shell, and the command for a new password."""
    others = [
        (change, person.name, person.session_key) for change, person in people.items() if change != "change_password"
    ]
    code = f"import json; from tests.rights import make_all; make_all(json.loads({json.dumps(others)!r}))"
    told, changed = await asyncio.gather(manage("shell", "-c", code), password_changed(people["change_password"].name))
    done = {change: at for change, _, at in (line.partition(" ") for line in told.splitlines())}
    return {change: float(done[change]) for change, _, _ in others} | {"change_password": changed}


async def manage(*words: str, typed: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "manage.py", *words,
        cwd=ROOT, env=command_environment(), start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    told, _ = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    assert process.returncode == 0, told.decode()
    return told.decode()


async def password_changed(name: str) -> float:
    """The command asks twice. When it ends it has just done it."""
    told = await manage("changepassword", name, typed="a quite new password\n" * 2)
    assert "Password changed successfully" in told
    return time.monotonic()


def command_environment() -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": database_url(), "PYTHONUNBUFFERED": "1"}


async def all_are_closed_in_time(server: LiveServer, alice: User, make: Make) -> None:
    room = Room(server, alice)
    async with room.stack:
        other = await room.person("other", alone=False)
        people = await room.people()
        closing = {change: asyncio.create_task(closed_at(person.tab)) for change, person in people.items()}
        done = await make(people)
        late = {}
        for change, person in people.items():
            for door, at in (("socket", await closing[change]), ("stream", await asyncio.wait_for(person.stream, 30))):
                late[change, door] = at - done[change]
            assert person.tab.close_code == CODES[change], change
        assert {place: s for place, s in late.items() if s > PROMISED_SECONDS + SLACK_SECONDS} == {}
        # Nobody else has noticed anything.
        await other.tab.until_ended((await other.tab.ask("Hello")).reply)
        assert not other.stream.done()


@pytest.mark.django_db(transaction=True)
async def test_a_change_made_by_the_serving_process_itself(server: LiveServer, alice: User) -> None:
    await all_are_closed_in_time(server, alice, made_here)


@pytest.mark.django_db(transaction=True)
async def test_a_change_is_told_of_without_a_look_at_the_database(
    transactional_db: None, upstream: Upstream, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(hub: Hub) -> None:
        pass

    monkeypatch.setattr(Hub, "recheck_everybody", nothing)
    async with serving() as server:
        await all_are_closed_in_time(server, alice, made_here)


@pytest.mark.django_db(transaction=True)
async def test_a_change_that_no_signal_tells_of(server: LiveServer, alice: User) -> None:
    await all_are_closed_in_time(server, alice, made_in_the_rows)


@pytest.fixture(params=["up", pytest.param("down", marks=pytest.mark.services)])
async def another(request: pytest.FixtureRequest, start_process: StartProcess) -> AsyncIterator[LiveServer]:
    """A process of its own, with the Redis of the test's process or with one that has died."""
    if request.param == "up":
        yield LiveServer((await start_process()).url)
        return
    with RedisServer() as redis:
        process = await start_process(REDIS_URL=redis.url)
        redis.kill()
        yield LiveServer(process.url)


@pytest.mark.django_db(transaction=True)
async def test_a_change_made_by_another_process(another: LiveServer, server: LiveServer, alice: User) -> None:
    """`server` runs in the process of the test: what is done here is a change made there."""
    await all_are_closed_in_time(another, alice, made_here)


@pytest.mark.django_db(transaction=True)
async def test_a_change_made_by_a_command(another: LiveServer, alice: User) -> None:
    await all_are_closed_in_time(another, alice, made_by_commands)


# The look itself


@pytest.fixture
def place(alice: User, conversation: Conversation) -> Place:
    return Place("reader", alice.pk, session_of(alice), str(conversation.pk))


@pytest.mark.django_db
def test_who_may_stay_stays(place: Place) -> None:
    assert access.refused([place, place._replace(conversation_id=None)]) == []


@pytest.mark.django_db
def test_the_cost_in_queries_does_not_grow_with_the_readers(
    place: Place, bob: User, make_user: Callable[[str], User]
) -> None:
    places = [place, place._replace(user_id=bob.pk, session_key=session_of(bob))]
    places += [place._replace(user_id=user.pk, session_key=session_of(user)) for user in map(make_user, "defgh")]
    with CaptureQueriesContext(connection) as queries:
        assert len(access.refused(places * 20)) == 20 * 6
    assert len(queries) == 3


@pytest.mark.django_db
def test_more_readers_than_a_statement_has_room_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "PLACES_AT_ONCE", 3)
    strangers = [place._replace(reader=number, session_key="none") for number in range(4)]
    assert access.refused([place] * 4 + strangers) == [(number, 4401) for number in range(4)]


@pytest.mark.django_db
@pytest.mark.parametrize("change", CODES)
def test_each_change_is_seen_in_the_rows(place: Place, conversation: Conversation, change: str) -> None:
    assert access.refused([place]) == []
    rights.make(change, "alice", place.session_key, signals=False)
    assert access.refused([place]) == [("reader", CODES[change])]


@pytest.mark.django_db
def test_a_session_that_has_expired_is_seen(place: Place) -> None:
    assert access.refused([place]) == []
    Session.objects.update(expire_date=timezone.now())
    assert access.refused([place]) == [("reader", 4401)]


@pytest.mark.django_db
def test_the_session_of_somebody_else_is_none(place: Place, bob: User) -> None:
    assert access.refused([place._replace(session_key=session_of(bob))]) == [("reader", 4401)]


@pytest.mark.django_db
def test_a_session_that_nobody_can_open_signs_nobody_in(place: Place) -> None:
    Session.objects.update(session_data="no session")
    assert access.refused([place]) == [("reader", 4401)]


@pytest.mark.django_db
def test_a_way_to_sign_in_that_is_no_longer_offered_signs_nobody_in(place: Place) -> None:
    """As `django.contrib.auth.get_user` has it. The answer of before is not remembered: the session is another one."""
    session = SessionStore(place.session_key)
    session["_auth_user_backend"] = "gone.Backend"
    session.save()
    assert access.refused([place]) == [("reader", 4401)]
