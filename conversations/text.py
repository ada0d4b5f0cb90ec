"""Text as every database we know can keep it. Pure."""

import re

import msgspec

# PostgreSQL's text cannot hold NUL, and no UTF-8 can hold half a surrogate pair, which
# both browsers and models produce when somebody cuts an emoji in two.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """Return `text` with each code point that cannot be stored replaced, so that its
    length, and with it every position in it, stays what it was."""
    return UNSTORABLE.sub(REPLACEMENT, text)


_encode = msgspec.json.Encoder().encode


def beginning_of(text: str, size: int) -> str:
    """Return as much of the beginning of `text` as takes at most `size` bytes as JSON."""
    text = text[:size]
    while text and (takes := len(_encode(text))) > size:
        text = text[: len(text) * size // takes]
    return text


def key_in(identifier: str) -> int | None:
    """Return the key of a row that an identifier stands for, None where it is none of
    ours. They are opaque to clients, so anything may come back as one."""
    # Other scripts have digits too, and a database has a largest key.
    is_key = identifier.isascii() and identifier.isdigit() and len(identifier) < 19
    return int(identifier) if is_key else None


def first_line(text: str, limit: int) -> str:
    """Return the first line with words in it, shortened to `limit` characters."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = " ".join(line.lstrip("#>*- ").replace("**", "").replace("`", "").split()) or line
    if len(line) <= limit:
        return line
    cut = line[: limit - 1]
    # Cut between words where the language has such; Chinese has not.
    head, space, tail = cut.rpartition(" ")
    return (head if space and len(tail) < 20 else cut).rstrip() + "…"
