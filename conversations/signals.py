"""What this app tells the rest of the house: after the commit, with two exceptions.

Every door (socket, form, command line, admin) goes through the models, and the models
send these; so nobody who listens can miss a change for having watched the wrong door.
Receivers run in the thread that committed and must not block it.
"""

from django.dispatch import Signal

#: A conversation gained versions. `conversation_id`, `version` (the newest), `changes` (the rows).
changed = Signal()
#: A reply is being queued, in this very transaction. `reply`. Sent before the commit.
queueing = Signal()
#: A reply waits for somebody to run it. `reply`.
reply_queued = Signal()
#: A conversation is being deleted, in this very transaction: what is being written in it has to end. Its owner may have it
#: back for a while. `conversation_id`. Sent before the commit.
deleting = Signal()
#: A conversation is about to be erased, in this very transaction: whoever writes to it
#: has to let go. `conversation_id`. Sent before the commit.
removing = Signal()
#: A conversation is gone, for everybody: it was deleted, or erased. `conversation_id`, `user_ids`.
removed = Signal()
#: A conversation has another place in somebody's list: pinned, put away, taken back, or there again after it was deleted. `conversation_id`.
shelved = Signal()
#: Somebody has said what she thinks of a reply, or taken it back. `conversation_id`, `message_id`, `user_id`, `value`.
judged = Signal()
#: What a person may see or do has changed. `user_id`.
access_changed = Signal()
