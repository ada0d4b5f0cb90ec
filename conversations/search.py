"""Finding messages by what was said: the only module that knows how text is searched.

A text is searched by its terms: its words in small letters, and each two words that nothing but punctuation stands between,
`get_user` and `user_by` of `get_user_by_id`. Where a language writes no blanks each character is a word, so that 数据库
has the terms 数, 据, 库, 数_据 and 据_库. All of a query's terms must be in one message. That needs neither a dictionary nor
the places of words: PostgreSQL keeps at most 256 places of a word and none beyond the 16,383rd, so a phrase far down in a long
reply would not be found by its places.

The terms of a message are a row of `SearchTerms`, written in the transaction that commits the text, and gone with the message.
PostgreSQL has a GIN index on them, SQLite an FTS5 table. Both put what is new on a list first, and into the index later,
many at once: to FTS5 each message by itself would be half as much work as all else that ends a reply. A search looks through
both.
"""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from django.db import connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models import Exists, OuterRef, Q
from django.db.models.expressions import RawSQL

from .prepared import insert

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from .models import Message

#: The FTS5 table of SQLite.
INDEX = "conversations_searchindex"
#: So much of a message can be found: the terms of that fit into a tsvector, which may be 1 MiB, whatever the script.
LONGEST_TEXT = 65_536
#: So much of a query counts: a sentence or two, pasted.
LONGEST_QUERY = 400
#: Messages that are indexed in one transaction, where many are.
BATCH = 500
#: What FTS5 takes in in one transaction while replies want to be written: so many messages, with so many characters of
TAKEN_IN_AT_ONCE = 50
#: terms, and
CHARACTERS_AT_ONCE = 20_000
#: pages of its index that are merged in one: some ten milliseconds each.
PAGES_PER_STEP = 50
#: What is found in so many messages is found often.
OFTEN = 10_000
#: So many of the newest hits are looked at first, and so many next, before all of them are collected.
FIRST_HITS = (100, 1_000)
#: A beginning is asked for as the words that begin so, if they are no more than
MOST_WORDS = 60
LAST_LETTER = "\U0010ffff"
#: Behind the key of every message.
NO_KEY = 2**63 - 1
#: The word that is being typed is found from so many letters on; fewer begin most of all words.
SHORTEST_BEGINNING = 3

# Thai, Lao, Myanmar, Hangul, Khmer, Chinese and Japanese: found by any part of what was written.
WITHOUT_BLANKS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u318f\u31a0-\u31bf"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
# A run of letters that is longer than a word is cut; the pairs hold it together.
WORD = re.compile(rf"(?=[^\W_])[{WITHOUT_BLANKS}]|[^\W_{WITHOUT_BLANKS}]{{1,32}}")


# Text to terms


def folded(text: str) -> str:
    """Return `text` as it is compared: without large letters, and each character in the one way to write it."""
    return unicodedata.normalize("NFKC", text).casefold()


def terms_of(text: str) -> set[str]:
    """Return what a text is found by."""
    terms: set[str] = set()
    for chunk in set(folded(text[:LONGEST_TEXT])[:LONGEST_TEXT].split()):
        words = WORD.findall(chunk)
        terms.update(words)
        terms.update(map("_".join, pairwise(words)))
    return terms


@dataclass(frozen=True)
class Query:
    """What a person looks for: terms, and beginnings of some."""

    terms: tuple[str, ...]
    beginnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms or self.beginnings)


def parse(query: str) -> Query:
    """Read what a person has typed. There is no syntax in it, and nothing is wrong."""
    text = folded(query[:LONGEST_QUERY])
    chunks = [words for chunk in text.split() if (words := WORD.findall(chunk))]
    terms = dict.fromkeys(term for words in chunks for term in required(words))
    if not chunks or not is_being_typed(text, chunks[-1]):
        return Query(tuple(terms))
    beginning = required(chunks[-1])[-1]
    return Query(tuple(term for term in terms if term != beginning), (beginning,))


def parse_each(words: Iterable[str]) -> Query:
    """Read words each of which may go on."""
    asked = [parse(word) for word in words]
    terms = dict.fromkeys(term for each in asked for term in each.terms)
    return Query(tuple(terms), tuple(dict.fromkeys(begun for each in asked for begun in each.beginnings)))


def as_query(query: str | Query) -> Query:
    return parse(query) if isinstance(query, str) else query


def required(words: Sequence[str]) -> list[str]:
    """Return the terms of words that stand side by side. The pairs have the words in them."""
    return ["_".join(pair) for pair in pairwise(words)] or list(words)


def is_being_typed(text: str, words: Sequence[str]) -> bool:
    """May the last word go on? Not behind a blank or a bracket, nor where a character is a word."""
    last = words[-1]
    is_open = text.endswith(last) and not re.match(f"[{WITHOUT_BLANKS}]", last)
    return is_open and len(required(words)[-1]) >= SHORTEST_BEGINNING


# Rows


class TermsField(models.Field):  # type: ignore[type-arg] # is not generic when it runs
    """A tsvector without places on PostgreSQL; on SQLite the terms with blanks around them, for FTS5."""

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "tsvector" if connection.vendor == "postgresql" else "text"

    def get_placeholder(self, value: Any, compiler: Any, connection: BaseDatabaseWrapper) -> str:
        # Not to_tsvector, whose parser has ideas of its own about numbers and addresses.
        return "array_to_tsvector(%s::text[])" if connection.vendor == "postgresql" else "%s"

    def get_db_prep_value(self, value: Any, connection: BaseDatabaseWrapper, prepared: bool = False) -> Any:
        return list(value) if connection.vendor == "postgresql" else f" {' '.join(value)} "


class SearchTerms(models.Model):
    """What one message is found by. A reply has them from its end on."""

    message = models.OneToOneField("Message", models.CASCADE, primary_key=True, related_name="+")
    terms = TermsField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"terms of message {self.pk}"


def index(message_id: int, text: str) -> None:
    """Let a message be found. Belongs into the transaction that commits its text."""
    if terms := terms_of(text):
        insert(SearchTerms(message_id=message_id, terms=terms))


def fill(messages: QuerySet[Any], entries: QuerySet[Any]) -> None:
    """Index what is not indexed yet, in batches that are committed one by one: it can be broken off and begun again."""
    unknown = messages.exclude(text="").exclude(Exists(entries.filter(pk=OuterRef("pk")))).order_by("pk")
    last = 0
    while rows := list(unknown.filter(pk__gt=last).values_list("pk", "text")[:BATCH]):
        last = rows[-1][0]
        found = ((pk, terms_of(text)) for pk, text in rows)
        entries.bulk_create((entries.model(pk=pk, terms=terms) for pk, terms in found if terms), ignore_conflicts=True)
        take_in(BATCH, BATCH * LONGEST_TEXT)


# SQLite's index

# FTS5 notes that a row is gone; its words stay in the file until they are merged with that note, which may be never. So
# what was erased is merged soon, in steps of milliseconds: in between, replies want to be written. (FTS5 of SQLite 3.42 and
# newer can forget at once, by `secure-delete`, but no older SQLite reads the file after that.)


def tend_index(seconds: float = 0.05) -> None:
    """Take in what is new and remove the words of what was erased, for about so long. PostgreSQL does it by itself."""
    end = time.monotonic() + seconds
    while tend_index_once() and time.monotonic() < end:
        pass


def tend_index_once() -> bool:
    """Do one step of it. False where nothing is left to do, or nothing can be done just now."""
    if connection.vendor != "sqlite":
        return False
    with connection.cursor() as cursor:
        return take_in() or _forget_on(cursor)


def take_in(count: int = TAKEN_IN_AT_ONCE, characters: int = CHARACTERS_AT_ONCE) -> bool:
    """Put some of the entries that are new into the index. False where there are none."""
    if connection.vendor != "sqlite":
        return False
    with connection.cursor() as cursor:
        # All of it: a statement that is still being read would hold an old view of the file, on which nothing is written.
        new = cursor.execute(NEW_ENTRIES, [count]).fetchall()
        if not new:
            return False
        sizes = accumulate(size for _, size in new)
        # The first one however long it is.
        last = max([new[0][0], *(pk for (pk, _), size in zip(new, sizes, strict=True) if size <= characters)])
        some = "SELECT message_id FROM conversations_searchfresh WHERE message_id <= %s"
        with transaction.atomic():
            entries = f"SELECT message_id, terms FROM conversations_searchterms WHERE message_id IN ({some})"  # noqa: S608
            cursor.execute(f"INSERT INTO {INDEX} (rowid, terms) {entries}", [last])
            cursor.execute("DELETE FROM conversations_searchfresh WHERE message_id <= %s", [last])
    return True


NEW_ENTRIES = """
    SELECT message_id, COALESCE(LENGTH(terms), 0)
    FROM conversations_searchfresh LEFT JOIN conversations_searchterms USING (message_id)
    ORDER BY message_id LIMIT %s
"""


class Stage(models.IntegerChoices):
    RESTING = 0
    MERGING = 1
    #: What was overwritten stands in the journal still.
    EMPTYING_JOURNAL = 2


def _forget_on(cursor: CursorWrapper) -> bool:
    """Do one step. False where none is left, or none is possible just now."""
    is_due, stage = _state(cursor)
    if stage == Stage.EMPTYING_JOURNAL:
        return _empty_journal(cursor)
    if is_due or stage == Stage.MERGING:
        with transaction.atomic():
            _merge(cursor)
        return True
    return False


def _state(cursor: CursorWrapper) -> tuple[bool, int]:
    cursor.execute("SELECT is_due, stage FROM conversations_searcherased")
    is_due, stage = cursor.fetchone()
    return is_due, stage


def _merge(cursor: CursorWrapper) -> None:
    _, stage = _state(cursor)
    if stage == Stage.RESTING:
        cursor.execute("UPDATE conversations_searcherased SET is_due = 0, stage = %s", [Stage.MERGING])
    # A negative number begins with all there is, a positive one goes on.
    pages = PAGES_PER_STEP if stage == Stage.MERGING else -PAGES_PER_STEP
    before = connection.connection.total_changes
    cursor.execute(f"INSERT INTO {INDEX} ({INDEX}, rank) VALUES ('merge', %s)", [pages])  # noqa: S608
    if connection.connection.total_changes - before < 2:
        cursor.execute("UPDATE conversations_searcherased SET stage = %s", [Stage.EMPTYING_JOURNAL])


def _empty_journal(cursor: CursorWrapper) -> bool:
    """Write the journal back and begin it anew, if nobody reads in it just now."""
    (patience,) = cursor.execute("PRAGMA busy_timeout").fetchone()
    cursor.execute("PRAGMA busy_timeout = 0")
    try:
        (is_busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        cursor.execute(f"PRAGMA busy_timeout = {patience}")
    if not is_busy:
        cursor.execute("UPDATE conversations_searcherased SET stage = %s", [Stage.RESTING])
    return not is_busy


# Searching


def matching(query: str | Query, messages: QuerySet[Message]) -> QuerySet[Message]:
    """Of `messages` those that a query finds, in any order. All hits are collected for it: for the newest of many see
    `newest`."""
    asked = as_query(query)
    return messages.filter(has_terms(asked)) if asked else messages.none()


def matching_of_few(query: str, messages: QuerySet[Message]) -> QuerySet[Message]:
    """The same where `messages` are few and the hits are many: each of the few is looked at."""
    asked = parse(query)
    return messages.filter(Exists(entries_with(asked).filter(pk=OuterRef("pk")))) if asked else messages.none()


def newest(
    query: str | Query,
    messages: QuerySet[Message],
    count: int,
    before: int | None = None,
    few: Callable[[], QuerySet[Message] | None] = lambda: None,
) -> list[int]:
    """Return the keys of the newest `count` of `messages` that a query finds and that are older than `before`, newest first.

    The hits are read from the newest on, and no further than it takes: a word that is said often costs no more in a long
    history than in a short one. Where few of the hits are among `messages`, all of them are collected; or, if `few` gives
    the same messages because they are not many, each of those is looked at.
    """
    asked = as_query(query)
    if not asked:
        return []
    found: list[int] = []
    for limit in FIRST_HITS if can_begin_with_newest(asked) else ():
        keys = newest_hits(asked, limit, before)
        seen = messages.filter(pk__in=keys).order_by("-pk").values_list("pk", flat=True)
        found += seen[: count - len(found)]
        if len(found) == count or len(keys) < limit:
            return found
        before = keys[-1]
    older = Q() if before is None else Q(pk__lt=before)
    if (some := few()) is not None:
        # In no order: for that, a database might look at all messages there are.
        hit = Exists(entries_with(asked).filter(pk=OuterRef("pk")))
        return found + sorted(some.filter(hit, older).values_list("pk", flat=True), reverse=True)[: count - len(found)]
    rest = messages.filter(has_terms(asked), older).order_by("-pk").values_list("pk", flat=True)
    return found + list(rest[: count - len(found)])


def can_begin_with_newest(query: Query) -> bool:
    """SQLite's index has its hits in order. That of PostgreSQL has not: there it is the messages that are read in order,
    which pays where many of them are hits."""
    return connection.vendor == "sqlite" or is_often_said(query)


def newest_hits(query: Query, limit: int, before: int | None) -> list[int]:
    """Return the keys of the newest messages with the terms of a query, newest first."""
    if connection.vendor == "postgresql":
        # Joined to an empty vector it is no longer what the index was made for: read in the order of the keys.
        sql = "SELECT message_id FROM conversations_searchterms WHERE (terms || ''::tsvector) @@ %s::tsquery"
        params: list[Any] = [as_tsquery(query)]
        if before is not None:
            sql, params = f"{sql} AND message_id < %s", [*params, before]
        sql += " ORDER BY message_id DESC LIMIT %s"
    else:
        last = NO_KEY if before is None else before
        has_parts, parts = in_terms(query)
        # Each part gives its keys in order, and the two are merged as they come.
        sql = f"""
            SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s AND rowid < %s UNION ALL
            SELECT message_id FROM conversations_searchfresh CROSS JOIN conversations_searchterms USING (message_id)
            WHERE message_id < %s AND {has_parts} ORDER BY 1 DESC LIMIT %s
            """  # noqa: S608 - the names are ours
        params = [written_out(query), last, last, *parts]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*params, limit])
        return [key for (key,) in cursor.fetchall()]


def said(query: str) -> Q:
    """Return the same as a condition on messages, to be joined to others."""
    asked = parse(query)
    return has_terms(asked) if asked else Q(pk__in=[])


def has_terms(query: Query) -> Q:
    return Q(pk__in=hits(query))


def is_often_said(query: str | Query) -> bool:
    """Do so many messages have it that it is better to try what is wanted, one by one, than to begin with all of them?"""
    asked = as_query(query)
    if not asked:
        return False
    found = hits(asked)
    with connection.cursor() as cursor:
        first = f"SELECT 1 FROM ({found.sql}) hits LIMIT {OFTEN}"  # noqa: S608 - made above
        cursor.execute(f"SELECT COUNT(*) FROM ({first}) first_hits", found.params)  # noqa: S608
        count: int = cursor.fetchone()[0]
    return count == OFTEN


def hits(query: Query) -> RawSQL:
    """Return the keys of all messages with the terms of a query, as a subquery."""
    if connection.vendor == "postgresql":
        return RawSQL(
            "SELECT message_id FROM conversations_searchterms WHERE terms @@ %s::tsquery", [as_tsquery(query)]
        )
    has_parts, parts = in_terms(query)
    # CROSS JOIN: from the few that are new to their terms, not from all terms to what is new.
    return RawSQL(  # noqa: S611 - the query is passed apart
        f"""
        SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s UNION ALL
        SELECT message_id FROM conversations_searchfresh CROSS JOIN conversations_searchterms USING (message_id)
        WHERE {has_parts}
        """,  # noqa: S608 - the names are ours
        [written_out(query), *parts],
    )


def entries_with(query: Query) -> QuerySet[SearchTerms]:
    """Return the entries with the terms of a query, for those whose keys are known: each is looked at."""
    condition, params = in_terms(query)
    if connection.vendor == "postgresql":
        condition, params = "(terms || ''::tsvector) @@ %s::tsquery", [as_tsquery(query)]
    return SearchTerms.objects.filter(RawSQL(condition, params, models.BooleanField()))  # noqa: S611 - passed apart


def in_terms(query: Query) -> tuple[str, list[str]]:
    """Return the condition on an entry of SQLite that has the terms of a query, and its parameters."""
    parts = [f" {term} " for term in query.terms] + [f" {begun}" for begun in query.beginnings]
    return " AND ".join(["instr(terms, %s) > 0"] * len(parts)), parts


def written_out(query: Query) -> str:
    """Return what FTS5 is asked, with the words themselves instead of a beginning, where they are few: it reads the hits of
    words in order and as far as they are wanted, but of a beginning it has to collect all of them first."""
    # Terms are letters, digits and lines below: nothing in them is syntax.
    return " AND ".join([*(f'"{term}"' for term in query.terms), *map(words_begun, query.beginnings)])


def words_begun(beginning: str) -> str:
    with connection.cursor() as cursor:
        words = "SELECT term FROM conversations_searchwords WHERE term >= %s AND term < %s LIMIT %s"
        cursor.execute(words, [beginning, beginning + LAST_LETTER, MOST_WORDS + 1])
        begun = [f'"{term}"' for (term,) in cursor.fetchall()]
    return f"({' OR '.join(begun)})" if 0 < len(begun) <= MOST_WORDS else f'"{beginning}" *'


def as_tsquery(query: Query) -> str:
    return " & ".join([*(f"'{term}'" for term in query.terms), *(f"'{begun}':*" for begun in query.beginnings)])
