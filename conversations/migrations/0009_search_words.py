"""SQLite: the words of the search index as a table, to find those that begin in some way."""

from django.db import migrations


def make_words(apps, editor):
    if editor.connection.vendor == "sqlite":
        # A view of what the index has already: nothing is stored twice.
        editor.execute(
            "CREATE VIRTUAL TABLE conversations_searchwords USING fts5vocab('conversations_searchindex', 'row')"
        )


def drop_words(apps, editor):
    if editor.connection.vendor == "sqlite":
        editor.execute("DROP TABLE conversations_searchwords")


class Migration(migrations.Migration):
    dependencies = [("conversations", "0008_prompts")]

    operations = [migrations.RunPython(make_words, drop_words)]
