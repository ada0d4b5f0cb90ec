"""The npm packages that the page loads: which are wanted, which are missing, and how to get them."""

import json
from pathlib import Path

from chatproject.config import BASE_DIR

NODE_MODULES = BASE_DIR / "node_modules"

# What a browser may load: a prefix under /static/ and the folder it shows. Nothing else of node_modules is ever served.
SERVED = [
    ("npm/markdown-it", "markdown-it/dist/browser"),
    ("npm/dompurify", "dompurify/dist"),
    ("npm/morphdom", "morphdom/dist"),
    ("npm/remend", "remend/dist"),
    ("npm/katex", "katex/dist"),
    ("npm/highlightjs", "@highlightjs/cdn-assets/es"),
    ("npm/highlightjs-styles", "@highlightjs/cdn-assets/styles"),
]


def static_folders() -> list[tuple[str, Path]]:
    """The entries of STATICFILES_DIRS for the packages."""
    return [(prefix, NODE_MODULES / folder) for prefix, folder in SERVED]


def missing_packages() -> list[str]:
    """The packages of package.json that are absent, or present in another version than package-lock.json wants."""
    wanted: dict[str, str] = json.loads((BASE_DIR / "package.json").read_text("utf-8")).get("dependencies", {})
    return [name for name, version in wanted.items() if _installed_version(name) != version]


def _installed_version(name: str) -> str | None:
    try:
        return str(json.loads((NODE_MODULES / name / "package.json").read_text("utf-8")).get("version"))
    except (OSError, ValueError):
        return None
