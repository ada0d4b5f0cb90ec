from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0004_bounded_lists")]

    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                fields=["status", "created_at"],
                name="broken_replies",
                condition=models.Q(status__in=["stopped", "interrupted", "failed"]),
            ),
        ),
    ]
