"""Conversations that are not kept. A column without a value and an index of the few that have one, however many rows there are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0012_title_from")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="looked_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(
                condition=models.Q(("looked_at__isnull", False)), fields=["looked_at"], name="temporary_conversations"
            ),
        ),
    ]
