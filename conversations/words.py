"""The sentences that the scripts of the page say. Values in %(…)s are filled in there."""

import re

from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

WORDS = {
    # Where a reply stands
    "queued": _("Waiting for the model …"),
    "streaming": _("The reply is being written."),
    "finished": _("The reply is complete."),
    "code_lines": _("code, %(count)s lines"),
    "next_try": _("Next try in %(seconds)s s."),
    "next_try_now": _("Trying again …"),
    "stopped": _("Stopped."),
    "interrupted": _("The reply broke off before it was finished."),
    "failed": _("There was no reply."),
    "cut_by_length": _("The reply has reached its greatest length."),
    "filtered": _("The provider’s filter has ended this reply."),
    "empty": _("The model has answered with nothing."),
    "unknown_status": _("This page is too old to say how this reply stands. Reload it."),
    "thinking": _("Thinking …"),
    "reasoning": _("Reasoning"),
    # A message of one's own
    "sending": _("Not sent yet. It is sent as soon as there is a connection."),
    "not_sent": _("Not sent."),
    "too_long": _("%(over)s characters too many"),
    "left": _("%(left)s characters left"),
    "size_long": _("about %(tokens)s tokens"),
    "size_near": _("about %(tokens)s of the %(budget)s tokens that a model is shown"),
    "size_over": _("about %(tokens)s tokens, more than the %(budget)s that a model is shown"),
    "you": _("You"),
    "reply": _("Reply"),
    "still_writing": _("You can send when this reply is finished."),
    "read_only": _("You can read this conversation, but not write in it."),
    # Prompts
    "prompts_found": _("%(count)s prompts. The arrows choose, Enter inserts."),
    "prompt_failed": _("The prompt could not be loaded. Please try again."),
    # Things done
    "copy": _("Copy"),
    "copied": _("Copied"),
    "saved": _("Saved."),
    "copy_failed": _("The browser did not allow copying."),
    "code": _("code"),
    "delete_one": _("This message is deleted, for everybody. This cannot be undone."),
    "delete_many": _(
        "%(count)s messages are deleted, for everybody: this one and all that follow it. This cannot be undone."
    ),
    "branch": _("Version %(number)s of %(count)s"),
    # The facts of a reply
    "fact_time": _("Time"),
    "fact_model": _("Model"),
    "fact_prompt": _("Tokens read"),
    "fact_completion": _("Tokens written"),
    "fact_cost": _("Cost"),
    "fact_first_token": _("First token after"),
    "fact_thought": _("Thinking"),
    "fact_speed": _("Speed"),
    "fact_duration": _("All of it"),
    "fact_attempts": _("Tries"),
    "about": _("about %(number)s"),
    "tokens_a_second": _("%(number)s tokens/s"),
    "span_seconds": _("%(seconds)s s"),
    "span_minutes": _("%(minutes)s min %(seconds)s s"),
    "thought": _("Thought for %(time)s"),
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
    # Finding
    "found_conversations": _("Conversations"),
    "recent_conversations": _("Recent conversations"),
    "found_messages": _("Messages"),
    "found_all": _("All that was found"),
    "found_nothing": _("Nothing was found for “%(query)s”."),
    "search_failed": _("Searching is not possible just now. Please try again."),
    # The sidebar
    "new_conversation": _("New conversation"),
    "pinned": _("Pinned"),
    "pin": _("Pin"),
    "unpin": _("Unpin"),
    "archived": _("Put away. It is in the archive."),
    "deleted": _("Deleted."),
    "undo": _("Undo"),
    "undo_by_key": _("%(keys)s undoes it."),
    "undo_too_late": _("It is too late for that: it is erased."),
    "today": _("Today"),
    "yesterday": _("Yesterday"),
    "week": _("Previous 7 days"),
    "month": _("Previous 30 days"),
}

# What the server says in events and answers, which go to readers of several languages and are therefore in English on the
# wire. The page looks its reader's words up here; what is not here (a sentence with a number in it) stays as it came.
SENTENCES = [
    # Why a reply waits, failed or broke off
    gettext_noop("The model's server sent something that is no reply."),
    gettext_noop("The model said nothing for too long."),
    gettext_noop("The model fell silent in the middle of the reply."),
    gettext_noop("The reply took too long."),
    gettext_noop("The provider's content filter held the reply back."),
    gettext_noop("The connection to the model ended in the middle of the reply."),
    gettext_noop("The model used up its tokens before it came to an answer."),
    gettext_noop("The model asked for a tool, and there are none here."),
    gettext_noop("The model sent an empty reply."),
    gettext_noop("The server that was writing this reply went away. What it had said is kept."),
    gettext_noop("Something went wrong on this server."),
    gettext_noop("The server was restarted in the middle of the reply."),
    gettext_noop("The quota of the API key is used up."),
    gettext_noop("The daily limit of the API key is used up."),
    gettext_noop("The conversation is too long for this model."),
    gettext_noop("The conversation is too long for this model, also without its oldest messages."),
    gettext_noop("The provider's content filter did not let the question through."),
    gettext_noop("The server does not offer this model."),
    gettext_noop("The server does not offer this model, or not here."),
    gettext_noop("The model of this reply is not offered here (any more)."),
    gettext_noop("The model's server reported an error in the middle of its reply."),
    gettext_noop("The server refused the request."),
    gettext_noop("The server refused the API key."),
    gettext_noop("The API key may not do this."),
    gettext_noop("The server took too long."),
    gettext_noop("The server is asked too often."),
    gettext_noop("The server takes no more questions until %(when)s."),
    gettext_noop("The server answered with something else than a stream."),
    gettext_noop("The model is overloaded."),
    gettext_noop("The server's answer cannot be understood."),
    gettext_noop("The model's server does not answer."),
    gettext_noop("The model's server cannot be reached."),
    gettext_noop("The model's server closed the connection before it answered."),
    gettext_noop("The connection to the model broke."),
    gettext_noop("The model's server has a problem."),
    # Why a command was refused
    gettext_noop("The database is not there just now. Try again."),
    gettext_noop("Attachments are not supported."),
    gettext_noop("There is no such conversation."),
    gettext_noop("There is no such message."),
    gettext_noop("A reply is still being written. Stop it, or wait for its end."),
    gettext_noop("This reply is still being written."),
    gettext_noop("This reply was not cut off."),
    gettext_noop("This is not a reply."),
    gettext_noop("Only a question can be edited."),
    gettext_noop("An empty message cannot be sent."),
    gettext_noop("A title needs at least one character."),
    gettext_noop("You may read here, not write."),
    gettext_noop("The temperature is a number from 0 to 2."),
    gettext_noop("Top P is a number from 0.01 to 1."),
    gettext_noop("The longest reply is a whole number of tokens, from 1 to 10000000."),
    gettext_noop("Only its owner can delete this."),
    gettext_noop("Only the owner can delete what others have asked."),
    gettext_noop("A reply is still being written there. Stop it, or wait for its end."),
    gettext_noop("Wait a moment between two questions."),
    gettext_noop("Too many commands at once. Wait a moment."),
    gettext_noop("This is more than a command can be."),
    gettext_noop("Reload the page, and send it again."),
]


#: How a sentence names a time. The scripts put it into their reader's own time; see static/js/words.js.
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


def without_time(sentence: str) -> str:
    """Return a sentence as SENTENCES has it, with a place where it names a time."""
    return TIME.sub("%(when)s", sentence)


def explained(sentence: str) -> str:
    """Return a sentence of the server in the language of whoever reads it now."""
    known = without_time(sentence)
    if known not in SENTENCES:
        return sentence
    when = TIME.search(sentence)
    return gettext(known).replace("%(when)s", when[0]) if when else gettext(known)
