"""What is kept of conversations: who takes part, what was said, what still grows, what has changed."""

from .change import Change
from .conversation import Conversation, ConversationQuerySet, Exchange, record_change
from .membership import Membership, Role
from .message import Message, MessageQuerySet
from .texts import BEGINNING, Piece, add_beginnings, grown_texts

__all__ = [
    "BEGINNING",
    "Change",
    "Conversation",
    "ConversationQuerySet",
    "Exchange",
    "Membership",
    "Message",
    "MessageQuerySet",
    "Piece",
    "Role",
    "add_beginnings",
    "grown_texts",
    "record_change",
]
