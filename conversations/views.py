"""The pages, complete as they leave the server; scripts bring them to life."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils.dateparse import parse_datetime
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from . import wire
from .markdown import render as render_markdown
from .models import Conversation, Message
from .refusals import Refused
from .text import key_in


@login_required
@never_cache
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The page of a new conversation."""
    return render(request, "conversations/conversation.html", _frame(request))


@login_required
@require_POST
def create(request: HttpRequest) -> HttpResponse:
    """Take the form of the composer: start a conversation, with its first message if
    there is a text. From the page of a conversation, sent before its scripts were there
    or without any, the form names it, and the message is posted there."""
    assert request.user.is_authenticated
    # A form sends its line breaks as CRLF, whatever was typed.
    text = request.POST.get("text", "").replace("\r\n", "\n")
    model = request.POST.get("model", "")
    client_id = request.POST.get("client_id") or uuid4().hex
    known = _named(request)
    try:
        if known is not None:
            known.post(request.user, text, client_id, model=model)
        elif text.strip():
            known = Conversation.begin(request.user, text, client_id, model)
        else:
            known = Conversation.start(request.user, model)
    except Refused as refused:
        notes.error(request, refused.detail)
        context = {**_frame(request), **(_shown(request, known) if known else {}), "draft": text}
        return render(request, "conversations/conversation.html", context, status=400)
    return redirect("conversation", pk=known.pk)


def _named(request: HttpRequest) -> Conversation | None:
    """Return the conversation that a form names, if it names one."""
    name = request.POST.get("conversation")
    if not name:
        return None
    try:
        return _visible(request, UUID(name))
    except ValueError:
        raise Http404 from None


@login_required
@never_cache
@require_GET
def conversation(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The page of one conversation, with the newest page of its shown branch."""
    context = {**_frame(request), **_shown(request, _visible(request, pk))}
    return render(request, "conversations/conversation.html", context)


def _shown(request: HttpRequest, found: Conversation) -> dict[str, Any]:
    """What the page of one conversation shows besides its frame."""
    assert request.user.is_authenticated
    snapshot = wire.snapshot(found, request.user)
    return {
        "conversation": found,
        "snapshot": snapshot,
        "transcript": _with_html(snapshot),
        "more": snapshot["more"],
        "several": len(snapshot["members"]) > 1,
    }


@login_required
@never_cache
@require_GET
def messages(request: HttpRequest, pk: UUID) -> JsonResponse:
    """The page of messages ahead of `?before=<id>`, oldest first."""
    found = _visible(request, pk)
    key = key_in(request.GET.get("before", ""))
    message = None if key is None else found.messages.filter(pk=key).first()
    if message is None:
        raise Http404
    page, more = wire.page_as_json(found, message)
    return JsonResponse({"messages": page, "more": more})


@login_required
@require_POST
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a conversation; its owner may."""
    assert request.user.is_authenticated
    try:
        _visible(request, pk).remove(request.user)
    except Refused as refused:
        notes.error(request, refused.detail)
        return redirect("conversation", pk=pk)
    return redirect("home")


@login_required
@never_cache
@require_GET
def sidebar(request: HttpRequest) -> HttpResponse:
    """The list of the sidebar alone, for tabs that were away for a while."""
    context = {"sidebar": _sidebar(request)}
    return render(request, "conversations/_sidebar.html", context)


def _visible(request: HttpRequest, pk: UUID) -> Conversation:
    found = Conversation.objects.visible_to(request.user).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


def _frame(request: HttpRequest) -> dict[str, Any]:
    """What surrounds every conversation, and the new one that is none yet."""
    chat = settings.CHAT
    return {
        "conversation": None,
        "client_id": uuid4().hex,
        "snapshot": None,
        "transcript": [],
        "more": False,
        "sidebar": _sidebar(request),
        "limits": {
            "messageCharacters": chat.message_characters,
            "frameBytes": chat.frame_bytes,
            "titleCharacters": chat.title_characters,
        },
    }


def _sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    rows = (
        Conversation.objects.visible_to(request.user)
        .with_running()
        .annotate(seen_version=F("membership__seen_version"))
        .defer("system_prompt")
        .newest_first()
    )
    entries = [wire.sidebar_entry(row) for row in rows[: settings.CHAT.sidebar_conversations]]
    for entry in entries:
        entry["updated_at"] = parse_datetime(entry["updated_at"])
    return entries


def _with_html(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages with their text as HTML; of running ones what there is."""
    texts = {reply["reply"]: reply for reply in snapshot["replies"]}
    shown = []
    for message in snapshot["messages"]:
        text = texts.get(message["id"], message)["text"]
        reasoning = texts.get(message["id"], message)["reasoning"]
        is_reply = message["role"] == Message.Role.ASSISTANT
        html = render_markdown(text) if is_reply else ""
        shown.append({**message, "text": text, "reasoning": reasoning, "html": html})
    return shown
