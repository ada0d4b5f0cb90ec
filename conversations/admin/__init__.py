"""The history in the admin: read, searched and filtered, never changed.

The one thing that can be done to it is to erase whole conversations, by an action that asks first. The library of prompts is
no history, and is kept in order here.
"""

from .conversations import ConversationAdmin
from .messages import MessageAdmin
from .prompts import PromptAdmin

__all__ = ["ConversationAdmin", "MessageAdmin", "PromptAdmin"]
