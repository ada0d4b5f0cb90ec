from django.apps import AppConfig
from django.db.backends.signals import connection_created

from chatproject import databases


class ChatProjectConfig(AppConfig):
    """The commands `setup` and `runserver`, the checks of the installation, the admin of people and their language."""

    name = "chatproject"
    verbose_name = "Parley"

    def ready(self) -> None:
        """Make the checks known to Django, and keep the file of SQLite to its owner."""
        from chatproject import checks  # noqa: F401

        connection_created.connect(databases.keep_to_owner)
