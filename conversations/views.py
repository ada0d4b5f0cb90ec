"""The pages, complete as they leave the server; scripts bring them to life."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.contrib import messages as notes
from django.contrib.auth.decorators import login_required
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseForbidden,
    JsonResponse,
)
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from . import folders, parameters, temporary, wire
from .finding import find
from .markdown import render as render_markdown
from .models import Conversation, Message, Shelf, Verdict
from .refusals import Refused
from .sidebar import Page, Place, load_page
from .text import key_in


@login_required
@never_cache
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    """The page of a new conversation. With `?deleted=<id>` it offers to have that one back, for as long as that is
    possible."""
    context = {**page_frame(request), "deleted": _deleted(request)}
    return render(request, "conversations/conversation.html", context)


def _deleted(request: HttpRequest) -> Conversation | None:
    try:
        pk = UUID(request.GET.get("deleted", ""))
    except ValueError:
        return None
    return Conversation.objects.restorable_by(request.user).filter(pk=pk).first()


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
            known = Conversation.begin(request.user, text, client_id, model, **_how(request))
        else:
            known = Conversation.start(request.user, model, **_how(request))
    except Refused as refused:
        notes.error(request, refused.detail)
        context = {
            **page_frame(request),
            "how": request.POST,
            **(_shown(request, known) if known else {}),
            "draft": text,
        }
        return render(request, "conversations/conversation.html", context, status=400)
    return redirect("conversation", pk=known.pk)


def _how(request: HttpRequest) -> dict[str, Any]:
    """How the model of a new conversation is to be asked, as the form says. Raises Refused."""
    prompt, wanted = _settings_in(request)
    return {
        "system_prompt": parameters.checked_prompt(prompt or ""),
        "parameters": parameters.changed(None, wanted) or None,
        "looked_at": timezone.now() if request.POST.get("temporary") else None,
    }


def _settings_in(request: HttpRequest) -> tuple[str | None, dict[str, Any]]:
    prompt = request.POST.get("system_prompt")
    return prompt and prompt.replace("\r\n", "\n"), parameters.in_form(request.POST)


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
    found = _visible(request, pk)
    if found.is_temporary:
        temporary.look_at([found.pk])
    context = {**page_frame(request), **_shown(request, found)}
    return render(request, "conversations/conversation.html", context)


def _shown(request: HttpRequest, found: Conversation) -> dict[str, Any]:
    """What the page of one conversation shows besides its frame."""
    assert request.user.is_authenticated
    snapshot = wire.snapshot(found, request.user)
    return {
        "conversation": found,
        "how": _how_asked(found),
        "snapshot": snapshot,
        "jump": _jump(request, found),
        "transcript": _with_html(snapshot),
        "more": snapshot["more"],
        "several": len(snapshot["members"]) > 1,
    }


def _jump(request: HttpRequest, found: Conversation) -> dict[str, Any] | None:
    """Return which message is to be brought into sight, and whether it is on the shown branch, where `?message=<id>` names
    one of this conversation."""
    message = _message_in(request.GET.get("message", ""), found)
    return {"message": str(message.pk), "shown": message.is_above(found.head_id)} if message else None


def _message_in(identifier: str, found: Conversation) -> Message | None:
    key = key_in(identifier)
    return None if key is None else found.messages.defer("text", "reasoning").filter(pk=key).first()


@login_required
@never_cache
@require_GET
def messages(request: HttpRequest, pk: UUID) -> JsonResponse:
    """The page of messages ahead of `?before=<id>`, oldest first; with `&through=<id>` as many as lead to that message, if
    it is not too far away for one answer."""
    found = _visible(request, pk)
    message = _message_in(request.GET.get("before", ""), found)
    if message is None:
        raise Http404
    through = _message_in(request.GET.get("through", ""), found)
    page, more = wire.page_as_json(found, message) if through is None else wire.pages_as_json(found, message, through)
    assert request.user.is_authenticated
    return JsonResponse({"messages": wire.with_feedback(page, request.user), "more": more})


@login_required
@never_cache
@require_GET
def branches(request: HttpRequest, pk: UUID) -> JsonResponse:
    """How many messages would go with `?message=<id>`: itself and all that follows it."""
    message = _message_in(request.GET.get("message", ""), _visible(request, pk))
    if message is None:
        raise Http404
    return JsonResponse({"messages": message.branches().count()})


@login_required
@never_cache
@require_GET
def search(request: HttpRequest) -> HttpResponse:
    """What `?q=` finds, older than the message `?before=<id>`: a page, or JSON for whoever would rather have that."""
    query = request.GET.get("q", "").strip()
    found = find(request.user, query, key_in(request.GET.get("before", "")))
    if prefers_json(request):
        return JsonResponse(wire.found_as_json(found))
    context = {**page_frame(request), "query": query, "found": found}
    return render(request, "conversations/search.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def settings_of(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The page of how the model is asked in one conversation, and the form that changes it: the way without scripts."""
    assert request.user.is_authenticated
    found = _visible(request, pk)
    context = {**page_frame(request), "conversation": found, "how": _how_asked(found)}
    if request.method == "GET":
        return render(request, "conversations/settings.html", context)
    try:
        found.change_settings(request.user, *_settings_in(request))
    except Refused as refused:
        notes.error(request, refused.detail)
        return render(request, "conversations/settings.html", {**context, "how": request.POST}, status=400)
    return redirect("conversation", pk=pk)


def _how_asked(found: Conversation) -> dict[str, Any]:
    """The same as the fields of the form have it."""
    return {"system_prompt": found.system_prompt, **(found.parameters or {})}


@login_required
@require_POST
def keep(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Keep a temporary conversation after all: the way without scripts."""
    assert request.user.is_authenticated
    try:
        _visible(request, pk).keep(request.user)
    except Refused as refused:
        notes.error(request, refused.detail)
    return redirect("conversation", pk=pk)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Delete a conversation, which its owner may, and lead to where she can have it back. A page that asks first is for
    whoever has no scripts."""
    assert request.user.is_authenticated
    found = _visible(request, pk)
    if request.method == "GET":
        return render(request, "conversations/delete.html", {**page_frame(request), "named": found})
    try:
        found.remove(request.user)
    except Refused as refused:
        if prefers_json(request):
            return HttpResponseForbidden(refused.detail, content_type="text/plain")
        notes.error(request, refused.detail)
        return redirect("conversation", pk=pk)
    if prefers_json(request):
        return HttpResponse(status=204)
    return redirect("home" if found.is_temporary else f"{reverse('home')}?deleted={pk}")


@login_required
@require_POST
def restore(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Take back that a conversation was deleted; who did it may, for a while."""
    assert request.user.is_authenticated
    if not Conversation.restore(request.user, pk):
        raise Http404
    return HttpResponse(status=204) if prefers_json(request) else redirect("conversation", pk=pk)


@login_required
@require_POST
def shelf(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Pin a conversation, put it away or take it back, as the form's `shelf` says: in one's own list alone."""
    assert request.user.is_authenticated
    found = _visible(request, pk)
    wanted = request.POST.get("shelf", "")
    if wanted not in Shelf.values:
        return HttpResponseBadRequest(f"A shelf is one of {', '.join(Shelf.values)}.")
    found.put_on(request.user, Shelf(wanted))
    return redirect("archive") if "back" in request.POST else HttpResponse(status=204)


@login_required
@require_POST
def feedback(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Keep what somebody thinks of the reply `message`: `value` is `up`, `down` or empty, to take it back."""
    assert request.user.is_authenticated
    found = _visible(request, pk)
    value = request.POST.get("value", "")
    if value and value not in Verdict.values:
        return HttpResponseBadRequest(f"A value is one of {', '.join(Verdict.values)}, or empty.")
    reply = _message_in(request.POST.get("message", ""), found)
    if reply is None or reply.role != Message.Role.ASSISTANT:
        raise Http404
    found.judge(request.user, reply, Verdict(value) if value else None)
    return HttpResponse(status=204)


@login_required
@never_cache
@require_GET
def archive(request: HttpRequest) -> HttpResponse:
    """The page of what somebody has put away, each with the way back."""
    kept = load_page(request.user, Place.parse(request.GET.get("behind", "")), Shelf.ARCHIVED)
    return render(request, "conversations/archive.html", {**page_frame(request), "archive": kept})


@login_required
@never_cache
@require_GET
def sidebar(request: HttpRequest) -> HttpResponse:
    """The list of the sidebar alone, for tabs that were away for a while; with `?after=` the page behind that place."""
    return render(request, "conversations/_sidebar.html", {"sidebar": _sidebar(request), "folder": _folder_in(request)})


def _sidebar(request: HttpRequest) -> Page:
    return load_page(request.user, Place.parse(request.GET.get("after", "")), folder=_folder_in(request))


def _folder_in(request: HttpRequest) -> str:
    """Return the folder to which the list is narrowed, by `?folder=<name>`; nothing where it is not."""
    return folders.named(request.GET.get("folder", ""))


@login_required
@require_POST
def folder(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Put a conversation into the folder that the form names, or into none: in one's own list alone."""
    assert request.user.is_authenticated
    try:
        folders.put_in(_visible(request, pk), request.user, request.POST.get("folder", ""))
    except Refused as refused:
        return HttpResponseBadRequest(refused.detail, content_type="text/plain; charset=utf-8")
    return HttpResponse(status=204)


@login_required
@never_cache
@require_GET
def names_of_folders(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"folders": folders.folders_of(request.user)})


def prefers_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _visible(request: HttpRequest, pk: UUID) -> Conversation:
    found = Conversation.objects.visible_to(request.user).filter(pk=pk).first()
    if found is None:
        raise Http404
    return found


def page_frame(request: HttpRequest) -> dict[str, Any]:
    """What surrounds every conversation, and the new one that is none yet."""
    chat = settings.CHAT
    return {
        "conversation": None,
        "client_id": uuid4().hex,
        "snapshot": None,
        "jump": None,
        "transcript": [],
        "more": False,
        "sidebar": _sidebar(request),
        "folder": _folder_in(request),
        "folders": folders.folders_of(request.user),
        "undo_seconds": chat.undo_seconds,
        "limits": {
            "messageCharacters": chat.message_characters,
            "frameBytes": chat.frame_bytes,
            "titleCharacters": chat.title_characters,
            "contextTokens": chat.context_tokens,
            "systemPromptCharacters": chat.system_prompt_characters,
        },
        "usual": {"system_prompt": chat.system_prompt, "max_tokens": chat.max_length or ""},
        "efforts": parameters.EFFORTS,
        "temporary_minutes": chat.temporary_minutes,
    }


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
