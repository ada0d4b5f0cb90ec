"""Secrets at rest: sealed for one row with one encryption key, and told apart without being shown."""

from __future__ import annotations

import base64
import os

import pytest

from streaming import keys
from streaming.models import APIKey, Provider
from tests.conftest import Chat

SECRET = "sk-proj-a-secret-of-alice-1234"
ROW = "streaming.apikey|1|1"


def test_what_is_sealed_for_a_row_is_opened_there() -> None:
    assert keys.unseal(keys.seal(SECRET, ROW), ROW) == SECRET


def test_in_another_row_it_stays_shut() -> None:
    with pytest.raises(keys.Locked):
        keys.unseal(keys.seal(SECRET, ROW), "streaming.apikey|1|2")


def test_with_another_encryption_key_it_stays_shut(chat: Chat) -> None:
    sealed = keys.seal(SECRET, ROW)
    chat(encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode())
    with pytest.raises(keys.Locked):
        keys.unseal(sealed, ROW)


@pytest.mark.parametrize("place", range(0, 58, 7))
def test_a_changed_bit_is_noticed(place: int) -> None:
    sealed = bytearray(keys.seal(SECRET, ROW))
    sealed[place] ^= 1
    with pytest.raises(keys.Locked):
        keys.unseal(bytes(sealed), ROW)


@pytest.mark.parametrize("sealed", [b"", b"short", b"\0" * 12, b"\0" * 28])
def test_what_was_never_sealed_is_locked_and_no_crash(sealed: bytes) -> None:
    with pytest.raises(keys.Locked):
        keys.unseal(sealed, ROW)


def test_nothing_of_a_secret_stands_in_what_is_sealed() -> None:
    sealed = keys.seal(SECRET, ROW)
    assert SECRET.encode() not in sealed
    assert keys.seal(SECRET, ROW) != sealed


def test_a_fingerprint_tells_secrets_apart(chat: Chat) -> None:
    mark = keys.fingerprint(SECRET)
    assert (mark, len(mark)) == (keys.fingerprint(SECRET), 8)
    assert keys.fingerprint(SECRET + "5") != mark
    # Elsewhere the same secret has another one: lists of two sites tell nothing when they are compared.
    chat(encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode())
    assert keys.fingerprint(SECRET) != mark


def test_the_error_names_no_secret() -> None:
    with pytest.raises(keys.Locked) as locked:
        keys.unseal(keys.seal(SECRET, ROW), "elsewhere")
    assert SECRET not in str(locked.value) + repr(locked.value.__cause__)


# In rows


@pytest.fixture
def provider(db: None) -> Provider:
    return Provider.objects.create(name="Home", base_url="https://home.example/v1")


def stored(provider: Provider, secret: str = SECRET) -> APIKey:
    key = APIKey(provider=provider, label="Team")
    key.put(secret)
    key.save()
    return APIKey.objects.get(pk=key.pk)


def test_a_key_comes_back_from_its_row(provider: Provider) -> None:
    key = stored(provider)
    assert (key.reveal(), key.last_four) == (SECRET, "1234")


def test_of_a_short_key_nothing_is_shown(provider: Provider) -> None:
    assert stored(provider, "short-secret").last_four == ""


def test_a_key_that_was_copied_to_another_provider_stays_shut(provider: Provider) -> None:
    key = stored(provider)
    thief = Provider.objects.create(name="Thief", base_url="https://thief.example/v1")
    APIKey.objects.filter(pk=key.pk).update(provider=thief)
    with pytest.raises(keys.Locked):
        APIKey.objects.get(pk=key.pk).reveal()


@pytest.mark.parametrize(
    "base_url",
    [
        "https://thief.example/v1",
        "https://home.example:8443/v1",
        "http://home.example/v1",
        "https://home.example.thief.example/v1",
    ],
)
def test_another_host_port_or_scheme_drops_the_keys(provider: Provider, base_url: str) -> None:
    stored(provider)
    provider.base_url = base_url
    provider.save()
    assert not provider.keys.exists()


@pytest.mark.parametrize(
    "base_url", ["https://home.example/v2", "https://home.example:443/v1", "https://HOME.example/v1"]
)
def test_another_path_of_the_same_host_keeps_them(provider: Provider, base_url: str) -> None:
    stored(provider)
    provider.base_url = base_url
    provider.save()
    assert provider.keys.count() == 1
