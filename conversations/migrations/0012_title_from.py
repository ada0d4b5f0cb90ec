"""Where the title of a conversation comes from."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0011_feedback")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="title_from",
            field=models.CharField(
                blank=True,
                choices=[("text", "Text"), ("asked", "Asked"), ("model", "Model"), ("person", "Person")],
                # Whoever still runs the version before this one says nothing of it, and its titles stay.
                db_default="",
                default="",
                editable=False,
                max_length=6,
            ),
        ),
    ]
