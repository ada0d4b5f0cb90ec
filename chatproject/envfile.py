"""The file .env: variables for this installation, and the home of the two keys that it makes for itself."""

import base64
import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values


class EnvFileError(Exception):
    """The file cannot be read or written; the message is a sentence for the person who starts the program."""


def read(path: Path) -> dict[str, str]:
    """Give the variables of the file; none if it is not there. Nothing in a value is expanded."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise EnvFileError(f"{path} is not UTF-8 text. Save it with the encoding UTF-8.") from None
    except OSError as error:
        raise EnvFileError(f"{path} cannot be read: {error.strerror}.") from None
    return _parse(text)


def _parse(text: str) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items() if value}


def new_secret_key() -> str:
    """A key for Django's signatures: sessions, CSRF, password resets."""
    return secrets.token_urlsafe(48)


def new_encryption_key() -> str:
    """256 bits for AES-GCM, in base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


MADE_HERE = {"SECRET_KEY": new_secret_key, "ENCRYPTION_KEY": new_encryption_key}


def add_missing_keys(path: Path, names: list[str]) -> dict[str, str]:
    """Make each named key unless the file holds it by now, and give them all.

    Two processes may start at the same moment: the second one waits and finds what the first one wrote. The file is
    replaced as a whole, so that a crash leaves the old one or the new one, and only its owner can read it.
    """
    try:
        with _only_one(path.parent):
            present = read(path)
            made = {name: MADE_HERE[name]() for name in names if name not in present}
            if made:
                _append(path.resolve(), made)
    except OSError as error:
        raise EnvFileError(
            f"{' and '.join(names)} must be kept in {path}, which cannot be written: {error.strerror}.\n"
            "Make the directory writable for this user, or set the variables yourself (SECRET_KEY_FILE names a file with it)."
        ) from None
    return {name: value for name, value in (present | made).items() if name in names}


@contextlib.contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold a lock on the directory: on one of its files it would be lost when that is replaced."""
    if sys.platform == "win32":  # directories cannot be locked there, and nobody runs several processes
        yield
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _append(path: Path, variables: dict[str, str]) -> None:
    old = (
        path.read_text("utf-8-sig")
        if path.exists()
        else "# Secrets of this installation. Keep a copy, show it to nobody.\n"
    )
    lines = [f"{name}={value}\n" for name, value in variables.items()]
    text = old + ("" if old.endswith("\n") or not old else "\n") + "".join(lines)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".env.")  # mode 600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
