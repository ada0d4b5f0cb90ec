"""Forms of accounts, where allauth's words are not enough."""

from typing import Any

from allauth.account.forms import LoginForm
from django.utils.translation import gettext_lazy as _


class SignInForm(LoginForm):
    """Names its first field by what goes into it, and leaves placeholders out: they are gone as soon as one types."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["login"].label = _("Username or e-mail address")
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
