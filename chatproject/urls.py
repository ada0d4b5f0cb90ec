"""Every address there is. What stands in docs/protocol.md keeps its place."""

from django.contrib import admin
from django.urls import include, path

from chatproject.health import health
from conversations import views as pages
from streaming import views as doors

urlpatterns = [
    path("", pages.home, name="home"),
    path("conversations/", pages.create, name="conversations"),
    path("conversations/<uuid:pk>/", pages.conversation, name="conversation"),
    path(
        "conversations/<uuid:pk>/messages/",
        pages.messages,
        name="conversation-messages",
    ),
    path("conversations/<uuid:pk>/delete/", pages.delete, name="conversation-delete"),
    path(
        "conversations/<uuid:pk>/commands/",
        doors.commands,
        name="conversation-commands",
    ),
    path(
        "conversations/<uuid:pk>/events/",
        doors.event_stream,
        name="conversation-events",
    ),
    path("events/", doors.sidebar_stream, name="events"),
    path("sidebar/", pages.sidebar, name="sidebar"),
    path("accounts/", include("allauth.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("admin/", admin.site.urls),
    path("health/", health, name="health"),
]
