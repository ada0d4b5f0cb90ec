"""What docker-compose.yml starts, started here without Docker: the same commands, the same health checks."""

import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import yaml

from chatproject.config import Config
from streaming.shutdown import SECONDS_TO_LEAVE
from tests.processes import database_url
from tests.services import PostgresServer, Server, dying_with_us, free_port, what_is_missing

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
AnyServer = TypeVar("AnyServer", bound=Server)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def interpolated(value: str, environ: dict[str, str]) -> str:
    """What compose makes of ${NAME:-default}."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], value)


def needs(*programs: str) -> None:
    """Skip where a program is missing, except where everything should be there."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing and os.environ.get("CI"):
        pytest.fail(f"not installed: {', '.join(missing)}")
    elif missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


class Service(Server):
    """One service of the file. `exchange` names what is elsewhere on this machine: ports, folders, other services."""

    def __init__(self, name: str, exchange: dict[str, str] | None = None, **environ: str) -> None:
        super().__init__()
        self.written = SERVICES[name]
        self.exchange = exchange or {}
        self.environ = environ
        self.directory = ROOT

    def environment(self) -> dict[str, str]:
        """As in the image, `python` and `uvicorn` are those of our environment."""
        written = {key: interpolated(value, {}) for key, value in self.written.get("environment", {}).items()}
        return {**os.environ, **written, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **self.environ}

    def exchanged(self, words: list[str]) -> list[str]:
        for old, new in self.exchange.items():
            words = [word.replace(old, new) for word in words]
        return words

    def command(self) -> list[str]:
        return [*dying_with_us(self.stop_signal), *self.exchanged(self.written["command"])]

    def health_command(self) -> list[str]:
        kind, *words = self.written["healthcheck"]["test"]
        assert kind == "CMD"
        return self.exchanged(words)

    def check_health(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.health_command(),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self.environment(),
            timeout=10,
            check=False,
        )

    def try_once(self) -> None:
        # A check is a program of its own: not so often that it holds up the start it waits for.
        time.sleep(0.3)
        self.check_health().check_returncode()


class Redis(Service):
    """Redis takes its port from words of the command only."""

    def command(self) -> list[str]:
        return [*super().command(), "--port", str(self.port)]

    def health_command(self) -> list[str]:
        program, *words = super().health_command()
        return [program, "-p", str(self.port), *words]


class Postgres(PostgresServer):
    """The image makes the data folder before it runs the command; here PostgresServer does."""

    def command(self) -> list[str]:
        own = super().command()
        place = own.index(str(self.programs / "postgres"))
        return [*own[: place + 1], *SERVICES["postgres"]["command"][1:], *own[place + 1 :]]

    def check_health(self) -> subprocess.CompletedProcess[str]:
        _, program, *words = SERVICES["postgres"]["healthcheck"]["test"]
        environ = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port)}
        return subprocess.run(
            [self.programs / program, *words], capture_output=True, text=True, env=environ, check=False
        )


class Run(Protocol):
    def __call__(self, service: AnyServer) -> AnyServer: ...


@pytest.fixture
def run() -> Iterator[Run]:
    """Start a service, and stop it after the test."""
    running: list[Server] = []

    def run(service: AnyServer) -> AnyServer:
        running.append(service)
        service.start()
        return service

    yield run
    for service in reversed(running):
        service.remove()


@pytest.fixture(scope="module")
def static_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image has in /parley/staticfiles."""
    folder = tmp_path_factory.mktemp("image") / "staticfiles"
    command = [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "CHAT_STATIC_ROOT": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def web_service(static_root: Path, database_url: str) -> Service:
    port = free_port()
    service = Service(
        "web",
        WEB_HOST="127.0.0.1",
        WEB_PORT=str(port),
        DATABASE_URL=database_url,
        REDIS_URL="",
        CHAT_STATIC_ROOT=str(static_root),
        CHAT_ENV_FILE=str(static_root.parent / ".env"),
    )
    service.port = port
    return service


def caddy_service(web: Service) -> Service:
    needs("caddy", "wget")
    port, health_port = free_port(), free_port()
    service = Service("caddy", {"/etc/caddy/Caddyfile": str(ROOT / "Caddyfile"), ":2020": f":{health_port}"})
    service.port = port
    service.environ = {
        "SITE_ADDRESS": f"http://:{port}",
        "WEB_ADDRESS": f"127.0.0.1:{web.port}",
        "CADDY_HEALTH_PORT": str(health_port),
        "XDG_DATA_HOME": str(service.folder),
        "XDG_CONFIG_HOME": str(service.folder),
    }
    return service


def page_of(port: int, host: str = "localhost", **headers: str) -> tuple[int, str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/accounts/login/", headers={"Host": f"{host}:{port}", **headers}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return response.status, response.read().decode(), response.headers


def test_web_starts_migrates_and_is_healthy(run: Run, static_root: Path, tmp_path: Path) -> None:
    web = run(web_service(static_root, f"sqlite:///{tmp_path}/db.sqlite3"))
    status, page, _ = page_of(web.port)
    assert status == 200
    assert re.search(r'href="/static/css/[\w-]+\.[0-9a-f]{12}\.css"', page)


def test_web_is_not_healthy_before_it_serves(static_root: Path, tmp_path: Path) -> None:
    assert web_service(static_root, f"sqlite:///{tmp_path}/db.sqlite3").check_health().returncode == 1


def test_web_ends_at_once_with_a_sentence_when_the_database_is_not_there(static_root: Path) -> None:
    web = web_service(static_root, f"postgresql://parley:hunter2@127.0.0.1:{free_port()}/parley")
    done = subprocess.run(
        web.command(), env=web.environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "Is it running, and is databaseUrl (DATABASE_URL) right?" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def worker_service(folder: Path) -> Service:
    service = Service("replies", {"/tmp/replies": str(folder / "replies")}, REDIS_URL="")
    service.environ |= {"DATABASE_URL": database_url(), "CHAT_ENV_FILE": str(folder / ".env")}
    return service


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_healthy_while_it_looks_at_its_database(run: Run, tmp_path: Path) -> None:
    worker = worker_service(tmp_path)
    assert worker.check_health().returncode == 1
    run(worker)
    assert worker.check_health().returncode == 0
    worker.pause()
    os.utime(tmp_path / "replies", (0, 0))
    assert "has not looked at its database" in worker.check_health().stderr


def test_who_is_asked_to_end_has_the_time_for_it() -> None:
    drains = {"web": Config().drain_seconds, "replies": float(interpolated("${REPLIES_DRAIN_SECONDS:-590}", {}))}
    for name, drain in drains.items():
        grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert drain + SECONDS_TO_LEAVE < grace, name
    assert SERVICES["replies"]["environment"]["CHAT_DRAIN_SECONDS"] == "${REPLIES_DRAIN_SECONDS:-590}"


def test_caddy_hands_pages_through_and_is_healthy(run: Run, static_root: Path, tmp_path: Path) -> None:
    web = run(web_service(static_root, f"sqlite:///{tmp_path}/db.sqlite3"))
    caddy = run(caddy_service(web))
    status, page, headers = page_of(caddy.port, **{"Accept-Encoding": "identity"})
    assert status == 200
    assert "csrf" in page
    assert "uvicorn" not in headers.get("Server", "")


def test_redis_starts_and_is_healthy(run: Run) -> None:
    needs("redis-server", "redis-cli")
    assert run(Redis("redis")).check_health().stdout == "PONG\n"


def test_postgres_starts_and_is_healthy(run: Run) -> None:
    if what_is_missing():
        needs("initdb")
    postgres = Postgres()
    assert postgres.check_health().returncode == 2
    assert run(postgres).check_health().returncode == 0


def test_nothing_but_the_page_is_published() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"caddy": ["${PORT:-3000}:3000"]}


def test_each_service_has_a_health_check_and_waits_for_those_it_needs() -> None:
    assert all("healthcheck" in service for service in SERVICES.values())
    for service in SERVICES.values():
        assert all(needed["condition"] == "service_healthy" for needed in service.get("depends_on", {}).values())


def test_the_image_takes_in_no_secret_and_no_data() -> None:
    first, *rest = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert first == "*"
    taken = {line.removeprefix("!") for line in rest if line.startswith("!")}
    assert not taken & {".env", "db.sqlite3", ".git", "node_modules", ".venv"}
