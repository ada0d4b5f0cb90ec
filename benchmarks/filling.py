"""A database with a history, made quickly: rows as the product would have written them, put in with the database's own tools.

Conversations go on at the same time, as those of many people do, so that the messages of one do not stand beside each other.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Protocol

import psycopg

#: Conversations that go on at the same time, and exchanges that are put in at once.
AT_ONCE, BATCH = 500, 20_000
YEARS = timedelta(days=730)
EARLY = 100
MODELS = ("bench", "small", "large")
CHANGE = "conversations_change", ("conversation_id", "version", "kind", "message_id", "data", "created_at")
RUN = (
    "streaming_run",
    (
        *("reply_id", "owner", "epoch", "attempts", "stop_requested", "waiting_reason", "prompt_tokens"),
        *("completion_tokens", "estimated", "started_at", "first_token_at", "ended_at"),
    ),
)
MESSAGE = (
    "conversations_message",
    (
        *(
            "id",
            "conversation_id",
            "parent_id",
            "role",
            "author_id",
            "asked_by_id",
            "text",
            "reasoning",
            "status",
            "model",
        ),
        *("provider", "finish_reason", "error", "usage", "client_id", "created_at", "ended_at"),
    ),
)
USER = (
    "auth_user",
    (
        *("id", "password", "is_superuser", "username", "first_name", "last_name", "email", "is_staff", "is_active"),
        "date_joined",
    ),
)
CONVERSATION = (
    "conversations_conversation",
    (*("id", "title", "model", "system_prompt", "head_id", "version", "created_at", "updated_at"),),
)
MEMBERSHIP = (
    "conversations_membership",
    (*("conversation_id", "user_id", "role", "seen_version", "joined_at", "updated_at"),),
)

TERMS = "conversations_searchterms", ("message_id", "terms")
GIN = "conversations.migrations.0003_fill_searchterms"

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Size:
    """How much there is. Of the conversations `mine` belong to one person, and one of these has `longest` messages."""

    messages: int
    conversations: int
    people: int
    mine: int
    longest: int


WITHOUT_PUNCTUATION = str.maketrans("", "", "，。?")

#: Every conversation of the one person has as many messages, but for the long one.
MESSAGES_OF_MINE = 8


@dataclass
class Talk:
    """One conversation while it is written."""

    id: str
    user: int
    exchanges: int
    title: str = ""
    head: int | None = None
    version: int = 0
    began: str = ""
    ended: str = ""


class Words:
    """Texts of a few hundred characters, no two alike, every tenth of them Chinese; some words are said often, most are not."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        syllables = [
            first + second for first in "bdfgklmnprstvw" for second in ("a", "e", "i", "o", "u", "an", "er", "ing")
        ]
        words = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3, 4)))) for _ in range(20_000)]
        signs = [chr(code) for code in chance.sample(range(0x4E00, 0x9FA5), 3_000)]
        #: Two that stand together in one of some dozens of messages.
        self.pair = f"{words[20]} {words[30]}"
        self.latin = " ".join(self.said(words, 400_000))
        self.chinese = "".join(self.said([*signs, "，", "。"], 1_000_000))

    def said(self, words: Sequence[str], count: int) -> list[str]:
        weights = itertools.accumulate(1 / (rank + 10) for rank in range(len(words)))
        return self.chance.choices(words, cum_weights=list(weights), k=count)

    def text(self, usual: int) -> tuple[str, set[str]]:
        """Return a text of about so many characters, and the terms that the search knows it by."""
        length = int(self.chance.lognormvariate(0, 0.6) * usual) + 2
        corpus = self.latin
        if is_chinese := self.chance.random() < 0.1:
            corpus, length = self.chinese, length // 3 + 2
        start = int(self.chance.random() * (len(corpus) - length))
        text = corpus[start : start + length].strip() or "?"
        if not is_chinese:
            return text, set(text.split())
        signs = text.translate(WITHOUT_PUNCTUATION)
        return text, {*signs, *map("_".join, itertools.pairwise(signs))}


@dataclass
class Filling:
    """The history of one installation. `person` is the key of somebody who is there already."""

    size: Size
    person: int
    chance: random.Random = field(default_factory=lambda: random.Random(4))
    talks: list[Talk] = field(default_factory=list)
    #: The first messages of the long conversation.
    early: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.words = Words(self.chance)
        others = self.size.conversations - self.size.mine
        exchanges = (self.size.messages - self.size.longest - (self.size.mine - 1) * MESSAGES_OF_MINE) // 2
        self.long = self.talk(self.person, self.size.longest // 2)
        self.mine = [self.talk(self.person, MESSAGES_OF_MINE // 2) for _ in range(self.size.mine - 1)]
        share, more = divmod(exchanges, others)
        self.talks = [self.talk(self.other(place), share + (place < more)) for place in range(others)] + self.mine
        self.chance.shuffle(self.talks)
        self.step = YEARS / (self.size.messages // 2)
        self.now = datetime.now(UTC).replace(tzinfo=None) - YEARS

    def other(self, place: int) -> int:
        return self.person + 1_000 + place % self.size.people

    def talk(self, user: int, exchanges: int) -> Talk:
        return Talk(f"{self.chance.getrandbits(128):032x}", user, exchanges)

    def order(self) -> Iterator[Talk]:
        """Return whose turn it is, in the order of time; the long one goes on all the time."""
        between = max((self.size.messages // 2 - self.long.exchanges) // self.long.exchanges, 1)
        left = self.long.exchanges
        for count, talk in enumerate(self.others_in_order()):
            if left and count % between == 0:
                left -= 1
                yield self.long
            yield talk
        yield from itertools.repeat(self.long, left)

    def others_in_order(self) -> Iterator[Talk]:
        for first in range(0, len(self.talks), AT_ONCE):
            together = self.talks[first : first + AT_ONCE]
            for turn in range(max(talk.exchanges for talk in together)):
                yield from (talk for talk in together if turn < talk.exchanges)

    def put_into(self, url: str) -> None:
        from conversations.search import terms_of

        examples = [self.words.text(300) for _ in range(50)]
        assert all(terms == terms_of(text) for text, terms in examples), "the search knows texts by other terms"
        with destination(url) as database:
            database.put(USER, (self.user_row(number) for number in range(self.size.people)))
            key = itertools.count(1, 2)
            for talks in batched(self.order()):
                messages: Rows = []
                changes: Rows = []
                runs: Rows = []
                terms: Rows = []
                for talk in talks:
                    self.exchange(talk, next(key), messages, changes, runs, terms)
                database.put(MESSAGE, messages)
                database.put(CHANGE, changes)
                database.put(RUN, runs)
                database.put(TERMS, ((message, database.terms(found)) for message, found in terms if found))
            everything = [self.long, *self.talks]
            database.put(CONVERSATION, map(conversation_row, everything))
            database.put(MEMBERSHIP, map(membership_row, everything))

    def user_row(self, number: int) -> tuple[Any, ...]:
        name = f"user{number}"
        return (self.other(number), "!", 0, name, "", "", f"{name}@example.org", 0, 1, str(self.now))

    def exchange(self, talk: Talk, key: int, messages: Rows, changes: Rows, runs: Rows, terms: Rows) -> None:
        """Write down a question and the reply to it, with all that belongs to them."""
        asked, answered = str(self.now), str(self.now + self.step / 2)
        self.now += self.step
        (question, asked_for), (answer, found_by) = self.words.text(120), self.words.text(450)
        terms += [(key, asked_for), (key + 1, found_by)]
        model = MODELS[key % 7 % 3]
        failed = key % 9 == 0
        client_id = f"{self.chance.getrandbits(128):032x}"
        ask = (
            key,
            talk.id,
            talk.head,
            "user",
            talk.user,
            None,
            question,
            "",
            "done",
            "",
            "",
            "",
            None,
            None,
            client_id,
        )
        messages.append((*ask, asked, None))
        status, end, error = ("failed", "", ERROR) if failed else ("done", "stop", None)
        reply = (key + 1, talk.id, key, "assistant", None, talk.user, answer, "", status, model, "Home", end, error)
        messages.append((*reply, USAGE, None, asked, answered))
        runs.append((key + 1, "", 1, 1, 0, "", 300, 120, 0, asked, answered, answered))
        told: list[tuple[str, int | None, Any]] = [
            ("message_created", key, {"head": str(key)}),
            ("message_created", key + 1, {"head": str(key + 1)}),
        ]
        if not talk.title:
            talk.title, talk.began = " ".join(question.split())[:60], asked
            told.append(("conversation_changed", None, {"title": talk.title}))
        told.append(("reply_ended", key + 1, None))
        for kind, message, data in told:
            talk.version += 1
            as_json = None if data is None else json.dumps(data)
            changes.append((talk.id, talk.version, kind, message, as_json, answered))
        talk.head, talk.ended = key + 1, answered
        if talk is self.long and len(self.early) < EARLY:
            self.early += [key, key + 1]


ERROR = json.dumps({"code": "overloaded", "detail": "The model is overloaded.", "retryable": True})
USAGE = json.dumps({"prompt_tokens": 300, "completion_tokens": 120, "cost": None, "estimated": False})


def batched(talks: Iterator[Talk]) -> Iterator[list[Talk]]:
    while batch := list(itertools.islice(talks, BATCH)):
        yield batch


def conversation_row(talk: Talk) -> tuple[Any, ...]:
    return (talk.id, talk.title, "", "", talk.head, talk.version, talk.began, talk.ended)


def membership_row(talk: Talk) -> tuple[Any, ...]:
    return (talk.id, talk.user, "owner", talk.version, talk.began, talk.ended)


# The databases

Table = tuple[str, Sequence[str]]


class Database(Protocol):
    """Takes rows. Left, it is as one that has been at work for years: its statistics are what autovacuum makes them."""

    def put(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None: ...
    def terms(self, found: set[str]) -> str: ...
    def __enter__(self) -> Database: ...
    def __exit__(self, *error: object) -> None: ...


def destination(url: str) -> Database:
    return SQLite(url.removeprefix("sqlite:///")) if url.startswith("sqlite:") else PostgreSQL(url)


class SQLite:
    def __init__(self, path: str) -> None:
        self.session = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> SQLite:
        self.session.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-500000; BEGIN")
        name = "conversations_searchterms_inserted"
        (self.trigger,) = self.session.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
        self.session.execute(f"DROP TRIGGER {name}")
        return self

    def put(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        name, columns = table
        holders = ", ".join("?" * len(columns))
        self.session.executemany(f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({holders})", rows)

    def terms(self, found: set[str]) -> str:
        return f" {' '.join(found)} "

    def index(self) -> None:
        """Put all terms into the index at once, in larger parts than are made of what comes bit by bit."""
        tell = "INSERT INTO conversations_searchindex (conversations_searchindex, rank) VALUES ('hashsize', ?)"
        self.session.execute(tell, (2**28,))
        self.session.execute("INSERT INTO conversations_searchindex (conversations_searchindex) VALUES ('rebuild')")
        self.session.execute(tell, (2**20,))
        self.session.execute(self.trigger)

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.index()
            self.session.execute("COMMIT")
            self.session.execute("PRAGMA journal_mode=WAL")
        self.session.close()


class PostgreSQL:
    def __init__(self, url: str) -> None:
        self.session = psycopg.connect(url, autocommit=True)

    def __enter__(self) -> PostgreSQL:
        # What refers to what is right by construction; to have it checked row by row would take a minute.
        self.session.execute("SET session_replication_role = replica")
        self.session.execute("SET timezone TO 'UTC'")
        self.session.execute("SET maintenance_work_mem TO '512MB'")
        self.session.execute("DROP INDEX conversations_searchterms_gin")
        return self

    def put(self, table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
        name, columns = table
        statement = f"COPY {name} ({', '.join(columns)}) FROM STDIN"
        with self.session.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)

    def terms(self, found: set[str]) -> str:
        return " ".join(f"'{term}'" for term in found)

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.session.execute(import_module(GIN).GIN.encode())
            # The next message is given the number after the last one.
            self.session.execute(
                "SELECT setval(pg_get_serial_sequence('conversations_message', 'id'), (SELECT max(id) FROM conversations_message))"
            )
            self.session.execute("VACUUM ANALYZE")
        self.session.close()


def copy_of(url: str, name: str) -> str:
    """Make another database that has what this one has, and return its address. Who is connected to it here is sent away."""
    if url.startswith("sqlite:"):
        path = url.removeprefix("sqlite:///")
        session = sqlite3.connect(path)
        session.execute("VACUUM INTO ?", (f"{path}.{name}",))
        session.close()
        return f"sqlite:///{path}.{name}"
    server, original = url.rsplit("/", 1)
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (original,))
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {original}".encode())
    return f"{server}/{name}"
