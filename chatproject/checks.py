"""Checks of the installation that `manage.py check --deploy` makes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from chatproject import npm


@register(deploy=True)
def page_has_its_files(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Without its scripts the page loads, and no reply is ever painted."""
    if settings.STATIC_ROOT:
        return _collected(Path(settings.STATIC_ROOT))
    missing = npm.missing_packages()
    problem = f"The page needs npm packages that are not installed: {', '.join(missing)}."
    return [Error(problem, hint="Run `python manage.py setup`.", id="chatproject.E001")] if missing else []


def _collected(static_root: Path) -> list[CheckMessage]:
    if (static_root / "staticfiles.json").exists():
        return []
    problem = f"staticRoot is {static_root}, but the files of the page have not been collected there."
    return [Error(problem, hint="Run `python manage.py collectstatic --no-input`.", id="chatproject.E002")]
