"""The admin as a whole: its name, its door, and the people in it."""

from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from allauth.account.utils import filter_users_by_email
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db.models import Count, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from chatproject import accounts
from conversations.models import Membership

admin.site.site_title = _("Parley administration")
admin.site.site_header = "Parley"
admin.site.index_title = _("Administration")
# The one page to sign in at is allauth's: Django's own lets anybody guess as often as they like.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]


class UniqueEmail:
    """People sign in and get a new password by their address, so it belongs to one of them."""

    cleaned_data: dict[str, Any]
    instance: User

    def clean_email(self) -> str:
        """Refuse the address of somebody else, whatever its capitals."""
        email: str = (self.cleaned_data.get("email") or "").lower()
        if email and any(user.pk != self.instance.pk for user in filter_users_by_email(email)):
            raise ValidationError(_("Somebody else has this address."))
        return email


class NewPersonForm(UniqueEmail, AdminUserCreationForm):  # type: ignore[type-arg]
    pass


class PersonForm(UniqueEmail, UserChangeForm):  # type: ignore[type-arg]
    pass


admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(UserAdmin):  # type: ignore[type-arg]
    """Django's own, in step with the addresses that allauth keeps."""

    form = PersonForm
    add_form = NewPersonForm
    add_fieldsets = (
        (None, {"classes": ("wide",), "fields": ("username", "email", "usable_password", "password1", "password2")}),
    )
    list_display = ("username", "email", "first_name", "last_name", "is_active", "is_staff", "last_login", "talks")
    show_full_result_count = False
    list_per_page = 50
    actions = ("sign_out",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        mine = Membership.objects.filter(user=OuterRef("pk")).order_by().values("user")
        count = Subquery(mine.annotate(count=Count("*")).values("count"), output_field=IntegerField())
        people: QuerySet[User] = super().get_queryset(request)
        return people.annotate(talks=Coalesce(count, 0))

    @admin.display(description=_("conversations"), ordering="talks")
    def talks(self, user: User) -> SafeString:
        url = reverse("admin:conversations_conversation_changelist")
        return format_html('<a href="{}?member={}">{}</a>', url, user.pk, user.talks)  # type: ignore[attr-defined]

    @admin.action(description=_("Sign the selected people out everywhere"), permissions=["change"])
    def sign_out(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """A lost telephone, say: the account stays as it is, and whoever knows the password signs in again."""
        count = accounts.sign_out_everywhere(queryset)
        words = ngettext("%d session was ended.", "%d sessions were ended.", count)
        self.message_user(request, words % count, messages.SUCCESS)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if "email" in form.changed_data:
            follow_email(obj)


def follow_email(user: User) -> None:
    """Make the address that an administrator has entered the only one.

    allauth keeps a list of its own, and sends links for a new password to any address on it: the old one, which may
    have been taken away from this person for a reason, must not stay there.
    """
    EmailAddress.objects.filter(user=user).exclude(email__iexact=user.email).delete()
    if user.email:
        EmailAddress.objects.update_or_create(user=user, email=user.email.lower(), defaults={"primary": True})
