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
from collections.abc import Sequence
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
    """What a person looks for: terms, and the beginning of one."""

    terms: tuple[str, ...]
    beginning: str = ""

    def __bool__(self) -> bool:
        return bool(self.terms or self.beginning)


def parse(query: str) -> Query:
    """Read what a person has typed. There is no syntax in it, and nothing is wrong."""
    text = folded(query[:LONGEST_QUERY])
    chunks = [words for chunk in text.split() if (words := WORD.findall(chunk))]
    terms = dict.fromkeys(term for words in chunks for term in required(words))
    if not chunks or not is_being_typed(text, chunks[-1]):
        return Query(tuple(terms))
    beginning = required(chunks[-1])[-1]
    return Query(tuple(term for term in terms if term != beginning), beginning)


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


def matching(query: str, messages: QuerySet[Message]) -> QuerySet[Message]:
    """Of `messages` those that a query finds. `order_by("-pk")` gives the newest first, which needs no sorting: the index
    is in that order too. A rank would, and would have to look at every hit for it."""
    asked = parse(query)
    return messages.filter(has_terms(asked)) if asked else messages.none()


def said(query: str) -> Q:
    """Return the same as a condition on messages, to be joined to others."""
    asked = parse(query)
    return has_terms(asked) if asked else Q(pk__in=[])


def has_terms(query: Query) -> Q:
    return Q(pk__in=hits(query))


def is_often_said(query: str) -> bool:
    """Do so many messages have it that it is better to try what is wanted, one by one, than to begin with all of them?"""
    asked = parse(query)
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
    parts = [f" {term} " for term in query.terms] + [f" {query.beginning}"] * bool(query.beginning)
    has_parts = " AND ".join(["instr(terms, %s) > 0"] * len(parts))
    # CROSS JOIN: from the few that are new to their terms, not from all terms to what is new.
    return RawSQL(  # noqa: S611 - the query is passed apart
        f"""
        SELECT rowid FROM {INDEX} WHERE {INDEX} MATCH %s UNION ALL
        SELECT message_id FROM conversations_searchfresh CROSS JOIN conversations_searchterms USING (message_id)
        WHERE {has_parts}
        """,  # noqa: S608 - the names are ours
        [as_fts5(query), *parts],
    )


# Terms are letters, digits and lines below: nothing in them is syntax.


def as_tsquery(query: Query) -> str:
    return " & ".join([f"'{term}'" for term in query.terms] + [f"'{query.beginning}':*"] * bool(query.beginning))


def as_fts5(query: Query) -> str:
    return " AND ".join([f'"{term}"' for term in query.terms] + [f'"{query.beginning}" *'] * bool(query.beginning))


# Showing


BLANK = re.compile(r"\s")


@dataclass(frozen=True)
class Excerpt:
    """A part of a text on one line, and where in it the hits are: `(start, end)`, in code points."""

    text: str
    marks: list[tuple[int, int]]


def excerpt(text: str, query: str, length: int = 160) -> Excerpt:
    """Return at most `length` characters around the first hit; of a text without any, its beginning."""
    marks = marks_in(text, query)
    start = beginning_of_part(text, marks[0][0] - length // 4, length // 8) if marks else 0
    end = end_of_part(text, start + length, length // 8)
    before, after = "…" * (start > 0), "…" * (end < len(text))
    shift = len(before) - start
    return Excerpt(
        before + BLANK.sub(" ", text[start:end]) + after,
        [(first + shift, min(last, end) + shift) for first, last in marks if first < end],
    )


def beginning_of_part(text: str, place: int, near: int) -> int:
    """Return where the next word begins, if that is near."""
    if place <= 0:
        return 0
    blank = BLANK.search(text, place - 1, place + near)
    return blank.end() if blank else place


def end_of_part(text: str, place: int, near: int) -> int:
    """Return where the last word ends, if that is near."""
    if place >= len(text):
        return len(text)
    blanks = list(BLANK.finditer(text, max(place - near, 0), place + 1))
    return blanks[-1].start() if blanks else place


def marks_in(text: str, query: str) -> list[tuple[int, int]]:
    """Return where a text has what a query looks for, in order, and none within another."""
    pattern = pattern_of(parse(query))
    if pattern is None:
        return []
    said, starts, ends = with_places(text[:LONGEST_TEXT])
    marks: list[tuple[int, int]] = []
    for found in pattern.finditer(said):
        start, end = starts[found.start(1)], ends[found.end(1) - 1]
        if marks and start <= marks[-1][1]:
            start, end = marks[-1][0], max(marks.pop()[1], end)
        marks.append((start, end))
    return marks


# A letter with what is put on it: accents, Hangul's vowels and finals, marks of kana.
LETTER = re.compile("(?s).[\u0300-\u036f\u1160-\u11ff\u3099\u309a\uff9e\uff9f]*")


def with_places(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """Return a text as it is compared, and where each of its characters begins and ends in `text`."""
    whole = folded(text)
    if len(whole) == len(text):
        return whole, range(len(text)), range(1, len(text) + 1)
    letters = [(folded(letter[0]), letter) for letter in LETTER.finditer(text)]
    return (
        "".join(shown for shown, _ in letters),
        [letter.start() for shown, letter in letters for _ in shown],
        [letter.end() for shown, letter in letters for _ in shown],
    )


def pattern_of(query: Query) -> re.Pattern[str] | None:
    """Return what finds the terms of a query in a text, those that overlap too."""
    if not query:
        return None
    wholes = [f"{in_text(term)}{END}" for term in sorted(query.terms, key=len, reverse=True)]
    beginnings = [in_text(query.beginning)] if query.beginning else []
    return re.compile(f"(?=({'|'.join([*beginnings, *wholes])}))")


#: Behind the last letter of a word. What needs no blanks ends anywhere.
END = rf"(?:(?<=[{WITHOUT_BLANKS}])|(?![^\W_{WITHOUT_BLANKS}]))"
BEGINNING = rf"(?:(?=[{WITHOUT_BLANKS}])|(?<![^\W_{WITHOUT_BLANKS}]))"


def in_text(term: str) -> str:
    """Return the pattern of a word, or of two with punctuation between them."""
    return BEGINNING + r"(?:(?!\s)[\W_])*".join(term.split("_"))
