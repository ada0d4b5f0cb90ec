"""The application: pages, event streams and sockets, and the life of the process."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatproject.settings")
pages = get_asgi_application()

# These need the apps to be loaded, which the line above has done.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from streaming import process  # noqa: E402
from streaming.line import line_under  # noqa: E402
from streaming.origins import OriginValidator  # noqa: E402
from streaming.routing import websocket_urlpatterns  # noqa: E402

sockets: Any = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
router: Any = ProtocolTypeRouter({"http": pages, "websocket": OriginValidator(sockets)})


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Serve one connection. The first of all starts what lives as long as the process."""
    if process.current() is None:
        go_before_the_server()
    if scope["type"] == "lifespan":
        await live(receive, send)
    else:
        process.start()
        await router({**scope, "line": line_under(send)}, receive, send)


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


def go_before_the_server() -> None:
    """End replies and say bye before the server hears of SIGTERM or Ctrl+C.

    uvicorn closes the sockets first and tells us then; daphne tells nothing and cuts
    them off. Handlers that are not the server's are left alone.
    """
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            theirs = signal.getsignal(number)
            if callable(theirs) and theirs is not signal.default_int_handler:
                signal.signal(number, stop_and_then(theirs))


_stopping: set[asyncio.Task[None]] = set()


def stop_and_then(theirs: Callable[..., Any]) -> Callable[..., None]:
    """Return a handler that ends what `process` holds, and then calls `theirs`. Who
    signals twice is in a hurry: the second one goes to `theirs` at once."""
    loop = asyncio.get_running_loop()

    async def stop(number: int) -> None:
        try:
            await process.stop()
        finally:
            theirs(number, None)

    def receive(number: int, frame: Any) -> None:
        signal.signal(number, theirs)
        loop.call_soon_threadsafe(lambda: _stopping.add(loop.create_task(stop(number))))

    return receive
