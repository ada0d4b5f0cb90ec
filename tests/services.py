"""Real servers for the tests, and an environment in which nothing of the developer's own leaks.

Loaded before pytest-django reads the settings (`-p tests.services`). `TEST_ON=sqlite` (the default) needs nothing;
`TEST_ON=postgresql` starts a PostgreSQL and a Redis on free ports, in a temporary folder, and stops them again. With
pytest-xdist PostgreSQL is shared (pytest-django gives each worker its own database) and each worker has its own Redis,
because Redis' publish and subscribe knows no database numbers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import gc
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import psutil
import psycopg
import pytest
import redis

TEST_ON = os.environ.get("TEST_ON", "sqlite")
KINDS = ("sqlite", "postgresql")

#: Two programs that start one after another take 5 s, and six times that on a machine with much else to do.
START_SECONDS = 60.0
STOP_SECONDS = 10.0


class ServiceMissing(Exception):
    """A program that a test needs is not installed."""


def free_port() -> int:
    """A port at which a server can also start again: those from 32768 on are given to clients meanwhile."""
    while True:
        port = random.randrange(15_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Program(Protocol):
    """What is running: a `subprocess.Popen`, or a `Fork`."""

    pid: int

    def wait(self, timeout: float | None = None) -> int: ...

    def poll(self) -> int | None: ...

    def send_signal(self, number: signal.Signals, /) -> None: ...


class Server:
    """A program of its own, in its own process group, which dies with us, however we die."""

    stop_signal = signal.SIGTERM

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="parley-test-"))
        self.directory = self.folder
        self.port = free_port()
        self.process: Program | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def try_once(self) -> None:
        """Returns when the server answers, raises while it does not."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Starts it, also again after `stop` or `kill`: same port, same data."""
        self.launch()
        while not self.is_ready():
            time.sleep(0.02)

    async def astart(self) -> None:
        """Starts without stopping the loop, in which the upstream lives."""
        # Not all of it on a thread: what a thread has started dies with the thread.
        self.launch()
        while not await asyncio.to_thread(self.is_ready):
            await asyncio.sleep(0.05)

    def launch(self) -> None:
        """Starts it without waiting until it answers."""
        self.process = self.run()
        self.deadline = time.monotonic() + START_SECONDS

    def run(self) -> Program:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=self.environment(),
                start_new_session=True,
            )

    def is_ready(self) -> bool:
        """Raises when it never will be."""
        assert self.process is not None
        try:
            self.try_once()
            return True
        except Exception as error:
            if self.process.poll() is not None or time.monotonic() > self.deadline:
                self.kill()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{self.log()}") from error
            return False

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def signal(self, number: signal.Signals) -> None:
        """To the program and all its children."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def terminate(self) -> None:
        """Asks it to end, as a service manager does."""
        assert self.process is not None
        self.process.send_signal(self.stop_signal)

    def stop(self) -> None:
        if self.process is not None:
            self.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Stops it from answering, with all its connections open: the network's worst case."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def remove(self) -> None:
        if self.process is not None:
            self.resume()
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def dying_with_us(stop_signal: signal.Signals, *options: str) -> list[str]:
    """The words before a command that end it when this process ends, even by SIGKILL."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), *options]


class RedisServer(Server):
    def __init__(self) -> None:
        self.program = find_redis()
        super().__init__()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        words = [word for key, value in options.items() for word in (f"--{key}", value)]
        return [*dying_with_us(self.stop_signal), self.program, *words]

    def try_once(self) -> None:
        with redis.Redis(port=self.port) as client:
            client.ping()

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def keys(self) -> list[bytes]:
        with self.client() as client:
            return sorted(client.scan_iter())

    def cut_connections(self) -> int:
        """Closes all connections but our own; how many there were."""
        with self.client() as client:
            kinds = ("normal", "pubsub")
            return sum(client.client_kill_filter(_type=kind, skipme=True) for kind in kinds)


class PostgresServer(Server):
    # SIGTERM would wait for every client to go.
    stop_signal = signal.SIGINT

    def __init__(self) -> None:
        self.programs = find_postgres()
        super().__init__()
        self.user = unprivileged_user()
        self.data = self.folder / "data"
        if self.user is not None:
            os.chown(self.folder, self.user.pw_uid, self.user.pw_gid)
        try:
            self.initialise()
        except BaseException:
            self.remove()
            raise

    @property
    def url(self) -> str:
        return self.database_url("parley")

    def database_url(self, name: str) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/{name}"

    def as_user(self) -> list[str]:
        """PostgreSQL refuses to run as root."""
        if self.user is None:
            return dying_with_us(self.stop_signal)
        uid, gid = str(self.user.pw_uid), str(self.user.pw_gid)
        return dying_with_us(self.stop_signal, "--reuid", uid, "--regid", gid, "--clear-groups")

    def initialise(self) -> None:
        how = ["--no-sync", "--auth=trust", "--username=parley", "--encoding=UTF8", "--locale=C"]
        initdb = [*self.as_user(), str(self.programs / "initdb"), *how, f"--pgdata={self.data}"]
        done = subprocess.run(initdb, capture_output=True, cwd=self.folder, check=False)
        if done.returncode:
            raise RuntimeError(f"initdb failed:\n{done.stderr.decode(errors='replace')}")

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            # What it finds out by itself, at a time of its own, decides how it reads: a test would see another plan now and then.
            "autovacuum": "off",
        }
        words = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
        return [*self.as_user(), str(self.programs / "postgres"), "-D", str(self.data), *words]

    def try_once(self) -> None:
        with psycopg.connect(self.database_url("postgres"), connect_timeout=2):
            pass

    def signal(self, number: signal.Signals) -> None:
        """Each of its processes is in a group of its own."""
        assert self.process is not None
        try:
            whole = psutil.Process(self.process.pid)
            all_of_it = [whole, *whole.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(number)
        if number == signal.SIGKILL:
            # What outlives it keeps the shared memory, without which it does not start again.
            psutil.wait_procs(all_of_it, STOP_SECONDS)

    def remove_harm(self) -> None:
        """Whatever was done to it, it serves again."""
        if self.process is None:
            self.start()
        self.resume()

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connect() as client:
            cursor = client.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url, autocommit=True)

    def cut_connections(self) -> int:
        """Ends all sessions but our own; how many there were."""
        return len(
            self.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        )


def find_redis() -> str:
    program = shutil.which("redis-server")
    if program is None:
        raise ServiceMissing("redis-server is not installed (Debian: apt install redis-server)")
    return program


def find_postgres() -> Path:
    """The newest PostgreSQL's programs. Debian keeps initdb and postgres off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    if initdb is None:
        raise ServiceMissing("initdb is not installed (Debian: apt install postgresql)")
    return Path(initdb).resolve().parent


def unprivileged_user() -> pwd.struct_passwd | None:
    """Who runs PostgreSQL, or None when we may do it ourselves."""
    if os.geteuid() != 0:
        return None
    if shutil.which("setpriv") is None:
        raise ServiceMissing("PostgreSQL does not run as root and setpriv (util-linux) is not installed")
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


@functools.cache
def what_is_missing() -> str:
    """Why a PostgreSQL with a Redis cannot be had here; empty when it can."""
    try:
        find_redis()
        find_postgres()
        unprivileged_user()
    except ServiceMissing as missing:
        return str(missing)
    return ""


def safe_environment(folder: Path) -> dict[str, str]:
    """Settings of nobody's: the database is a file in `folder` and no key leads anywhere."""
    return {
        "CHAT_CONFIG_FILE": f"{folder}/config.yaml",
        "CHAT_ENV_FILE": f"{folder}/.env",
        "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
        "REDIS_URL": "",
        "SECRET_KEY": "a-secret-for-tests-and-for-nothing-else-whatsoever-0123456789",
        "ENCRYPTION_KEY": base64.urlsafe_b64encode(bytes(range(32))).decode(),
        "OPENAI_API_KEY": "",
        "OPENAI_BASE_URL": "",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,testserver",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def forget_the_developer() -> None:
    for name in list(os.environ):
        ours = (
            name == "PORT"
            or name.startswith(("CHAT_", "OPENAI_"))
            or name.removesuffix("_FILE") in safe_environment(Path())
        )
        if ours or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            del os.environ[name]


@contextlib.contextmanager
def services() -> Iterator[None]:
    """The environment of one test process, with servers where they are wanted."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    database_url = os.environ.get("DATABASE_URL", "")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="parley-test-")))
        forget_the_developer()
        os.environ.update(safe_environment(folder))
        (folder / "config.yaml").touch()
        if TEST_ON == "postgresql" and not what_is_missing():
            server = RedisServer()
            stack.callback(server.remove)
            server.start()
            os.environ["REDIS_URL"] = server.url
            if is_worker:
                os.environ["DATABASE_URL"] = database_url
            else:
                postgres = PostgresServer()
                stack.callback(postgres.remove)
                postgres.start()
                os.environ["DATABASE_URL"] = postgres.url
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    if TEST_ON not in KINDS:
        raise pytest.UsageError(f"TEST_ON is {TEST_ON!r}; it can be {' or '.join(KINDS)}.")
    if TEST_ON == "postgresql" and what_is_missing() and os.environ.get("CI"):
        raise pytest.UsageError(f"TEST_ON=postgresql: {what_is_missing()}.")
    # What is imported and collected is no garbage. Looking for some would take a quarter of the start, and again of each test
    # that looks.
    gc.disable()
    stack = contextlib.ExitStack()
    stack.enter_context(services())
    early_config.add_cleanup(stack.close)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "services: needs PostgreSQL and Redis, that is TEST_ON=postgresql")
    config.addinivalue_line("markers", "browser: needs Chromium")
    config.addinivalue_line("markers", "once: costs much and is the same on any database, so it runs on SQLite alone")
    config.addinivalue_line("markers", "quiet: measures memory or a crowd, so it runs with nothing beside it")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without the servers asked for nothing can be said, neither good nor bad; on PostgreSQL only what touches a
    database is run again."""
    # Long ones first: else the last worker goes on with them when the others have nothing left to do.
    items.sort(key=lambda item: "start_process" not in getattr(item, "fixturenames", ()))
    if TEST_ON != "postgresql":
        for item in items:
            if item.get_closest_marker("services"):
                item.add_marker(pytest.mark.skip(reason="runs with TEST_ON=postgresql"))
        return
    config.hook.pytest_deselected(items=[item for item in items if not differs_by_database(item)])
    items[:] = [item for item in items if differs_by_database(item)]
    if what_is_missing():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=what_is_missing()))


def differs_by_database(item: pytest.Item) -> bool:
    """Pure tests have no database, a browser sees the same frames whatever is behind them, and so does daphne's client;
    of what costs much processor time there is a part that is about anything but the database."""
    if item.get_closest_marker("services"):
        return True
    fixtures = set(getattr(item, "fixturenames", ()))
    has_database = item.get_closest_marker("django_db") or fixtures & {"db", "transactional_db"}
    same = item.get_closest_marker("browser") or item.get_closest_marker("once") or is_about_daphne(item)
    return bool(has_database) and not same


def is_about_daphne(item: pytest.Item) -> bool:
    return getattr(item, "callspec", None) is not None and "daphne" in item.callspec.params.values()  # type: ignore[attr-defined]


def pytest_report_header() -> str:
    return f"on: {TEST_ON}" + (f" ({what_is_missing()})" if TEST_ON == "postgresql" else "")
