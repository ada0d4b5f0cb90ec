"""`manage.py setup`: everything between installed Python packages and a server that can start."""

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from chatproject import accounts, npm


class Command(BaseCommand):
    """Each step looks first whether there is something to do, so that doing it again costs nothing."""

    help = "Install the npm packages, bring the database up to date and make the first administrator."
    requires_system_checks: list[str] = []  # it repairs what they would complain about

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Each step can be left out: an image has its static files, another installation its users from elsewhere."""
        parser.add_argument("--no-npm", action="store_true", help="leave the npm packages alone")
        parser.add_argument("--for-checks", action="store_true", help="install the npm packages of the checks, too")
        parser.add_argument("--no-migrate", action="store_true", help="leave the tables alone")
        parser.add_argument("--no-admin", action="store_true", help="make no administrator")

    def handle(
        self, *args: Any, no_npm: bool, for_checks: bool, no_migrate: bool, no_admin: bool, **options: Any
    ) -> None:
        """Do the steps; one that fails ends the command with a sentence."""
        if not no_npm:
            self.install_packages(for_checks)
        if not no_migrate:
            self.migrate()
        if not no_admin:
            self.introduce_administrator()

    def install_packages(self, for_checks: bool) -> None:
        """Ensure that the page finds its npm packages, and the checks theirs."""
        try:
            npm.ensure_packages(self.stdout.write, for_checks=for_checks)
        except npm.NPMError as error:
            raise CommandError(f"The page needs npm packages that are not there.\n{error}") from None

    def migrate(self) -> None:
        """Bring the tables up to date, if they are not."""
        try:
            if self.has_pending_migrations():
                self.stdout.write("Bringing the database up to date …")
                call_command("migrate", interactive=False, verbosity=0, skip_checks=True)
        except DatabaseError as error:
            raise CommandError(_database_sentence(error)) from None

    def has_pending_migrations(self) -> bool:
        """Whether the code knows changes of the tables that the database has not seen."""
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))

    def introduce_administrator(self) -> None:
        """Make the first administrator and tell the password, this once and only to this terminal."""
        try:
            made = accounts.make_first_administrator()
        except DatabaseError as error:
            raise CommandError(f"{_database_sentence(error)}\nIf it is new: python manage.py migrate") from None
        if made is not None:
            self.stdout.write(administrator_sentence(*made))


def administrator_sentence(name: str, password: str) -> str:
    """What is shown once."""
    return (
        "\n"
        "  The first administrator, shown only this once:\n"
        "\n"
        f"    name      {name}\n"
        f"    password  {password}\n"
        "\n"
        "  Change it on the page, or with: python manage.py changepassword " + name + "\n"
    )


def _database_sentence(error: DatabaseError) -> str:
    place = connection.settings_dict
    where = f"{place['HOST']}:{place['PORT'] or 5432}" if place.get("HOST") else place["NAME"]
    reason = str(error).strip()
    return f"The database at {where} cannot be used: {reason}\nIs it running, and is databaseUrl (DATABASE_URL) right?"
