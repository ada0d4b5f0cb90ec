"""The language in which somebody reads: chosen on one device, it is that of all the others."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.translation import check_for_language
from django.views.i18n import set_language

from chatproject.models import ChosenLanguage


def choose_language(request: HttpRequest) -> HttpResponseBase:
    """Take the form of the menu. Django's own view keeps the choice in this browser; the account keeps it for the others."""
    code = request.POST.get("language", "")
    if request.method == "POST" and request.user.is_authenticated and is_offered(code):
        ChosenLanguage.objects.update_or_create(user=request.user, defaults={"code": code})
        # What the account says now is what the answer brings along.
        request.chosen_language = None  # type: ignore[attr-defined]
    answer: HttpResponseBase = set_language(request)
    return answer


def is_offered(code: str) -> bool:
    return code in dict(settings.LANGUAGES) and check_for_language(code)


def language_of(user: Any) -> str | None:
    """The choice of somebody who is signed in and has made one, if it is still offered."""
    if not user.is_authenticated:
        return None
    code = ChosenLanguage.objects.filter(user_id=user.pk).values_list("code", flat=True).first()
    return code if code and is_offered(code) else None


def keep_in_browser(answer: HttpResponseBase, code: str) -> None:
    """As Django's own view does."""
    answer.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        code,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        path=settings.LANGUAGE_COOKIE_PATH,
        domain=settings.LANGUAGE_COOKIE_DOMAIN,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite=settings.LANGUAGE_COOKIE_SAMESITE,
    )
