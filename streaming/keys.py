"""Secrets at rest: AES-GCM with the row as associated data.

A sealed secret opens only in the row it was sealed for: copied into another one, say by
somebody who can write to the database and waits for it at a server of his own, it stays
shut.
"""

import hashlib
import hmac
import os
from base64 import urlsafe_b64decode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

NONCE_BYTES = 12  # what AES-GCM is made for: NIST SP 800-38D, 8.2


class Locked(Exception):
    """A secret cannot be opened: the encryption key or the row is not the one it was
    sealed with."""


def seal(secret: str, row: str) -> bytes:
    """Return `secret` encrypted for `row`, a text that names the row for good."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + _cipher().encrypt(nonce, secret.encode(), row.encode())


def unseal(sealed: bytes, row: str) -> str:
    """Return the secret that was sealed for `row`. Raises Locked."""
    nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    try:
        return _cipher().decrypt(nonce, body, row.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise Locked("this secret was sealed with another encryption key") from error


def fingerprint(secret: str) -> str:
    """Return eight hex digits by which two rows with the same secret can be told, and
    which nobody can turn back or compare with other sites'."""
    digest = hmac.new(_key(), b"fingerprint|" + secret.encode(), hashlib.sha256)
    return digest.hexdigest()[:8]


def _cipher() -> AESGCM:
    return AESGCM(_key())


def _key() -> bytes:
    return urlsafe_b64decode(settings.CHAT.encryption_key)
