"""Checks of the installation that `manage.py check` and every start make."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from chatproject import npm


@register
def page_has_its_packages(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Without its npm packages the page loads, and no reply is ever painted: better not to start."""
    missing = npm.missing_packages()
    if not missing:
        return []
    return [
        Error(
            f"The page needs npm packages that are not installed: {', '.join(missing)}.",
            hint="Run `make run`, `python manage.py setup`, or `npm ci`.",
            id="chatproject.E001",
        )
    ]
