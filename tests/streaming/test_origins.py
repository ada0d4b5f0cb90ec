"""Whose pages may open a socket with somebody's cookie."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from streaming.origins import OriginValidator, is_allowed
from tests.cases import hundreds
from tests.conftest import Chat


@pytest.fixture(autouse=True)
def hosts(settings: Settings, chat: Chat) -> None:
    settings.ALLOWED_HOSTS = ["chat.example", "localhost", "127.0.0.1", "[::1]"]
    settings.SECURE_PROXY_SSL_HEADER = None
    chat(allowed_origins=())


def scope(
    origin: str | None, host: str | None = "chat.example", scheme: str = "ws", forwarded: str | None = None
) -> Any:
    headers = {"origin": origin, "host": host, "x-forwarded-proto": forwarded}
    pairs = [(name.encode(), value.encode("latin1")) for name, value in headers.items() if value is not None]
    return {"type": "websocket", "scheme": scheme, "headers": pairs}


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("http://chat.example", "chat.example", "ws"),
        ("http://chat.example:80", "chat.example", "ws"),
        ("http://chat.example", "chat.example:80", "ws"),
        ("https://chat.example", "chat.example", "wss"),
        ("https://chat.example", "chat.example:443", "wss"),
        ("http://localhost:3000", "localhost:3000", "ws"),
        ("http://127.0.0.1:3000", "127.0.0.1:3000", "ws"),
        ("http://[::1]:3000", "[::1]:3000", "ws"),
        ("http://[::1]", "[::1]", "ws"),
        ("HTTP://Chat.Example", "chat.example", "ws"),
        ("http://chat.example", "CHAT.EXAMPLE", "ws"),
        ("http://chat.example/", "chat.example", "ws"),
    ],
)
def test_a_page_of_ours_is_let_in(origin: str, host: str, scheme: str) -> None:
    assert is_allowed(scope(origin, host, scheme))


@pytest.mark.parametrize(
    "origin",
    [
        *(None, "", "null", "about:blank", "file://", "chat.example", "//chat.example", "http://"),
        *("https://chat.example", "ws://chat.example", "chrome-extension://chat.example"),  # another scheme
        *("http://chat.example:81", "http://chat.example:443", "http://chat.example:99999"),  # another port
        *(
            "http://evil.example",
            "http://chat.example.evil.example",
            "http://evilchat.example",
            "http://sub.chat.example",
        ),
        *(
            "http://chat.example.",
            "http://chat.example@evil.example",
            "http://evil.example#chat.example",
            "http://[::1",
        ),
        "http://localhost",  # a host of ours, and not the one that was asked
    ],
)
def test_any_other_page_is_refused(origin: str | None) -> None:
    assert is_allowed(scope("http://chat.example"))
    assert not is_allowed(scope(origin))


@pytest.mark.parametrize("origin", [None, "", "null", "http://chat.example:99999", "http://["])
@pytest.mark.parametrize("host", [None, "", "chat.example:99999", "chat.example:x", ":", "[::1", "@", "chat.example:"])
def test_a_broken_host_matches_no_broken_origin(origin: str | None, host: str | None) -> None:
    assert not is_allowed(scope(origin, host))


def test_a_host_that_is_not_ours_is_refused_even_to_its_own_page() -> None:
    assert not is_allowed(scope("http://evil.example", "evil.example"))


def test_a_foreign_ipv6_address_is_refused() -> None:
    assert not is_allowed(scope("http://[::2]:3000", "[::1]:3000"))


# Further origins


@pytest.mark.parametrize("origin", ["https://other.example", "HTTPS://OTHER.EXAMPLE", "https://other.example/"])
def test_an_origin_of_the_list_is_let_in(chat: Chat, origin: str) -> None:
    chat(allowed_origins=("https://Other.example/",))
    assert is_allowed(scope(origin))


@pytest.mark.parametrize(
    "origin", ["http://other.example", "https://other.example:8443", "https://x.other.example", "null", ""]
)
def test_the_list_means_scheme_host_and_port(chat: Chat, origin: str) -> None:
    chat(allowed_origins=("https://other.example",))
    assert not is_allowed(scope(origin))


# Behind a proxy


def test_a_proxy_that_is_trusted_tells_the_scheme(settings: Settings) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert is_allowed(scope("https://chat.example", forwarded="https"))
    assert not is_allowed(scope("http://chat.example", forwarded="https"))


def test_a_proxy_that_is_not_trusted_tells_nothing() -> None:
    assert not is_allowed(scope("https://chat.example", forwarded="https"))
    assert is_allowed(scope("http://chat.example", forwarded="https"))


@hundreds
@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_headers_make_it_fail(origin: str, host: str) -> None:
    assert not is_allowed(scope(origin, host))


@pytest.mark.parametrize(
    ("origin", "messages"), [("http://evil.example", ["websocket.close"]), ("http://chat.example", [])]
)
async def test_a_refused_handshake_is_closed_before_it_is_accepted(origin: str, messages: list[str]) -> None:
    reached, sent = [], []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope)

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, str]) -> None:
        sent.append(message["type"])

    await OriginValidator(application)(scope(origin), receive, send)
    assert sent == messages
    assert bool(reached) is not bool(messages)
