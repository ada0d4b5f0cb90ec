"""Who may have an account here."""

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """allauth asks this class what the installation allows."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Strangers may make themselves an account only where config.yaml says so; an administrator always may make one."""
        return bool(settings.CHAT.sign_up)
