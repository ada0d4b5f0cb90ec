"""What lists are read from in order, however much there is."""

import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

TIMES = """
    UPDATE conversations_membership SET updated_at = (
        SELECT conversation.updated_at FROM conversations_conversation conversation
        WHERE conversation.id = conversations_membership.conversation_id
    )
"""


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0003_fill_searchterms"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="updated_at",
            field=models.DateTimeField(default=django.utils.timezone.now, editable=False),
        ),
        migrations.RunSQL(TIMES, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(fields=["user", "-updated_at", "-conversation"], name="newest_of_a_person"),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                fields=["asked_by"],
                name="running_replies_of_a_person",
                condition=models.Q(status__in=["queued", "streaming"]),
            ),
        ),
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["conversation"], name="first_messages", condition=models.Q(parent=None)),
        ),
    ]
