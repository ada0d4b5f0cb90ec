"""Every address there is. What stands in docs/protocol.md keeps its place."""

from django.contrib import admin
from django.urls import include, path

from chatproject.health import health
from chatproject.languages import choose_language
from chatproject.manifest import manifest
from conversations import prompts as library
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
    path("conversations/<uuid:pk>/settings/", pages.settings_of, name="conversation-settings"),
    path("conversations/<uuid:pk>/keep/", pages.keep, name="conversation-keep"),
    path("conversations/<uuid:pk>/branches/", pages.branches, name="conversation-branches"),
    path("conversations/<uuid:pk>/delete/", pages.delete, name="conversation-delete"),
    path("conversations/<uuid:pk>/restore/", pages.restore, name="conversation-restore"),
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
    path("conversations/<uuid:pk>/shelf/", pages.shelf, name="conversation-shelf"),
    path("conversations/<uuid:pk>/feedback/", pages.feedback, name="conversation-feedback"),
    path("conversations/<uuid:pk>/folder/", pages.folder, name="conversation-folder"),
    path("folders/", pages.names_of_folders, name="folders"),
    path("archive/", pages.archive, name="archive"),
    path("prompts/", library.prompts, name="prompts"),
    path("prompts/new/", library.new_prompt, name="new-prompt"),
    path("prompts/<int:pk>/", library.prompt, name="prompt"),
    path("prompts/<int:pk>/delete/", library.delete_prompt, name="prompt-delete"),
    path("sidebar/", pages.sidebar, name="sidebar"),
    path("search/", pages.search, name="search"),
    path("accounts/", include("allauth.urls")),
    path("i18n/setlang/", choose_language, name="set_language"),
    path("admin/", admin.site.urls),
    path("health/", health, name="health"),
    path("manifest.webmanifest", manifest, name="manifest"),
]
