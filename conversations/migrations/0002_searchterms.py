"""Terms for the search: a table of them, and on SQLite an FTS5 table that follows it."""

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
    """
    CREATE TRIGGER conversations_searchterms_inserted AFTER INSERT ON conversations_searchterms BEGIN
        INSERT INTO conversations_searchindex (rowid, terms) VALUES (new.message_id, new.terms);
    END
    """,
    """
    CREATE TRIGGER conversations_searchterms_deleted AFTER DELETE ON conversations_searchterms BEGIN
        INSERT INTO conversations_searchindex (conversations_searchindex, rowid, terms)
        VALUES ('delete', old.message_id, old.terms);
    END
    """,
    """
    CREATE TRIGGER conversations_searchterms_updated AFTER UPDATE ON conversations_searchterms BEGIN
        INSERT INTO conversations_searchindex (conversations_searchindex, rowid, terms)
        VALUES ('delete', old.message_id, old.terms);
        INSERT INTO conversations_searchindex (rowid, terms) VALUES (new.message_id, new.terms);
    END
    """,
    # What was erased is to leave the file: `forget_erased` in conversations/search.py.
    "CREATE TABLE conversations_searcherased (is_due bool NOT NULL, stage integer NOT NULL)",
    "INSERT INTO conversations_searcherased VALUES (0, 0)",
    """
    CREATE TRIGGER conversations_searchterms_erased AFTER DELETE ON conversations_searchterms BEGIN
        UPDATE conversations_searcherased SET is_due = 1 WHERE NOT is_due;
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
        editor.execute("DROP TABLE conversations_searchindex")
        editor.execute("DROP TABLE conversations_searcherased")


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
