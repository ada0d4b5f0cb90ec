"""The sentences that the scripts of the page say. Values in %(…)s are filled in there."""

from django.utils.translation import gettext_lazy as _

WORDS = {
    # Where a reply stands
    "queued": _("Waiting for the model …"),
    "streaming": _("The reply is being written."),
    "finished": _("The reply is complete."),
    "next_try": _("Next try in %(seconds)s s."),
    "next_try_now": _("Trying again …"),
    "stopped": _("Stopped."),
    "interrupted": _("The reply broke off before it was finished."),
    "failed": _("There was no reply."),
    "cut_by_length": _("The reply has reached its greatest length."),
    "filtered": _("The provider’s filter has ended this reply."),
    "empty": _("The model has answered with nothing."),
    "thinking": _("Thinking …"),
    "reasoning": _("Reasoning"),
    # A message of one's own
    "sending": _("Not sent yet. It is sent as soon as there is a connection."),
    "not_sent": _("Not sent."),
    "too_long": _("%(over)s characters too many"),
    "left": _("%(left)s characters left"),
    "you": _("You"),
    "still_writing": _("You can send when this reply is finished."),
    "read_only": _("You can read this conversation, but not write in it."),
    # Things done
    "copy": _("Copy"),
    "copied": _("Copied"),
    "copy_failed": _("The browser did not allow copying."),
    "code": _("code"),
    "branch": _("Version %(number)s of %(count)s"),
    "tokens": _("%(prompt)s tokens read, %(completion)s written"),
    "about_tokens": _("about %(prompt)s tokens read, %(completion)s written"),
    # The connection
    "closed_lost": _("No connection to the server."),
    "closed_restart": _("The server is restarting."),
    "closed_too_many": _("Too many open pages or messages at once."),
    "closed_too_large": _("A message was too large for the connection."),
    "closed_protocol": _("This page is from an older version of the server."),
    "closed_signed_out": _("You are signed out."),
    "closed_gone": _("This conversation does not exist any more, or you may no longer see it."),
    "reconnecting": _("Trying again in %(seconds)s s."),
    "reconnecting_now": _("Trying again …"),
    "now": _("Try now"),
    "reload": _("Reload the page"),
    "sign_in": _("Sign in"),
    "leave": _("Start a new conversation"),
    "offline": _("That needs a connection to the server. Please try again in a moment."),
    "older_failed": _("The earlier messages could not be loaded. Please try again."),
    # The sidebar
    "new_conversation": _("New conversation"),
    "today": _("Today"),
    "yesterday": _("Yesterday"),
    "week": _("Previous 7 days"),
    "month": _("Previous 30 days"),
    "is_running": _("a reply is being written"),
}
