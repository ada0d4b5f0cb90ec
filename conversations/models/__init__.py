"""What is kept of conversations: who takes part, what was said, what still grows, what has changed."""

from .change import Change
from .conversation import ASKER_LOCK, Conversation, ConversationQuerySet, Exchange, TitleFrom
from .feedback import Feedback, Verdict, feedback_of
from .membership import Membership, Role, Shelf
from .message import Message, MessageQuerySet
from .prompt import Prompt
from .texts import BEGINNING, Piece, add_beginnings, grown_texts
from .versioned import CONVERSATION_LOCK, record_change

__all__ = [
    "ASKER_LOCK",
    "BEGINNING",
    "CONVERSATION_LOCK",
    "Change",
    "Conversation",
    "ConversationQuerySet",
    "Exchange",
    "Feedback",
    "Membership",
    "Message",
    "MessageQuerySet",
    "Piece",
    "Prompt",
    "Role",
    "Shelf",
    "TitleFrom",
    "Verdict",
    "add_beginnings",
    "feedback_of",
    "grown_texts",
    "record_change",
]
