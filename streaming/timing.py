"""How long a reply took: moments by the clock of whoever runs it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Timing:
    """Since when a reply is waited for, and when it began to think and to speak, in seconds of one clock."""

    asked: float
    first_token: float | None = None
    thought: float | None = None
    spoke: float | None = None

    def receive(self, thinks: bool, speaks: bool, now: float) -> None:
        """A token has come. Has the reply thought by now, and has it said anything? Only until it speaks is this asked."""
        if self.first_token is None:
            self.first_token = now
        if thinks and self.thought is None:
            self.thought = now
        if speaks:
            self.spoke = now

    def in_milliseconds(self, now: float) -> dict[str, int]:
        """What is kept of it, at its end. What thinks until then has thought until now."""
        found = {"duration_ms": now - self.asked}
        if self.first_token is not None:
            found["first_token_ms"] = self.first_token - self.asked
        if self.thought is not None:
            found["thought_ms"] = (now if self.spoke is None else self.spoke) - self.thought
        return {name: round(max(seconds, 0) * 1000) for name, seconds in found.items()}
