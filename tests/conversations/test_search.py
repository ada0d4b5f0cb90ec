"""Messages are found by what was said in them, as soon as they are committed and as long as they are there."""

from __future__ import annotations

import asyncio
import random
import re
import sqlite3
import unicodedata
from pathlib import Path

import pytest
from channels.db import database_sync_to_async
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from conversations import search
from conversations.excerpts import excerpt, marks_in
from conversations.models import Conversation, Membership, Message, Piece
from conversations.search import SearchTerms, matching, terms_of
from conversations.status import Status
from streaming import leases
from streaming.reply import Ending
from streaming.store import end_reply
from tests.conftest import Chat, LiveServer
from tests.services import TEST_ON

on_sqlite = pytest.mark.skipif(TEST_ON != "sqlite", reason="PostgreSQL does it by itself")


@pytest.fixture(autouse=True)
def patient(chat: Chat) -> None:
    chat(interval_seconds=0, running_per_user=1000)


def say(
    user: User, conversation: Conversation, question: str, answer: str = "", status: Status = Status.DONE
) -> Message:
    """A question, and the reply to it as the store ends it."""
    exchange = conversation.post(user, question, f"{conversation.messages.count()}")
    end(exchange.reply, answer, status)
    assert exchange.message is not None
    return exchange.message


def end(reply: Message, answer: str, status: Status = Status.DONE) -> None:
    run = leases.claim(reply.pk, "here")
    assert run is not None
    assert end_reply(run, reply.conversation_id, {"text": answer, "reasoning": "Because."}, Ending(status))


def found(query: str) -> list[str]:
    """The texts that are found, the newest first; on SQLite both while they are new and from the index."""
    hits = matching(query, Message.objects.order_by("-pk")).values_list("text", flat=True)
    new = list(hits)
    take_all_in()
    assert list(hits.all()) == new
    return new


def take_all_in() -> None:
    while search.take_in():
        pass


# What a text is found by

TEXTS = {
    "english": "How do I brew tea? Boil the water first.",
    "chinese": "请问数据库连接池应该怎么配置？",
    "japanese": "東京タワーへの行き方を教えて",
    "korean": "데이터베이스를 만들었습니다",
    "thai": "ภาษาไทยไม่เว้นวรรค",
    "russian": "Как заварить ЧАЙ?",
    "code": "```python\nrow = get_user_by_id(42)\nfoo.bar(x-1, 'C:\\temp')\n```",
    "mixed": "用Python写一个API接口",
    "wide": "ＡＢＣ ｶﾞｲﾄﾞ straße",
    "decomposed": unicodedata.normalize("NFD", "Café olé 한국"),
    "numbers": "Version 3.11.7 came on 2023-12-04 and weighs 1e5 0x1F bytes",
    "address": "See https://example.org/a/b?q=1&r=two or mail alice@example.org",
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("tea", "english"),
        ("TEA", "english"),
        ("water boil", "english"),
        ("brew wat", "english"),
        ("bre", "english"),
        ("数据", "chinese"),
        ("据库", "chinese"),
        ("数据库连接池", "chinese"),
        ("池", "chinese"),
        ("置", "chinese"),
        ("配置 数据库", "chinese"),
        ("東京", "japanese"),
        ("タワー", "japanese"),
        ("데이터", "korean"),
        ("ไทย", "thai"),
        ("чай", "russian"),
        ("завар", "russian"),
        ("get_user_by_id", "code"),
        ("get_user_by_id(42)", "code"),
        ("user_by", "code"),
        ("get_us", "code"),
        ("by_id", "code"),
        ("foo.bar()", "code"),
        ("foo.bar", "code"),
        ("C:\\temp", "code"),
        ("x-1", "code"),
        ("Python写", "mixed"),
        ("API接口", "mixed"),
        ("写一个api", "mixed"),
        ("abc", "wide"),
        ("ガイド", "wide"),
        ("STRASSE", "wide"),
        ("café", "decomposed"),
        ("한국", "decomposed"),
        ("3.11.7", "numbers"),
        ("3.11", "numbers"),
        ("2023-12-04", "numbers"),
        ("1e5", "numbers"),
        ("0x1f", "numbers"),
        ("example.org/a/b", "address"),
        ("alice@example.org", "address"),
        ("two", "address"),
    ],
)
def test_a_message_is_found_by_its_words(alice: User, conversation: Conversation, query: str, name: str) -> None:
    for text in TEXTS.values():
        say(alice, conversation, text)
    assert found(query) == [TEXTS[name]]
    assert marks_in(TEXTS[name], query) != []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query",
    [
        "rew",  # the end of a word
        "wat brew",  # a beginning that is not the last word
        "tea ",  # …and then:
        "wate ",  # a word that was ended by a blank
        "bo",  # too few letters to be a beginning
        "tea coffee",
        "据数",
        "库数",
        "get_id",
        "user_id",
        "bar.foo",
        "Because",  # reasoning is not searched
    ],
)
def test_a_message_is_not_found_by_what_it_does_not_say(alice: User, conversation: Conversation, query: str) -> None:
    for text in TEXTS.values():
        say(alice, conversation, text)
    assert found(query) == ([TEXTS["english"]] if query == "tea " else [])


NONSENSE = [
    "", " ", "\x00", "tea\x00", "*", '"', "'", "''", '"tea', "tea*", "t*", "(", ")", "(tea", "tea AND", "AND OR NOT", "NEAR(tea)",
    "-tea", "+tea", "^tea", "terms:tea", "terms : tea", "rowid:1", "{terms}", "tea:*", "tea:A", "!tea", "tea & ", "a | b", "<->",
    "tea <-> brew", "\\", "\\'", "%", "%s", "%(x)s", "_", "__", "a_", "_a", "[a-z]", ".*", "?", "。，！", "🎉", "👩‍👩‍👧", "tea 🎉", "\ud800",
    "\udfff tea", "\ufeff", "\u200b", "\u0301", "ı", "İ", "ﷺ", "ﷺ" * 500, "x" * 10_000, "x " * 5_000, "数" * 10_000, "a_" * 5_000,
    '"' * 10_000, "(" * 10_000, "𠀀𠀁", "𝒳𝒴", "'; DROP TABLE x; --", '" OR "a" = "a',
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("query", NONSENSE, ids=lambda query: repr(query[:12]))
def test_nothing_that_can_be_typed_is_wrong(alice: User, conversation: Conversation, query: str) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water.")
    assert set(found(query)) <= {"How do I brew tea?", "Boil water."}
    shown = excerpt(f"How do I brew {query} tea? {query}", query)
    assert all(0 <= start < end <= len(shown.text) for start, end in shown.marks)


@pytest.mark.django_db
def test_whatever_was_said_is_found_by_any_part_of_it(alice: User, conversation: Conversation) -> None:
    """Texts and queries of what breaks parsers: the same on both databases."""
    chance = random.Random(4)
    alphabet = [
        "tea",
        "Ab",
        "數",
        "据",
        "库",
        " ",
        " ",
        "\n",
        "_",
        ".",
        "-",
        "'",
        '"',
        "*",
        "ß",
        "é",
        "42",
        "🎉",
        "ｱ",
        "и",
        "%",
        "\\",
        "&",
    ]
    texts = ["".join(chance.choices(alphabet, k=12)) for _ in range(60)]
    kept = {say(alice, conversation, text).text for text in texts if text.strip()}
    for text in kept:
        words = text.split()
        first = chance.randrange(len(words))
        query = " ".join(words[first : first + 3])
        assert not terms_of(query) or text in found(query), (text, query)


@pytest.mark.django_db
def test_a_text_of_any_length_and_script_can_be_indexed(alice: User, conversation: Conversation) -> None:
    chance = random.Random(4)
    everything = [chr(code) for code in range(0x20, 0x30000) if chr(code).isalnum()]
    for text in ("".join(chance.choices(everything, k=300_000)), "ﷺ" * 300_000, "x" * 1_000_000, "𠀀" * 300_000):
        end(conversation.post(alice, "More!", f"{len(text)}-{text[:3]}").reply, f"needle {text}")
        assert found("needle")[0] == f"needle {text}"


# What is indexed, and when


@pytest.mark.django_db
def test_a_question_is_found_at_once_and_a_reply_from_its_end_on(alice: User, conversation: Conversation) -> None:
    reply = conversation.post(alice, "How do I brew tea?", "1").reply
    Piece.objects.create(reply=reply, part="text", start=0, text="Boil water.")
    assert found("brew") == ["How do I brew tea?"]
    assert found("boil") == []
    end(reply, "Boil water.", Status.STOPPED)
    assert found("boil") == ["Boil water."]


@pytest.mark.django_db
def test_both_wordings_of_an_edited_question_are_found(alice: User, conversation: Conversation) -> None:
    asked = say(alice, conversation, "How do I brew tea?")
    conversation.edit(alice, str(asked.pk), "2", "How do I brew coffee?")
    assert found("brew") == ["How do I brew coffee?", "How do I brew tea?"]


@pytest.mark.django_db
def test_what_was_not_committed_is_not_found(alice: User, conversation: Conversation) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        say(alice, conversation, "How do I brew tea?", "Boil water.")
        assert len(found("brew")) == 1
        raise ZeroDivisionError
    assert found("brew") == found("boil") == []


@pytest.mark.django_db
@pytest.mark.parametrize("status", [Status.DONE, Status.STOPPED, Status.INTERRUPTED, Status.FAILED])
def test_no_command_forgets_to_index_what_it_commits(alice: User, status: Status) -> None:
    conversation = Conversation.begin(alice, "question begun", "1")
    first = conversation.messages.get(role="assistant")
    end(first, "answer first", status)
    conversation.edit(alice, str(first.parent_id), "2", "question edited")
    end(conversation.retry(alice, str(first.pk), "3").reply, "answer again", status)
    end(conversation.post(alice, "question posted", "4", parent=str(first.pk)).reply, "answer posted", status)
    if status != Status.DONE:
        end(conversation.continue_reply(alice, str(first.pk), "5").reply, "answer first continued", status)
    stands = set(Message.objects.exclude(text="").values_list("pk", flat=True))
    assert len(stands) >= 6
    assert set(SearchTerms.objects.values_list("pk", flat=True)) == stands
    assert len(found("question")) + len(found("answer")) == len(stands)


@pytest.mark.django_db
def test_messages_that_are_there_are_indexed_in_batches(
    alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        say(alice, conversation, f"tea number {number}", "数据库")
    running = conversation.post(alice, "tea for two", "running").reply
    SearchTerms.objects.filter(pk__gt=Message.objects.earliest("pk").pk).delete()
    assert len(found("tea")) == 1
    monkeypatch.setattr(search, "BATCH", 3)
    for _ in range(2):  # the second time there is nothing to do
        search.fill(Message.objects.all(), SearchTerms.objects.all())
    assert len(found("tea")) == 6
    assert len(found("数据")) == 5
    assert SearchTerms.objects.count() == 11
    end(running, "two teas")
    assert found("two teas") == ["two teas"]


@on_sqlite
@pytest.mark.django_db
def test_terms_are_not_changed_behind_the_index(alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?")
    with pytest.raises(IntegrityError), transaction.atomic():
        SearchTerms.objects.update(terms={"coffee"})


# What is gone


def indexed() -> set[str]:
    """Whatever the index knows of, whether a message has it or not."""
    take_all_in()
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT DISTINCT unnest(tsvector_to_array(terms)) FROM conversations_searchterms")
        else:
            cursor.execute("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, conversations_searchindex, row)")
            cursor.execute("SELECT term FROM temp.vocabulary")
        terms = {term for (term,) in cursor.fetchall()}
        if connection.vendor == "sqlite":
            cursor.execute("DROP TABLE temp.vocabulary")
    return terms


@pytest.mark.django_db
def test_what_was_erased_is_not_found(alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water.")
    other = Conversation.start(alice)
    say(alice, other, "And coffee?", "Grind beans.")
    assert {"brew", "coffee"} <= indexed()
    conversation.erase()
    assert indexed() == terms_of("And coffee?") | terms_of("Grind beans.")
    assert found("brew") == []
    assert found("coffee") == ["And coffee?"]
    assert SearchTerms.objects.count() == 2


def to_forget() -> tuple[bool, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT is_due, stage FROM conversations_searcherased")
        is_due, stage = cursor.fetchone()
    return bool(is_due), stage


def in_the_file() -> bytes:
    name = str(connection.settings_dict["NAME"])
    return b"".join(Path(f"{name}{end}").read_bytes() for end in ("", "-wal"))


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_no_word_of_an_erased_conversation_stays_in_the_file(
    alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGES_PER_STEP", 2)
    other = Conversation.start(alice)
    for number in range(60):
        say(alice, conversation, f"secretone{number} 秘密 of alice", "secretwo " * 50)
        say(alice, other, f"lasting{number} 长久", "forever " * 50)
        if number % 7 == 0:
            take_all_in()
    take_all_in()
    before = in_the_file()
    assert all(word in before for word in (b"secretone59", b"secretwo", "秘_密".encode(), b"lasting59"))
    conversation.erase()
    while to_forget() != (False, 0):
        search.tend_index()
    after = in_the_file()
    assert [word for word in (b"secretone", b"secretwo", "秘密".encode(), "秘_密".encode()) if word in after] == []
    assert b"lasting59" in after
    assert len(found("lasting59 长久")) == len(found("lasting0 长久")) == 1
    other.erase()
    while to_forget() != (False, 0):
        search.tend_index()
    assert b"lasting" not in in_the_file()


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_what_is_taken_in_at_once_is_bounded_also_where_messages_are_long(
    alice: User, conversation: Conversation
) -> None:
    def waiting() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM conversations_searchfresh")
            return int(cursor.fetchone()[0])

    say(alice, conversation, "long" + " ".join(f"word{number}" for number in range(500)))
    for _ in range(3):
        say(alice, conversation, "short", "words")
    steps = []
    while search.take_in(characters=1000):
        steps.append(waiting())
    assert steps == [6, 0]
    assert len(found("word499")) == 1


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_erasing_begins_to_forget(alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water.")
    conversation.erase()
    assert not to_forget()[0]


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_what_is_erased_while_it_forgets_is_forgotten_too(
    alice: User, conversation: Conversation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGES_PER_STEP", 1)
    others = [Conversation.start(alice) for _ in range(2)]
    for number in range(40):
        for each in (conversation, *others):
            say(alice, each, f"{'abc'[(conversation, *others).index(each)]}word{number} " * 20)
    take_all_in()
    conversation.delete()
    search.tend_index(0)
    assert to_forget() == (False, search.Stage.MERGING)
    others[0].delete()
    assert to_forget() == (True, search.Stage.MERGING)
    while to_forget() != (False, 0):
        search.tend_index()
    after = in_the_file()
    assert b"aword1" not in after
    assert b"bword1" not in after
    assert b"cword1" in after


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_somebody_who_reads_holds_up_forgetting_and_nobody_else(alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water.")
    reader = sqlite3.connect(str(connection.settings_dict["NAME"]), isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM conversations_message").fetchone()
    conversation.delete()
    for _ in range(5):
        search.tend_index()
    assert to_forget() == (False, search.Stage.EMPTYING_JOURNAL)
    Conversation.start(alice)
    reader.close()
    search.tend_index()
    assert to_forget() == (False, 0)


@on_sqlite
@pytest.mark.django_db(transaction=True)
async def test_a_running_process_forgets_what_was_erased(alice: User, server: LiveServer) -> None:
    def say_and_erase() -> None:
        conversation = Conversation.start(alice)
        # No reply: the process would take it.
        said = conversation.messages.create(role="user", text="How do I brew tea?", status=Status.DONE)
        search.index(said.pk, said.text)
        with transaction.atomic():
            conversation.delete()
            assert to_forget()[0]

    await database_sync_to_async(say_and_erase)()
    async with asyncio.timeout(20), await server.client(None) as client:
        await client.get("/")
        while await database_sync_to_async(to_forget)() != (False, 0):
            await asyncio.sleep(0.1)


# Who finds what


@pytest.mark.django_db
def test_a_person_finds_what_was_said_where_she_may_look(alice: User, bob: User, charlie: User) -> None:
    for owner in (alice, bob):
        say(owner, Conversation.start(owner), f"How does {owner.username} brew tea?")

    def found_by(user: User) -> list[str]:
        messages = Message.objects.filter(conversation__in=Conversation.objects.visible_to(user))
        return [message.text for message in matching("brew tea", messages)]

    assert found_by(alice) == ["How does alice brew tea?"]
    assert found_by(charlie) == []
    Membership.objects.create(conversation=Conversation.objects.get(members=bob), user=alice)
    assert sorted(found_by(alice)) == ["How does alice brew tea?", "How does bob brew tea?"]


@pytest.mark.django_db
def test_hits_come_in_pages_of_one_query_each(alice: User, conversation: Conversation) -> None:
    said = [say(alice, conversation, f"tea number {number}") for number in range(7)]
    hits = matching("tea", Message.objects.order_by("-pk"))
    with CaptureQueriesContext(connection) as captured:
        first = list(hits[:3])
        second = list(hits.filter(pk__lt=first[-1].pk)[:3])
    assert len(captured) == 2
    assert [message.pk for message in first + second] == [message.pk for message in said[:0:-1]]


@on_sqlite
@pytest.mark.django_db
def test_a_search_reads_no_table_from_end_to_end(alice: User, conversation: Conversation) -> None:
    say(alice, conversation, "How do I brew tea?", "Boil water.")
    mine = Message.objects.filter(conversation__in=Conversation.objects.visible_to(alice).values("pk"))
    plan = matching("brew tea", mine.order_by("-pk"))[:20].explain()
    assert "VIRTUAL TABLE" in plan
    assert re.findall(r"SCAN (?!conversations_searchindex VIRTUAL|conversations_searchfresh)\S+", plan) == []


@pytest.mark.django_db
def test_an_empty_query_finds_nothing_and_asks_nothing(conversation: Conversation) -> None:
    with CaptureQueriesContext(connection) as captured:
        assert list(matching(" ,.! ", Message.objects.all())) == []
    assert len(captured) == 0


# Excerpts


def marked(text: str, query: str, length: int = 160) -> str:
    shown = excerpt(text, query, length)
    said = shown.text
    for start, end in reversed(shown.marks):
        said = f"{said[:start]}[{said[start:end]}]{said[end:]}"
    return said


@pytest.mark.parametrize(
    ("text", "query", "shown"),
    [
        ("How do I brew tea? Tea!", "tea", "How do I brew [tea]? [Tea]!"),
        ("Brewing a brew, brewed.", "brew", "[Brew]ing a [brew], [brew]ed."),
        ("Brewing a brew, brewed.", "brew ", "Brewing a [brew], brewed."),
        ("Call get_user_by_id(1)", "get_user_by_id", "Call [get_user_by_id](1)"),
        ("a foo.bar() and a bar", "foo.bar()", "a [foo.bar]() and a bar"),
        ("数据库，连接数据库", "数据库", "[数据库]，连接[数据库]"),
        ("调用API接口", "api", "调用[API]接口"),
        ("Die STRASSE, die Straße", "straße ", "Die [STRASSE], die [Straße]"),
        (unicodedata.normalize("NFD", "Ein Café"), "café", unicodedata.normalize("NFD", "Ein [Café]")),
        ("line one\nline two", "two", "line one line [two]"),
        ("nothing here", "tea", "nothing here"),
        ("🎉 tea 🎉", "tea", "🎉 [tea] 🎉"),
    ],
)
def test_an_excerpt_marks_what_was_looked_for(text: str, query: str, shown: str) -> None:
    assert marked(text, query) == shown


def test_an_excerpt_is_the_part_around_the_first_hit() -> None:
    text = "word " * 100 + "needle " + "more " * 100
    shown = marked(text, "needle", 60)
    assert shown == "…word word word [needle] more more more more more more more…"
    assert len(excerpt("x" * 1000, "y", 60).text) == 61
    assert marked("数" * 1000 + "据库" + "字" * 1000, "据库", 20) == "…" + "数" * 5 + "[据库]" + "字" * 13 + "…"
