"""What every answer passes through, beyond Django's own."""

from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse

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
