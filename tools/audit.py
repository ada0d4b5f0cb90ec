"""Ask pip-audit for known vulnerabilities of what Parley ships, and fail for those alone.

Tools of the checks are left out: they never see a user. A service that cannot be asked says nothing about us, so that is
told and passed. `python tools/audit.py`, in the environment of the checks.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements.txt"


def main() -> None:
    """Print what is known; end with 1 if something is known against us."""
    shipped = shipped_packages()
    report = audit(shipped)
    if report is None:
        return
    vulnerable = [package for package in report if package.get("vulns")]
    asked = [package for package in report if "vulns" in package]
    for package in vulnerable:
        sys.stdout.write("".join(f"{line}\n" for line in sentences(package)))
    sys.stdout.write(f"{len(vulnerable)} of {len(asked)} packages have known vulnerabilities; ")
    sys.stdout.write(f"{len(shipped) - len(asked)} are not known to the service.\n")
    sys.exit(1 if vulnerable else 0)


def shipped_packages() -> dict[str, str]:
    """The packages of requirements.txt and all that they need, with the versions that are installed."""
    found: dict[str, str] = {}
    waiting = [
        Requirement(line) for line in REQUIREMENTS.read_text("utf-8").splitlines() if line and line[0] not in "#-"
    ]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        key = (name, frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # made for another system
        waiting += needed_by(name, wanted.extras)
    return found


def needed_by(name: str, extras: set[str]) -> Iterator[Requirement]:
    """What a package needs here, with these extras."""
    for line in requires(name) or []:
        needed = Requirement(line)
        if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield needed


def audit(packages: dict[str, str]) -> list[dict[str, Any]] | None:
    """What the service says of each package; None, and a word about it, when it cannot be asked."""
    with NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{name}=={number}\n" for name, number in packages.items()))
        file.flush()
        options = [
            "--requirement",
            file.name,
            "--no-deps",
            "--disable-pip",
            "--format",
            "json",
            "--progress-spinner",
            "off",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", *options], capture_output=True, text=True, check=False
        )
    try:
        report: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        sys.stdout.write("Nothing is known about vulnerabilities, because pip-audit could not ask its service:\n")
        sys.stdout.write("".join(f"    {line}\n" for line in done.stderr.strip().splitlines()[-3:]))
        return None
    return report


def sentences(package: dict[str, Any]) -> Iterator[str]:
    """What is known against a package, and which version mends it."""
    for hole in package["vulns"]:
        mended = ", ".join(hole["fix_versions"]) or "no version yet"
        yield f"{package['name']} {package['version']}: {hole['id']}, mended by {mended}"


if __name__ == "__main__":
    main()
