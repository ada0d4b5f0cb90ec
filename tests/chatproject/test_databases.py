"""The file of SQLite, and the pool of PostgreSQL."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db.utils import ConnectionHandler
from psycopg_pool import PoolTimeout

from chatproject.databases import database
from chatproject.postgresql.pool import Pool
from tests.services import PostgresServer


@pytest.mark.django_db
def test_the_file_of_sqlite_and_its_journals_are_their_owners_alone(tmp_path: Path) -> None:
    connections = ConnectionHandler({"default": database(f"sqlite:///{tmp_path}/chat.sqlite3", tmp_path)})
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE words (said TEXT)")
    files = list(tmp_path.iterdir())
    assert {path.name for path in files} >= {"chat.sqlite3", "chat.sqlite3-wal"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    connections.close_all()


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """One of its own, to be stopped."""
    with PostgresServer() as server:
        yield server


@pytest.mark.services
def test_a_pool_of_broken_connections_gives_a_sound_one_without_a_rest(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psycopg's own rests for a second behind the second that is broken, and for two behind the third."""

    def rest(seconds: float) -> None:
        pytest.fail(f"{seconds} s of rest")

    monkeypatch.setattr("psycopg_pool.pool.sleep", rest)
    with Pool(postgres.database_url("postgres"), min_size=5, kwargs={"autocommit": True}) as pool:
        pool.wait()
        postgres.stop()
        postgres.start()
        with pool.connection() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.services
def test_a_pool_that_found_nobody_for_long_is_back_with_the_database(postgres: PostgresServer) -> None:
    """Who waits makes it try, also where every attempt was given up."""
    with Pool(postgres.database_url("postgres"), min_size=1, reconnect_timeout=0.1) as pool:
        pool.wait()
        postgres.stop()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(pool.getconn, 30)
            while pool.get_stats().get("connections_errors", 0) < 4:
                time.sleep(0.05)
            assert not waiting.done()
            postgres.start()
            connection = waiting.result()
            assert connection.execute("SELECT 1").fetchone() == (1,)
            pool.putconn(connection)


@pytest.mark.services
def test_a_pool_without_a_database_says_so_in_time(postgres: PostgresServer) -> None:
    postgres.stop()
    with Pool(postgres.database_url("postgres"), min_size=0, max_size=1, reconnect_timeout=0.1) as pool:
        with pytest.raises(PoolTimeout):
            pool.getconn(1)
        assert pool.get_stats()["connections_errors"] > 1
