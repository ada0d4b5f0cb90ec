from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StreamingConfig(AppConfig):
    name = "streaming"
    verbose_name = _("Models and keys")

    def ready(self) -> None:
        from . import receivers

        receivers.connect()
