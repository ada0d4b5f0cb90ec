"""Folders of a person, whose lists are read in order. A column without a value, and an index of the rows that have one."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0013_temporary")]

    operations = [
        migrations.AddField(
            model_name="membership",
            name="folder",
            field=models.CharField(blank=True, editable=False, max_length=40, null=True),
        ),
        migrations.AddIndex(
            model_name="membership",
            index=models.Index(
                fields=["user", "folder", "shelf", "-updated_at", "-conversation"],
                name="newest_in_a_folder",
                condition=models.Q(folder__isnull=False),
            ),
        ),
    ]
