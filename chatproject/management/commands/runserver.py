"""`manage.py runserver`: daphne on the address of config.yaml, after seeing to what it needs."""

import os
import socket
from argparse import ArgumentParser
from typing import Any

from daphne.endpoints import build_endpoint_description_strings
from daphne.management.commands.runserver import Command as DaphneCommand
from daphne.management.commands.runserver import get_default_application
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

# Our own flow control closes a tab that does not read (4408, ackSeconds); the server's ping must not be faster with its
# plain 1006.
PING_MARGIN_SECONDS = 30


class Command(DaphneCommand):
    """Works after `pip install` and `manage.py migrate` alone: what else is missing it fetches or makes."""

    help = "Start Parley on the address of config.yaml (or: manage.py runserver 8000)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`make run` does the set-up by the same command, because starting Django twice would double the wait."""
        super().add_arguments(parser)
        parser.add_argument("--set-up", action="store_true", help="bring the database up to date first")

    def handle(self, *args: Any, set_up: bool, **options: Any) -> None:
        """Prepare once, in the parent of the autoreloader, then hand over to daphne and Django."""
        options["addrport"] = options["addrport"] or configured_address()
        if os.environ.get("RUN_MAIN") != "true":
            refuse_taken_port(options["addrport"])
            call_command("setup", no_migrate=not set_up, stdout=self.stdout)
        super().handle(*args, **options)

    def inner_run(self, *args: Any, **options: Any) -> None:
        """Run daphne and say in one line where."""
        self.check(display_num_errors=False)
        self.check_migrations()
        try:
            self.server(**options).run()
        except KeyboardInterrupt:
            if options.get("shutdown_message"):
                self.stdout.write(options["shutdown_message"])

    def server(self, **options: Any) -> Any:
        """The server as it will run; static files are served by a middleware, here as in production."""
        return self.server_cls(
            application=get_default_application(),
            endpoints=build_endpoint_description_strings(host=self.addr, port=int(self.port)),
            signal_handlers=not options["use_reloader"],
            action_logger=self.log_action,
            http_timeout=self.http_timeout,
            root_path=getattr(settings, "FORCE_SCRIPT_NAME", "") or "",
            ping_timeout=settings.CHAT.ack_seconds + PING_MARGIN_SECONDS,
            websocket_handshake_timeout=self.websocket_handshake_timeout,
            websocket_max_message_size=self.websocket_max_message_size,
            websocket_max_frame_size=self.websocket_max_frame_size,
            ready_callable=self.say_where,
        )

    def say_where(self) -> None:
        """The one line that everybody looks for."""
        self.stdout.write(f"Parley is at http://{shown_host(self.addr)}:{self.port}/  (Ctrl+C stops it)")
        self.stdout.flush()


def configured_address() -> str:
    """host and port of config.yaml, as runserver wants them."""
    host = settings.CHAT.host
    return f"[{host}]:{settings.CHAT.port}" if ":" in host else f"{host}:{settings.CHAT.port}"


def shown_host(address: str) -> str:
    """A host that a browser on this machine understands."""
    address = address.strip("[]")
    if address in ("127.0.0.1", "0.0.0.0", "::", "::1"):  # noqa: S104
        return "localhost"
    return f"[{address}]" if ":" in address else address


def refuse_taken_port(address: str) -> None:
    """daphne itself would only log a failure and end."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host or "127.0.0.1", int(port)))
    except OSError as error:
        raise CommandError(
            f"Cannot listen on {address}: {error.strerror or error}.\n"
            f"Stop the program that has port {port}, or choose another one: PORT={int(port) + 1} make run"
        ) from None
