"""Index the messages that are there. Can be broken off and run again: it goes on where it was."""

from django.db import migrations

from conversations.search import fill

# A GIN index is made faster when all is there. What waits in its list is put in by whoever fills the list, and looked
# through by each search: a short one is a matter of milliseconds to both.
GIN = """
    CREATE INDEX IF NOT EXISTS conversations_searchterms_gin ON conversations_searchterms
    USING gin (terms) WITH (gin_pending_list_limit = 256)
"""


def fill_index(apps, editor):
    messages, entries = (apps.get_model("conversations", name) for name in ("Message", "SearchTerms"))
    alias = editor.connection.alias
    fill(messages.objects.using(alias), entries.objects.using(alias))
    if editor.connection.vendor == "postgresql":
        editor.execute(GIN)
        editor.execute("ANALYZE conversations_searchterms")


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("conversations", "0002_searchterms")]

    operations = [migrations.RunPython(fill_index, migrations.RunPython.noop)]
