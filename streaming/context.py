"""What every page is told about the models that can be asked."""

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from . import catalogue


def models(request: HttpRequest) -> dict[str, Any]:
    """Offer `models` (`[{"id", "name"}]`), `default_model` and `demo` to templates.

    As functions that ask once a page: most pages ask for none of it and pay nothing.
    """
    choices = cache(catalogue.choices)
    return {
        "models": choices,
        "default_model": lambda: _default_model(choices()),
        "demo": cache(_is_demo),
    }


def _default_model(choices: list[dict[str, str]]) -> str:
    names = [choice["id"] for choice in choices]
    wanted: str = settings.CHAT.default_model
    return wanted if wanted in names or not names else names[0]


def _is_demo() -> bool:
    return not catalogue.endpoints()[0].base_url
