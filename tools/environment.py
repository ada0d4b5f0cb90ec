"""Make the virtual environment: `python3 tools/environment.py .venv`.

Runs before anything is installed, so it needs nothing but Python, of any version that can read it; one that is too old is
told in a sentence. Debian ships Python without `ensurepip`, so that `python3 -m venv` fails there; pip is then fetched here.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn
from urllib.parse import urljoin
from urllib.request import urlopen

LEAST = (3, 11)
PIP = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
INDEX = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"


def main(folder: Path) -> None:
    """Make the environment in the folder, with pip in it."""
    if sys.version_info < LEAST:
        found = sys.version.split()[0]
        fail(
            f"Parley needs Python {LEAST[0]}.{LEAST[1]} or newer; {sys.executable} is {found}.",
            "Name a newer one: make run PYTHON=python3.12",
        )
    with_pip = has_module("ensurepip")
    make(folder, with_pip)
    if not with_pip:
        bootstrap_pip(folder / "bin" / "python")


def has_module(name: str) -> bool:
    """Whether this Python has the module; Debian leaves some of the standard library out."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def make(folder: Path, with_pip: bool) -> None:
    """Make the environment with the standard library's own tool."""
    if not has_module("venv"):
        fail("This Python has no module `venv`.", install_sentence())
    options = [] if with_pip else ["--without-pip"]
    if subprocess.call([sys.executable, "-m", "venv", "--clear", *options, str(folder)]):
        fail(f"The virtual environment {folder} could not be made; the reason stands above.", install_sentence())


def bootstrap_pip(python: Path) -> None:
    """Fetch the one version of pip that we know the hash of, and let it install itself."""
    with tempfile.TemporaryDirectory() as temporary:
        wheel = Path(temporary, PIP)
        wheel.write_bytes(fetch_pip())
        if subprocess.call([str(python), str(wheel / "pip"), "install", "--quiet", str(wheel)]):
            fail("pip could not be installed; the reason stands above.", install_sentence())


def fetch_pip() -> bytes:
    """Find pip in the package index and give the bytes of its wheel."""
    try:
        with urlopen(INDEX, timeout=60) as page:
            found = re.search(rf'href="([^"]*/{re.escape(PIP)})[#"]', page.read().decode())
            address = urljoin(page.geturl(), found.group(1)) if found else INDEX
        with urlopen(address, timeout=60) as wheel:
            content: bytes = wheel.read()
    except OSError as error:
        fail(f"This Python has no `ensurepip`, and pip could not be fetched: {error}.", install_sentence())
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        fail(f"{INDEX} does not give the {PIP} that was expected.", install_sentence())
    return content


def install_sentence() -> str:
    """What helps on Debian and its relatives."""
    return f"Install it: sudo apt install python3.{sys.version_info[1]}-venv"


def fail(*sentences: str) -> NoReturn:
    """End with words instead of a traceback."""
    sys.exit("\n".join(sentences))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
