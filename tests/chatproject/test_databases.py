"""The file of SQLite."""

from pathlib import Path

import pytest
from django.db.utils import ConnectionHandler

from chatproject.databases import database


@pytest.mark.django_db
def test_the_file_of_sqlite_and_its_journals_are_their_owners_alone(tmp_path: Path) -> None:
    connections = ConnectionHandler({"default": database(f"sqlite:///{tmp_path}/chat.sqlite3", tmp_path)})
    with connections["default"].cursor() as cursor:
        cursor.execute("CREATE TABLE words (said TEXT)")
    files = list(tmp_path.iterdir())
    assert {path.name for path in files} >= {"chat.sqlite3", "chat.sqlite3-wal"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    connections.close_all()
