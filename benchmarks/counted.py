"""The product, with its queries counted: `uvicorn benchmarks.counted:application`.

`GET /queries/` answers how many there have been, on whatever thread; everything else is the product.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from django.db.backends.signals import connection_created

from chatproject.asgi import application as product

#: Counting up is one step of the interpreter, so that threads need no lock.
queries = itertools.count()


def count(execute: Callable[..., Any], *query: Any) -> Any:
    next(queries)
    return execute(*query)


def watch(connection: Any, **kwargs: Any) -> None:
    if count not in connection.execute_wrappers:
        connection.execute_wrappers.append(count)


connection_created.connect(watch)


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http" and scope["path"] == "/queries/":
        body = b"%d" % next(queries)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
    else:
        await product(scope, receive, send)
