"""Which pages may open a socket with somebody's cookie.

Browsers send the cookie along whatever page opens the socket, so the Origin is what
tells our page from another's. Channels' own validator looks at neither scheme nor port.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import split_domain_port, validate_host

Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class OriginValidator:
    """Refuses, with 403, a handshake whose Origin is foreign, absent or null."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if is_allowed(scope):
            await self.application(scope, receive, send)
        else:
            # Closing before accepting is what makes servers answer 403.
            await receive()
            await send({"type": "websocket.close"})


def is_allowed(scope: Scope) -> bool:
    """Does the Origin equal the address that was asked, or one of those allowed?"""
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode("latin1").lower().rstrip("/")
    if origin in {allowed.lower().rstrip("/") for allowed in settings.CHAT.allowed_origins}:
        return True
    host = headers.get(b"host", b"").decode("latin1").lower()
    domain, _ = split_domain_port(host)
    if not domain or not validate_host(domain, settings.ALLOWED_HOSTS):
        return False
    asked = _parts(f"{_scheme(scope, headers)}://{host}")
    return asked is not None and _parts(origin) == asked


def _scheme(scope: Scope, headers: dict[bytes, bytes]) -> str:
    if settings.SECURE_PROXY_SSL_HEADER:
        forwarded = headers.get(b"x-forwarded-proto", b"").decode("latin1")
        if forwarded.partition(",")[0].strip().lower() in ("https", "wss"):
            return "https"
    return "https" if scope.get("scheme") in ("wss", "https") else "http"


def _parts(origin: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError):
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
