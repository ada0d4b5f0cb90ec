"""Conversations that somebody pins or puts away, in lists that are read in order."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0005_broken_replies")]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="shelf",
            field=models.CharField(
                choices=[("listed", "listed"), ("pinned", "pinned"), ("archived", "archived")],
                default="listed",
                # Whoever still runs the version before this one says nothing of shelves.
                db_default="listed",
                max_length=10,
                verbose_name="place in the list",
            ),
        ),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["user", "shelf", "-updated_at", "-conversation"], name="newest_on_a_shelf"),
        ),
    ]
