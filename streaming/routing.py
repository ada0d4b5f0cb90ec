"""The addresses of sockets."""

from typing import Any

from django.urls import path, re_path

from .consumers import ConversationConsumer, MeConsumer, NowhereConsumer, TabConsumer


def _application(consumer: type[TabConsumer]) -> Any:
    return consumer.as_asgi()


# Channels takes Django's patterns with applications in the place of views.
websocket_urlpatterns: list[Any] = [
    path("ws/conversations/<uuid:pk>/", _application(ConversationConsumer)),
    path("ws/me/", _application(MeConsumer)),
    re_path("", _application(NowhereConsumer)),
]
