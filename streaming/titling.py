"""What a model is asked for a title, and what of its answer is one. Pure."""

from __future__ import annotations

import re
import unicodedata

#: Of the question and of the reply: what they are about is said at their beginning.
CHARACTERS_SHOWN = 2_000
#: A title that is longer does not stay on one line of the sidebar, and is no title.
LONGEST_TITLE = 80
#: A model that says more than this was not listening.
LONGEST_ANSWER = 400

INSTRUCTION = (
    "You name conversations. Answer with a title for the exchange below and with nothing else: at most six words, in the "
    "language of the question, without quotation marks, without formatting, without a full stop. Do not answer the question."
)

THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
LABEL = re.compile(r"\A(?:title|titel|titre|título|标题|題目|题目)\s*[:\uff1a]\s*", re.IGNORECASE)
#: What Markdown and people put around a title.
AROUND = " \t#>*_`~\"'“”„‟‘’‚«»‹›「」『』《》〈〉【】"
FULL_STOPS = ".。\uff0e\uff61"


def messages_for(question: str, answer: str) -> list[dict[str, str]]:
    """Return what the model is asked, for the exchange that is to have a title."""
    exchange = f"Question:\n{question[:CHARACTERS_SHOWN]}\n\nReply:\n{answer[:CHARACTERS_SHOWN]}"
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": exchange}]


def question_in(messages: list[dict[str, str]]) -> str | None:
    """Return the question for whose exchange a title is wanted; None where something else is asked."""
    if len(messages) != 2 or messages[0].get("content") != INSTRUCTION:
        return None
    return str(messages[1].get("content", "")).removeprefix("Question:\n").partition("\n\nReply:\n")[0]


def title_in(answer: str) -> str | None:
    """Return the title that a model has answered with; None where it is none: nothing, more than a line, a speech."""
    lines = [line for line in THOUGHT.sub("", answer).splitlines() if line.strip()]
    if len(lines) != 1 or "<think" in lines[0].lower():
        return None
    title = " ".join(_without_controls(lines[0]).split())
    for _ in range(3):  # **"Title: …."** has three layers
        title = LABEL.sub("", title.strip(AROUND))
        title = title.rstrip(FULL_STOPS) if not title.endswith("...") else title
    has_words = any(character.isalnum() for character in title)
    return title if has_words and len(title) <= LONGEST_TITLE else None


def _without_controls(text: str) -> str:
    """Control characters and those that turn the direction of what follows have no place in a list of titles; a joiner may
    be part of a word or of an emoji."""
    return "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") or c in "\t\u200c\u200d")
