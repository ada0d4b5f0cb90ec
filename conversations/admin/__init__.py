"""The history in the admin: read, searched and filtered, never changed.

The one thing that can be done to it is to erase whole conversations, by an action that asks first.
"""

from .conversations import ConversationAdmin
from .messages import MessageAdmin

__all__ = ["ConversationAdmin", "MessageAdmin"]
