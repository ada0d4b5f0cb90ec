"""Read a flat YAML file and remember on which line each key stood.

Pure: text in, keys out. Everything that can be wrong with the text ends in a `YAMLFileError` that tells the line and says
in words what to do, and that never repeats the text itself: a line of this file may hold a secret.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

import yaml

Value: TypeAlias = str | list[str]

MAXIMUM_BYTES = 1024 * 1024


class YAMLFileError(Exception):
    """What is wrong with the file as a whole, and on which line (None: with all of it)."""

    def __init__(self, sentence: str, line: int | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.line = line


@dataclass(frozen=True)
class Entry:
    """One key of the file. `value` is None where it was left empty, a `Nested` where it was no plain value."""

    key: str
    line: int
    value: "Value | Nested | None"


@dataclass(frozen=True)
class Nested:
    """Stands for a value that is neither words nor a plain list of words."""

    kind: str


def read_entries(content: bytes) -> list[Entry]:
    """Give the keys of the file in their order, doubled ones included; raise YAMLFileError when it cannot be read."""
    if len(content) > MAXIMUM_BYTES:
        raise YAMLFileError("The file is over 1 MiB long: this is not a settings file.")
    root = _compose(_decode(content))
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise YAMLFileError(f"The file holds {found}. It must hold lines of the form `key: value`.", _line(root))
    return [_entry(key, value) for key, value in root.value]


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")  # editors on Windows put a byte order mark in front
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise YAMLFileError("The file is not UTF-8 text. Save it with the encoding UTF-8.", line) from None


def _compose(text: str) -> yaml.Node | None:
    """Parse without giving words a type: with one, `apiKey: 0123` would become the number 83."""
    try:
        return yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise YAMLFileError("There is a control character, which YAML does not allow. Delete it.", line) from None
    except RecursionError:
        raise YAMLFileError("The file is nested too deeply. It must hold lines of the form `key: value`.") from None


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> YAMLFileError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else None
    lines = text.splitlines()
    written = lines[line - 1] if line is not None and line <= len(lines) else ""
    if "\t" in written[: len(written) - len(written.lstrip())]:
        return YAMLFileError("The line begins with a tab. YAML allows only blanks there: replace it by blanks.", line)
    # PyYAML's own words quote single characters, but also names from the text, such as that of an unknown alias.
    reason = re.sub(r"'[^']{2,}'", "…", error.problem or "it cannot be read")
    return YAMLFileError(
        f"This is not valid YAML: {reason}. "
        "Write `key: value` with a blank after the colon, and put values with special characters in 'quotation marks'.",
        line,
    )


def _entry(key: yaml.Node, value: yaml.Node) -> Entry:
    if not isinstance(key, yaml.ScalarNode):
        raise YAMLFileError("A list or a mapping stands where the name of a key is wanted.", _line(key))
    return Entry(key.value, _line(key), _value(value))


def _value(node: yaml.Node) -> Value | Nested | None:
    if isinstance(node, yaml.ScalarNode):
        return None if _is_empty(node) else node.value
    if isinstance(node, yaml.SequenceNode):
        return _list(node)
    return Nested("a mapping")


def _is_empty(node: yaml.ScalarNode) -> bool:
    return node.style is None and node.value in ("", "~", "null")


def _list(node: yaml.SequenceNode) -> list[str] | Nested:
    items = [item.value for item in node.value if isinstance(item, yaml.ScalarNode) and not _is_empty(item)]
    return items if len(items) == len(node.value) else Nested("a list with something other than words in it")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
