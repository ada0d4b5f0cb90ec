"""The one way a rule says no to a person."""

from typing import Any


class Refused(Exception):
    """A command was understood and is not carried out; nothing has changed.

    `code` is one of the protocol's words (`not_found`, `forbidden`, …), `detail` a
    sentence for a person, `facts` what a program needs besides (`retry_after`).
    """

    def __init__(self, code: str, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.facts = facts
