"""Who may have an account here, and how the first one comes to be."""

import secrets
from collections.abc import Iterable

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

# Without what looks alike: l and 1, o and 0. 15 of these 31 are 74 bits, over which nobody guesses.
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"


class AccountAdapter(DefaultAccountAdapter):
    """allauth asks this class what the installation allows."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Strangers may make themselves an account only where config.yaml says so; administrators make them in the admin."""
        return bool(settings.CHAT.sign_up)


def make_first_administrator() -> tuple[str, str] | None:
    """Make an administrator if there is none, and give name and password, which is readable nowhere else.

    Two processes may try this at once: the name is unique, so one of them gets None.
    """
    if User.objects.filter(is_superuser=True).exists():
        return None
    name = "admin" if not User.objects.filter(username="admin").exists() else f"admin-{secrets.token_hex(3)}"
    password = readable_password()
    try:
        with transaction.atomic():
            User.objects.create_superuser(name, password=password)
    except IntegrityError:
        return None
    return name, password


def sign_out_everywhere(people: Iterable[User]) -> int:
    """End all sessions of these people; how many there were. Whose a session is stands inside it, so all are opened."""
    theirs = {str(person.pk) for person in people}
    alive = Session.objects.filter(expire_date__gt=timezone.now())
    keys = [session.pk for session in alive.iterator() if session.get_decoded().get(SESSION_KEY) in theirs]
    Session.objects.filter(pk__in=keys).delete()
    return len(keys)


def readable_password() -> str:
    """A password that can be copied from a screen by hand."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(5)) for _ in range(3))
