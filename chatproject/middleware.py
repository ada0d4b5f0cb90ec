"""What every answer passes through, beyond Django's own."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import reverse
from django.utils import translation

from chatproject.languages import keep_in_browser, language_of

WITHOUT_TRUSTED_TYPES = {"require-trusted-types-for": None, "trusted-types": None}


class ContentSecurityPolicy(CSPMiddleware):
    """One strict policy for all pages; the scripts of Django's admin (jQuery) know no trusted types."""

    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        """Give what this answer's policy is made of."""
        parts: PolicyParts = super().get_policy_parts(request, response, report_only)
        if request.path_info.startswith(reverse("admin:index")):
            parts.replace = {**WITHOUT_TRUSTED_TYPES, **(parts.replace or {})}
        return parts


class Language(LocaleMiddleware):
    """The language of the account, where one was chosen; else that of the cookie, else that of the browser.

    Only for pages: scripts are answered in the language of the cookie, which the page has brought up to date.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Activate it."""
        super().process_request(request)
        chosen = language_of(request.user) if _is_navigation(request) else None
        request.chosen_language = chosen  # type: ignore[attr-defined]
        if chosen:
            translation.activate(chosen)
            request.LANGUAGE_CODE = translation.get_language()

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Say which it is, and keep it in this browser, too."""
        answer: HttpResponseBase = super().process_response(request, response)
        chosen = getattr(request, "chosen_language", None)
        if chosen and request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME) != chosen:
            keep_in_browser(answer, chosen)
        return answer


def _is_navigation(request: HttpRequest) -> bool:
    """Whether somebody goes to a page; what scripts fetch takes anything."""
    return "text/html" in request.headers.get("Accept", "")
