"""Breaking things, and mending them. Each fault is written down with its times, so that the judge knows who had a reason."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import redis
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import OperationalError, close_old_connections, connection

from conversations.models import Membership
from tests.installation import DATABASE
from tests.services import PostgresServer, RedisServer
from tests.torture.clients import Person
from tests.torture.plan import Planned
from tests.torture.records import Fault, Guest, Records
from tests.torture.streams import StreamTab
from tests.torture.world import TorturedServer, World

TABLES = (
    "streaming_run",
    "conversations_piece",
    "conversations_message",
    "conversations_conversation",
    "django_session",
)
WRITERS = 8


@dataclass
class GuestSeat:
    """Somebody whose rights will be taken."""

    person: Person
    user_id: int
    session_key: str


class Saboteur:
    def __init__(self, world: World, records: Records, people: list[Person], guests: list[GuestSeat]) -> None:
        self.world = world
        self.records = records
        self.people = people
        self.guests = guests
        #: What is broken already cannot be broken once more.
        self.busy = {name: asyncio.Lock() for name in ("redis", "database", "upstream")}
        self.taken: list[tuple[Guest, Person]] = []

    async def play(self, planned: list[Planned], tell: Callable[[], None]) -> None:
        """Let the faults come at their times; return when the last one is mended."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in planned:
                await asyncio.sleep(began + fault.at - time.monotonic())
                group.create_task(self.do(fault))
                tell()

    async def do(self, planned: Planned) -> None:
        await FAULTS[planned.kind](self, planned)

    @contextlib.asynccontextmanager
    async def noted(self, planned: Planned, target: str) -> AsyncIterator[Fault]:
        async with self.busy.get(target, contextlib.nullcontext()):
            fault = Fault(planned.kind, target, time.monotonic())
            self.records.faults.append(fault)
            try:
                yield fault
            finally:
                fault.ended = time.monotonic()

    @property
    def redis(self) -> RedisServer:
        assert self.world.services.redis is not None
        return self.world.services.redis

    @property
    def postgres(self) -> PostgresServer:
        assert self.world.services.postgres is not None
        return self.world.services.postgres

    # Servers

    @contextlib.asynccontextmanager
    async def on_server(self, planned: Planned) -> AsyncIterator[tuple[TorturedServer, Fault]]:
        servers = self.world.webs if planned.kind == "server frozen" else self.world.servers
        server = servers[planned.target % len(servers)]
        async with server.busy, self.noted(planned, server.name) as fault:
            yield server, fault

    async def server_killed(self, planned: Planned) -> None:
        async with self.on_server(planned) as (server, fault):
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(planned.lasts)
            await server.astart()
            fault.ready_at = time.monotonic()

    async def server_terminated(self, planned: Planned) -> None:
        async with self.on_server(planned) as (server, fault):
            self.records.exits.append(await server.end())
            await asyncio.sleep(planned.lasts)
            await server.astart()
            fault.ready_at = time.monotonic()

    async def server_frozen(self, planned: Planned) -> None:
        async with self.on_server(planned) as (server, _):
            server.freeze(planned.lasts)
            await asyncio.sleep(planned.lasts)

    async def server_stopped(self, planned: Planned) -> None:
        async with self.on_server(planned) as (server, _):
            server.signal_itself(signal.SIGSTOP)
            await asyncio.sleep(planned.lasts)
            server.signal_itself(signal.SIGCONT)

    # Networks

    async def connections_cut(self, planned: Planned) -> None:
        async with self.noted(planned, "network"):
            await asyncio.gather(*(person.lose() for person in self.people))

    async def upstream_gone(self, planned: Planned) -> None:
        async with self.noted(planned, "upstream"):
            await self.world.upstream.stop()
            await asyncio.sleep(planned.lasts)
            await self.world.upstream.start()

    # Redis

    async def redis_killed(self, planned: Planned) -> None:
        async with self.noted(planned, "redis"):
            await asyncio.to_thread(self.redis.kill)
            await asyncio.sleep(planned.lasts)
            await asyncio.to_thread(self.redis.start)

    async def redis_paused(self, planned: Planned) -> None:
        async with self.noted(planned, "redis"):
            self.redis.pause()
            await asyncio.sleep(planned.lasts)
            self.redis.resume()

    async def redis_told(self, planned: Planned, *words: str) -> None:
        def tell() -> None:
            with redis.Redis(port=self.redis.port, socket_timeout=5) as client:
                client.execute_command(*words)

        async with self.noted(planned, "redis"):
            with contextlib.suppress(redis.RedisError):  # it may be down by another fault
                await asyncio.to_thread(tell)

    async def redis_emptied(self, planned: Planned) -> None:
        await self.redis_told(planned, "FLUSHALL")

    async def redis_cut(self, planned: Planned) -> None:
        for kind in ("normal", "pubsub"):
            await self.redis_told(planned, "CLIENT", "KILL", "TYPE", kind)

    # PostgreSQL

    async def database_restarted(self, planned: Planned) -> None:
        async with self.noted(planned, "database"):
            await asyncio.to_thread(self.postgres.stop)
            await asyncio.sleep(planned.lasts)
            await asyncio.to_thread(self.postgres.start)

    async def database_killed(self, planned: Planned) -> None:
        async with self.noted(planned, "database"):
            await asyncio.to_thread(self.postgres.kill)
            await asyncio.sleep(planned.lasts)
            await asyncio.to_thread(self.postgres.start)

    async def database_paused(self, planned: Planned) -> None:
        async with self.noted(planned, "database"):
            self.postgres.pause()
            await asyncio.sleep(planned.lasts)
            self.postgres.resume()

    async def database_cut(self, planned: Planned) -> None:
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        async with self.noted(planned, "database"):
            await asyncio.to_thread(self.told_postgres, statement)

    async def table_locked(self, planned: Planned) -> None:
        table = TABLES[planned.target % len(TABLES)]
        statement = f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({planned.lasts})"
        async with self.noted(planned, "database"):
            await asyncio.to_thread(self.told_postgres, statement)

    def told_postgres(self, statement: str) -> None:
        # It may be down by another fault, or go down in the middle of this one.
        with (
            contextlib.suppress(psycopg.Error),
            psycopg.connect(self.postgres.database_url(DATABASE), connect_timeout=5) as session,
        ):
            session.execute(statement)

    # SQLite

    async def file_locked(self, planned: Planned) -> None:
        def lock() -> None:
            with contextlib.closing(sqlite3.connect(file_name(), timeout=10, isolation_level=None)) as session:
                session.execute("BEGIN EXCLUSIVE")
                time.sleep(planned.lasts)
                session.execute("ROLLBACK")

        async with self.noted(planned, "database"):
            with contextlib.suppress(sqlite3.OperationalError):
                await asyncio.to_thread(lock)

    async def more_writers(self, planned: Planned) -> None:
        ends = time.monotonic() + planned.lasts

        def write() -> None:
            with contextlib.closing(sqlite3.connect(file_name(), timeout=10, isolation_level=None)) as session:
                while time.monotonic() < ends:
                    with contextlib.suppress(sqlite3.OperationalError):
                        session.execute("UPDATE auth_user SET last_name = last_name")
                    time.sleep(0.001)

        async with self.noted(planned, "database"):
            await asyncio.gather(*(asyncio.to_thread(write) for _ in range(WRITERS)))

    # Rights

    async def guest_signed_out(self, planned: Planned) -> None:
        def sign_out(seat: GuestSeat) -> None:
            Session.objects.get(session_key=seat.session_key).delete()

        await self.take_rights(planned, sign_out)

    async def guest_removed(self, planned: Planned) -> None:
        def remove(seat: GuestSeat) -> None:
            Membership.objects.get(user_id=seat.user_id, conversation_id=seat.person.conversation).delete()

        await self.take_rights(planned, remove)

    async def guest_deactivated(self, planned: Planned) -> None:
        def deactivate(seat: GuestSeat) -> None:
            user = User.objects.get(pk=seat.user_id)
            user.is_active = False
            user.save(update_fields=["is_active"])

        await self.take_rights(planned, deactivate)

    async def take_rights(self, planned: Planned, take: Callable[[GuestSeat], None]) -> None:
        """Take the rights of the next guest, in this process, which serves nobody: as a management command does."""
        if not self.guests:
            return
        seat = self.guests.pop()
        async with self.noted(planned, "rights"):
            await asyncio.to_thread(until_it_works, take, seat)
        transport = "event stream" if isinstance(seat.person.tab, StreamTab) else "socket"
        guest = Guest(seat.person.name, planned.kind, transport, time.monotonic())
        self.records.guests.append(guest)
        self.taken.append((guest, seat.person))


def until_it_works(work: Callable[[Any], None], seat: GuestSeat) -> None:
    """The database may be away by another fault."""
    deadline = time.monotonic() + 30
    while True:
        try:
            work(seat)
            return
        except OperationalError:
            if time.monotonic() > deadline:
                raise
            connection.close()
            time.sleep(0.2)
        finally:
            close_old_connections()
            connection.close()


def file_name() -> str:
    return str(connection.settings_dict["NAME"])


FAULTS: dict[str, Callable[[Saboteur, Planned], Awaitable[None]]] = {
    "server killed": Saboteur.server_killed,
    "server terminated": Saboteur.server_terminated,
    "server frozen": Saboteur.server_frozen,
    "server stopped for twice its lease": Saboteur.server_stopped,
    "all connections cut": Saboteur.connections_cut,
    "upstream gone": Saboteur.upstream_gone,
    "guest signed out": Saboteur.guest_signed_out,
    "guest removed": Saboteur.guest_removed,
    "guest deactivated": Saboteur.guest_deactivated,
    "redis killed": Saboteur.redis_killed,
    "redis paused": Saboteur.redis_paused,
    "redis emptied": Saboteur.redis_emptied,
    "redis connections cut": Saboteur.redis_cut,
    "database restarted": Saboteur.database_restarted,
    "database killed": Saboteur.database_killed,
    "database paused": Saboteur.database_paused,
    "database connections cut": Saboteur.database_cut,
    "table locked": Saboteur.table_locked,
    "database file locked": Saboteur.file_locked,
    "eight more writers": Saboteur.more_writers,
}
