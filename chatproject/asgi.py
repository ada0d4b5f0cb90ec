"""The application: pages, event streams and sockets, and the life of the process."""

import gc
import os
from typing import Any

from django.core.asgi import get_asgi_application

# Modules are no garbage: looking for some while they load takes a quarter of the time until the first connection.
gc.disable()

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
pages = get_asgi_application()

# These need the apps to be loaded, which the line above has done.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from streaming import process, shutdown  # noqa: E402
from streaming.line import line_under  # noqa: E402
from streaming.origins import OriginValidator  # noqa: E402
from streaming.routing import websocket_urlpatterns  # noqa: E402

gc.freeze()
gc.enable()

sockets: Any = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
router: Any = ProtocolTypeRouter({"http": pages, "websocket": OriginValidator(sockets)})


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve one connection. The first of all starts what lives as long as the process."""
    if process.current() is None:
        shutdown.go_before_the_server()
    if scope["type"] == "lifespan":
        await live(receive, send)
    else:
        process.start()
        scope["line"] = line_under(send)
        await router(scope, receive, send)


async def live(receive: Any, send: Any) -> None:
    """Begin and end with the server, where the server tells (uvicorn does)."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            process.start(anew=True)
            await send({"type": "lifespan.startup.complete"})
        else:
            await process.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
