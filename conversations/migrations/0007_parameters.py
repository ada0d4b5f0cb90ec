"""What people set for one conversation. A column without a value costs nothing, however many rows there are."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0006_shelves")]

    operations = [
        migrations.AddField(
            model_name="conversation",
            name="parameters",
            field=models.JSONField(blank=True, null=True, verbose_name="parameters"),
        ),
    ]
