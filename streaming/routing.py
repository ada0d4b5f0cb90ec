"""The addresses of sockets."""

from django.urls import path, re_path

from .consumers import ConversationConsumer, MeConsumer, NowhereConsumer

websocket_urlpatterns = [
    path("ws/conversations/<uuid:pk>/", ConversationConsumer.as_asgi()),
    path("ws/me/", MeConsumer.as_asgi()),
    re_path("", NowhereConsumer.as_asgi()),
]
