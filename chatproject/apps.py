from django.apps import AppConfig


class ChatProjectConfig(AppConfig):
    """An app without models: it has the commands `setup` and `runserver` and the checks of the installation."""

    name = "chatproject"
    verbose_name = "Parley"

    def ready(self) -> None:
        """Make the checks known to Django."""
        from chatproject import checks  # noqa: F401
