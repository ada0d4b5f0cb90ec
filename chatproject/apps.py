from django.apps import AppConfig
from django.db.backends.signals import connection_created

from chatproject import databases


class ChatProjectConfig(AppConfig):
    """An app without models: it has the commands `setup` and `runserver` and the checks of the installation."""

    name = "chatproject"
    verbose_name = "Parley"

    def ready(self) -> None:
        """Make the checks known to Django, and let people into the admin through the one door that counts attempts."""
        from allauth.account.decorators import secure_admin_login
        from django.contrib import admin

        from chatproject import checks  # noqa: F401

        connection_created.connect(databases.keep_to_owner)

        admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
