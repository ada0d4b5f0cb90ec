"""The application: pages, event streams and sockets, and the life of the process."""

import asyncio
import os
import sys
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
pages = get_asgi_application()

# These need the apps to be loaded, which the line above has done.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from streaming import process  # noqa: E402
from streaming.origins import OriginValidator  # noqa: E402
from streaming.routing import websocket_urlpatterns  # noqa: E402

sockets: Any = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
router: Any = ProtocolTypeRouter({"http": pages, "websocket": OriginValidator(sockets)})

_drains_with_twisted = False


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve one connection. The first of all starts what lives as long as the process."""
    if scope["type"] == "lifespan":
        await live(receive, send)
    else:
        process.start()
        drain_with_twisted()
        await router(scope, receive, send)


async def live(receive: Any, send: Any) -> None:
    """Begin and end with the server, where the server tells (uvicorn does)."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            process.start()
            await send({"type": "lifespan.startup.complete"})
        else:
            await process.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def drain_with_twisted() -> None:
    """daphne has no lifespan: ask its reactor to wait for us before it stops."""
    global _drains_with_twisted
    if _drains_with_twisted or "twisted.internet.reactor" not in sys.modules:
        return
    from twisted.internet import defer

    reactor: Any = sys.modules["twisted.internet.reactor"]
    _drains_with_twisted = True
    if reactor.running:
        reactor.addSystemEventTrigger(
            "before",
            "shutdown",
            lambda: defer.Deferred.fromFuture(asyncio.ensure_future(process.stop())),
        )
