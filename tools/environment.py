"""Make the virtual environment: `python3 tools/environment.py .venv`.

Runs before anything is installed, so it needs nothing but Python, of any version that can read it; a wrong one is told in a sentence.
Debian ships Python without `ensurepip`, so that `python3 -m venv` fails there; pip is then fetched by hand.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile

LEAST = (3, 11)
PIP = "pip-26.3-py3-none-any.whl"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"


def main(folder):
    """Make the environment in the folder, with pip in it."""
    if sys.version_info < LEAST:
        fail(
            "Parley needs Python %d.%d or newer; %s is %s." % (LEAST + (sys.executable, sys.version.split()[0])),
            "Name a newer one: make run PYTHON=python3.12",
        )
    pip = has_module("ensurepip")
    make(folder, with_pip=pip)
    if not pip:
        bootstrap_pip(os.path.join(folder, "bin", "python"))


def has_module(name):
    """Whether this Python has the module; Debian leaves some of the standard library out."""
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def make(folder, with_pip):
    """Make the environment with the standard library's own tool."""
    if not has_module("venv"):
        fail("This Python has no module `venv`.", install_sentence())
    options = [] if with_pip else ["--without-pip"]
    if subprocess.call([sys.executable, "-m", "venv", "--clear"] + options + [folder]):
        fail("The virtual environment %s could not be made; the reason stands above." % folder, install_sentence())


def bootstrap_pip(python):
    """Fetch the one version of pip that we know the hash of, and let it install itself."""
    with tempfile.TemporaryDirectory() as temporary:
        wheel = os.path.join(temporary, PIP)
        with open(wheel, "wb") as file:
            file.write(fetch_pip())
        if subprocess.call([python, os.path.join(wheel, "pip"), "install", "--quiet", wheel]):
            fail("pip could not be installed; the reason stands above.", install_sentence())


def fetch_pip():
    """Find pip in the package index and give the bytes of its wheel."""
    from urllib.parse import urljoin
    from urllib.request import urlopen

    index = os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple").rstrip("/") + "/pip/"
    try:
        with urlopen(index, timeout=60) as page:
            found = re.search(r'href="([^"]*/%s)[#"]' % re.escape(PIP), page.read().decode())
            address = urljoin(page.geturl(), found.group(1)) if found else index
        with urlopen(address, timeout=60) as wheel:
            content = wheel.read()
    except OSError as error:
        fail("This Python has no `ensurepip`, and pip could not be fetched: %s." % error, install_sentence())
    if hashlib.sha256(content).hexdigest() != PIP_SHA256:
        fail("%s does not give the %s that was expected." % (index, PIP), install_sentence())
    return content


def install_sentence():
    """What helps on Debian and its relatives."""
    return "Install it: sudo apt install python%d.%d-venv" % sys.version_info[:2]


def fail(*sentences):
    """End with words instead of a traceback."""
    sys.exit("\n".join(sentences))


if __name__ == "__main__":
    main(sys.argv[1])
