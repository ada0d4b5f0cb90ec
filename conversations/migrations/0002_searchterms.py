"""Terms for the search: a table of them, and on SQLite an FTS5 index of it."""

import django.db.models.deletion
from django.db import migrations, models

import conversations.search

# Without the places of words and the lengths of texts, which nobody asks for, and without a copy of the terms. FTS5 itself
# cuts at blanks alone: what has to be known of scripts is known before.
FTS5 = [
    """
    CREATE VIRTUAL TABLE conversations_searchindex USING fts5(
        terms, content='conversations_searchterms', content_rowid='message_id',
        detail=none, columnsize=0, tokenize="ascii tokenchars '_'"
    )
    """,
    # What is new is put on a list, and into the index with others; what was erased is to leave the file: `tend_index` in
    # conversations/search.py.
    "CREATE TABLE conversations_searchfresh (message_id integer NOT NULL PRIMARY KEY)",
    "CREATE TABLE conversations_searcherased (is_due bool NOT NULL, stage integer NOT NULL)",
    "INSERT INTO conversations_searcherased VALUES (0, 0)",
    """
    CREATE TRIGGER conversations_searchterms_inserted AFTER INSERT ON conversations_searchterms BEGIN
        INSERT INTO conversations_searchfresh VALUES (new.message_id);
    END
    """,
    """
    CREATE TRIGGER conversations_searchterms_deleted AFTER DELETE ON conversations_searchterms BEGIN
        INSERT INTO conversations_searchindex (conversations_searchindex, rowid, terms)
        SELECT 'delete', old.message_id, old.terms
        WHERE NOT EXISTS (SELECT 1 FROM conversations_searchfresh WHERE message_id = old.message_id);
        DELETE FROM conversations_searchfresh WHERE message_id = old.message_id;
        UPDATE conversations_searcherased SET is_due = 1 WHERE NOT is_due;
    END
    """,
    # What is said is not changed any more, and the index could not follow.
    """
    CREATE TRIGGER conversations_searchterms_updated BEFORE UPDATE ON conversations_searchterms BEGIN
        SELECT RAISE(ABORT, 'search terms are not changed');
    END
    """,
    # Two parts are enough to be merged; else four at a time are.
    "INSERT INTO conversations_searchindex (conversations_searchindex, rank) VALUES ('usermerge', 2)",
]


def make_index(apps, editor):
    if editor.connection.vendor == "sqlite":
        for statement in FTS5:
            editor.execute(statement)


def drop_index(apps, editor):
    if editor.connection.vendor == "sqlite":
        for name in ("searchindex", "searchfresh", "searcherased"):
            editor.execute(f"DROP TABLE conversations_{name}")


class Migration(migrations.Migration):
    dependencies = [("conversations", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="SearchTerms",
            fields=[
                (
                    "message",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="conversations.message",
                    ),
                ),
                ("terms", conversations.search.TermsField()),
            ],
            options={"default_permissions": ()},
        ),
        migrations.RunPython(make_index, drop_index),
    ]
