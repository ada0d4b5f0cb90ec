"""Conversations that were deleted and can still be had back, found among a million others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0009_search_words")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="deleted_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
        migrations.AddIndex(
            model_name="conversation",
            index=models.Index(fields=["deleted_at"], name="deleted", condition=models.Q(deleted_at__isnull=False)),
        ),
    ]
