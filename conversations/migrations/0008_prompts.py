"""The library of prompts."""

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import conversations.models.prompt


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0007_parameters"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Prompt",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="prompts",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="owner",
                    ),
                ),
                ("name", models.CharField(max_length=60, verbose_name="name")),
                ("text", models.TextField(validators=[conversations.models.prompt.bounded], verbose_name="text")),
                ("shared", models.BooleanField(default=False, verbose_name="shared with everybody")),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now, verbose_name="changed")),
            ],
            options={
                "verbose_name": "prompt",
                "verbose_name_plural": "prompts",
                "indexes": [models.Index(condition=models.Q(("shared", True)), fields=["name"], name="shared_prompts")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("owner", "name"),
                        name="one_prompt_a_name",
                        violation_error_message="There is a prompt with this name already.",
                    )
                ],
            },
        ),
    ]
